//! The proxies of an identity, on whichever cluster: the certificates that they hold and what they count about TLS.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use kube::ResourceExt as _;
use mesh_types::SpiffeId;

use super::context::{Environment, Error};
use crate::check::certificate::{Authority, Certificate};
use crate::check::proxies;
use crate::check::witness::Handshakes;

/// Counters about TLS. Names of listeners and clusters stand before them.
const COUNTERS: &str = "ssl.handshake|ssl.connection_error|ssl.fail_verify";
const PROXY: &str = "istio-proxy";

/// Proxies, and what they had counted when they were found.
pub(super) struct Holders {
    identity: String,
    proxies: Vec<Proxy>,
}

struct Proxy {
    cluster: String,
    namespace: String,
    pod: String,
    counted: BTreeMap<String, u64>,
}

impl Proxy {
    async fn count(&self, environment: &Environment) -> Result<BTreeMap<String, u64>, Error> {
        let cluster = environment.cluster(&self.cluster)?;
        let path = format!("stats?filter={COUNTERS}");
        let text = proxies::request(cluster, &self.namespace, &self.pod, &path).await?;
        Ok(proxies::parse(&text).into_iter().collect())
    }
}

impl Holders {
    /// The proxies of an identity's account on all clusters.
    pub(super) async fn of(environment: &Environment, identity: &str) -> Result<Self, Error> {
        let mut found = Vec::new();
        if let Ok(id) = identity.parse::<SpiffeId>() {
            for cluster in environment.clusters() {
                for pod in cluster.pods(&id.namespace, "").await? {
                    let spec = pod.spec.as_ref();
                    let account = spec.and_then(|spec| spec.service_account_name.as_ref());
                    let proxied = spec.is_some_and(|spec| spec.containers.iter().any(|one| one.name == PROXY));
                    if proxied && account == Some(&id.service_account) {
                        let (cluster, namespace) = (cluster.name().to_owned(), id.namespace.clone());
                        found.push(Proxy { cluster, namespace, pod: pod.name_any(), counted: BTreeMap::new() });
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
            let cluster = environment.cluster(&proxy.cluster)?;
            let path = "config_dump?resource=dynamic_active_secrets";
            let dump = proxies::request(cluster, &proxy.namespace, &proxy.pod, path).await?;
            Ok::<_, Error>(Certificate::read(&format!("{}/{}", proxy.cluster, proxy.pod), &dump, authorities))
        });
        let all = try_join_all(read).await?;
        let is_its = |one: &Certificate| one.identity.as_ref() == Some(&self.identity);
        Ok(all.into_iter().flatten().filter(is_its).collect())
    }

    /// What these proxies as clients, and others as servers, have counted since they were found.
    pub(super) async fn handshakes_with(self, server: Self, environment: &Environment) -> Result<Handshakes, Error> {
        let (client, server) = (self.grown(environment).await?, server.grown(environment).await?);
        let sum = |counters: &BTreeMap<String, u64>, begin: &str, is: &dyn Fn(&str) -> bool| -> u64 {
            counters.iter().filter(|(name, _)| name.starts_with(begin) && is(name)).map(|(_, count)| count).sum()
        };
        let made = |name: &str| name.ends_with("ssl.handshake");
        let failed = |name: &str| !made(name);
        Ok(Handshakes {
            client: sum(&client, "cluster.", &made),
            server: sum(&server, "listener.", &made),
            failed: sum(&client, "cluster.", &failed) + sum(&server, "listener.", &failed),
        })
    }

    async fn grown(&self, environment: &Environment) -> Result<BTreeMap<String, u64>, Error> {
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
