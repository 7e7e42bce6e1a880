//! The proxies of an identity, on whichever cluster: the certificates that they hold and what they count about TLS.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use kube::ResourceExt as _;
use mesh_types::SpiffeId;

use super::context::{Environment, Error};
use crate::check::certificate::{Authority, Certificate};
use crate::check::proxies;
use crate::cluster::is_meshed;
use crate::topology::Vm;
use crate::vm::Machine;

/// Counters about TLS. Names of listeners and clusters stand before them.
const COUNTERS: &str = "ssl.handshake|ssl.connection_error|ssl.fail_verify";

/// Proxies, and what they had counted when they were found.
pub(super) struct Holders {
    identity: String,
    proxies: Vec<Proxy>,
}

struct Proxy {
    place: ProxyPlace,
    counted: BTreeMap<String, u64>,
}

enum ProxyPlace {
    Pod { cluster: String, namespace: String, pod: String },
    Machine(Machine),
}

impl Proxy {
    fn at(place: ProxyPlace) -> Self {
        Self { place, counted: BTreeMap::new() }
    }

    fn name(&self) -> String {
        match &self.place {
            ProxyPlace::Pod { cluster, pod, .. } => format!("{cluster}/{pod}"),
            ProxyPlace::Machine(machine) => machine.name().to_owned(),
        }
    }

    async fn count(&self, environment: &Environment) -> Result<BTreeMap<String, u64>, Error> {
        Ok(match &self.place {
            ProxyPlace::Pod { cluster, namespace, pod } => {
                proxies::counters_of(environment.cluster(cluster)?, namespace, pod, COUNTERS).await?
            }
            ProxyPlace::Machine(machine) => proxies::counters_of_machine(machine, COUNTERS).await?,
        })
    }

    async fn ask(&self, environment: &Environment, path: &str) -> Result<String, Error> {
        Ok(match &self.place {
            ProxyPlace::Pod { cluster, namespace, pod } => {
                proxies::request(environment.cluster(cluster)?, namespace, pod, path).await?
            }
            ProxyPlace::Machine(machine) => proxies::request_machine(machine, path).await?,
        })
    }
}

impl Holders {
    /// The proxies of an identity's account on all clusters, and on those of the machines that have it.
    pub(super) async fn of(environment: &Environment, identity: &str, vms: &[Vm]) -> Result<Self, Error> {
        let mut found = Vec::new();
        for vm in vms.iter().filter(|vm| vm.identity == identity) {
            let machine = environment.machine(&vm.name)?;
            // One that is off counts nothing.
            if machine.status().await?.running {
                found.push(Proxy::at(ProxyPlace::Machine(machine)));
            }
        }
        if let Ok(id) = identity.parse::<SpiffeId>() {
            for cluster in environment.clusters() {
                for pod in cluster.pods(&id.namespace, "").await? {
                    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_ref());
                    if is_meshed(&pod) && account == Some(&id.service_account) {
                        let (cluster, namespace) = (cluster.name().to_owned(), id.namespace.clone());
                        found.push(Proxy::at(ProxyPlace::Pod { cluster, namespace, pod: pod.name_any() }));
                    }
                }
            }
        }
        let counted = try_join_all(found.iter().map(|proxy| proxy.count(environment))).await?;
        found.iter_mut().zip(counted).for_each(|(proxy, counted)| proxy.counted = counted);
        Ok(Self { identity: identity.to_owned(), proxies: found })
    }

    /// The certificates that prove this identity.
    pub(super) async fn certificates(
        &self,
        environment: &Environment,
        authorities: &[Authority],
    ) -> Result<Vec<Certificate>, Error> {
        let read = self.proxies.iter().map(|proxy| async move {
            let dump = proxy.ask(environment, "config_dump?resource=dynamic_active_secrets").await?;
            Ok::<_, Error>(Certificate::read(&proxy.name(), &dump, authorities))
        });
        let all = try_join_all(read).await?;
        let is_its = |one: &Certificate| one.identity.as_ref() == Some(&self.identity);
        Ok(all.into_iter().flatten().filter(is_its).collect())
    }

    /// What these proxies have counted about TLS since they were found.
    pub(super) async fn grown(&self, environment: &Environment) -> Result<BTreeMap<String, u64>, Error> {
        let now = try_join_all(self.proxies.iter().map(|proxy| proxy.count(environment))).await?;
        let mut sums = BTreeMap::new();
        for (proxy, now) in self.proxies.iter().zip(now) {
            for (name, count) in now {
                let before = proxy.counted.get(&name).copied().unwrap_or(0);
                *sums.entry(name).or_default() += count.saturating_sub(before);
            }
        }
        Ok(sums)
    }
}
