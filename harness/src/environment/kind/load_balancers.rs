//! Addresses of LoadBalancer Services on kind clusters. Without another daemon: the first node has them besides its own, the Service's
//! status says so, and kube-proxy does the rest. Or by MetalLB, or by whom the user has started.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::Error;
use super::run::run;
use crate::cluster::{Cluster, chain};
use crate::environment::bring_up::{Error as BringUpError, phase};
use crate::environment::existing::{Given, Refused};
use crate::environment::layers::Layer;
use crate::environment::layers::progress::Progress;
use crate::install::mesh;
use crate::provider::existing::contexts::Refusal;
use crate::provider::kind::engine::Engine;
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::provider::kind::plan::Plan;
use crate::provider::kind::router::Router;
use crate::report::stream::EventSender;

/// How often one looks for Services without an address.
const LOOK: Duration = Duration::from_millis(500);

/// How long MetalLB's webhook may take after its Deployment is available.
const WEBHOOK: Duration = Duration::from_secs(60);

/// Refuses what a bundle has not.
pub(super) fn check(given: &Given) -> Result<(), Refused> {
    if given.bundle.is_some() && given.load_balancers == LoadBalancers::Metallb {
        let refusal = Refusal::new("MetalLB is in no bundle", "leave --load-balancers out, or --bundle");
        return Err(refusal.into());
    }
    Ok(())
}

/// Installs MetalLB where the plan has it.
pub(super) async fn install(
    plan: &Plan,
    clusters: &[Cluster],
    layers: &Progress,
    events: &EventSender,
) -> Result<(), BringUpError> {
    let installs = plan.clusters.iter().filter_map(|planned| {
        let cluster = clusters.iter().find(|cluster| cluster.name() == planned.name)?;
        let command = &planned.metallb.as_ref()?.install;
        let name = cluster.name();
        Some(phase(events, format!("load-balancers/{name}"), format!("install MetalLB on {name}"), async move {
            let work = async {
                run(name, command).await?;
                give_out(cluster, layers.objects(Layer::LoadBalancers, name)).await?;
                Ok("installed".to_owned())
            };
            Ok(((), layers.perform(Layer::LoadBalancers, name, work).await?))
        }))
    });
    futures::future::try_join_all(installs).await.map(drop)
}

/// Says which addresses it gives. Its webhook judges that, and answers a little later than its Deployment says.
async fn give_out(cluster: &Cluster, objects: &[Value]) -> Result<(), BringUpError> {
    let what = format!("MetalLB of {} to take its addresses", cluster.name());
    let taken = eventually::poll(what, WEBHOOK, LOOK, async || {
        cluster.apply_all(objects).await.map(drop).map_err(|error| chain(&error))
    });
    Ok(taken.await.map_err(Error::from)?)
}

/// Gives every LoadBalancer an address, for as long as it is polled, where nobody else does.
///
/// # Errors
/// Where a cluster or Docker refuses.
pub(super) async fn serve(engine: &Engine, plan: &Plan, clusters: &[Cluster]) -> Result<Infallible, BringUpError> {
    if plan.load_balancers != LoadBalancers::BuiltIn {
        return std::future::pending().await;
    }
    let mut taken: BTreeSet<Ipv4Addr> = BTreeSet::new();
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let mut waiting = Vec::new();
        for cluster in clusters {
            let services = services(cluster).await?;
            taken.extend(services.iter().flat_map(addresses));
            waiting.extend(services.iter().filter(|service| waits(service)).map(|service| (cluster, named(service))));
        }
        for (cluster, name) in waiting {
            let address =
                free(plan, cluster, &taken).ok_or_else(|| Error::NoAddress(format!("{}/{}", name.0, name.1)))?;
            give(engine, plan, cluster, &name, address).await?;
            taken.insert(address);
        }
    }
}

/// Gives nodes that were started anew the addresses of LoadBalancers that they had, where nobody else does.
///
/// # Errors
/// Where a cluster or Docker refuses.
pub(super) async fn restore(engine: &Engine, plan: &Plan, clusters: &[Cluster]) -> Result<(), BringUpError> {
    if plan.load_balancers != LoadBalancers::BuiltIn {
        return Ok(());
    }
    for cluster in clusters {
        let (Some(network), Some(node)) = (plan.network(cluster.network()), first_node(plan, cluster)) else {
            continue;
        };
        for address in services(cluster).await?.iter().flat_map(addresses) {
            if network.load_balancers().any(|ours| ours == address) {
                Router::give_address(engine, node, address).await.map_err(Error::from)?;
            }
        }
    }
    Ok(())
}

async fn services(cluster: &Cluster) -> Result<Vec<Service>, BringUpError> {
    let services: Api<Service> = Api::all(cluster.client());
    let list = services.list(&ListParams::default()).await;
    let list = list.map_err(|source| mesh::Error::from(cluster.api_error("list Services".to_owned(), source)))?;
    Ok(list.items)
}

/// The addresses that a LoadBalancer has.
fn addresses(service: &Service) -> Vec<Ipv4Addr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

fn free(plan: &Plan, cluster: &Cluster, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    plan.network(cluster.network())?.load_balancers().find(|address| !taken.contains(address))
}

fn first_node<'plan>(plan: &'plan Plan, cluster: &Cluster) -> Option<&'plan String> {
    plan.clusters.iter().find(|planned| planned.name == cluster.name()).and_then(|planned| planned.nodes.first())
}

fn waits(service: &Service) -> bool {
    let wanted = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    wanted && addresses(service).is_empty()
}

fn named(service: &Service) -> (String, String) {
    (service.namespace().unwrap_or_default(), service.name_any())
}

async fn give(
    engine: &Engine,
    plan: &Plan,
    cluster: &Cluster,
    (namespace, name): &(String, String),
    address: Ipv4Addr,
) -> Result<(), BringUpError> {
    let node = first_node(plan, cluster).ok_or_else(|| Error::NoAddress(format!("{namespace}/{name}")))?;
    Router::give_address(engine, node, address).await.map_err(Error::from)?;
    let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address.to_string() }] } } });
    let patched = services.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
    let failed = |source| cluster.api_error(format!("give Service {namespace}/{name} an address"), source);
    Ok(patched.map(drop).map_err(|source| mesh::Error::from(failed(source)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_load_balancers_without_an_address_wait_for_one() {
        let service = |kind: &str, status: serde_json::Value| -> Service {
            let object =
                json!({ "metadata": { "name": "a", "namespace": "b" }, "spec": { "type": kind }, "status": status });
            serde_json::from_value(object).expect("a Service")
        };
        let has = json!({ "loadBalancer": { "ingress": [{ "ip": "172.29.0.200" }] } });
        assert!(waits(&service("LoadBalancer", json!({}))));
        assert!(waits(&service("LoadBalancer", json!({ "loadBalancer": {} }))));
        assert_eq!(addresses(&service("LoadBalancer", has.clone())), [Ipv4Addr::new(172, 29, 0, 200)]);
        assert!(!waits(&service("LoadBalancer", has)));
        assert!(!waits(&service("ClusterIP", json!({}))));
        assert_eq!(named(&service("ClusterIP", json!({}))), ("b".to_owned(), "a".to_owned()));
    }
}
