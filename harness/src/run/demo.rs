//! An environment to show: up, a URL to open, steady traffic until the user has seen enough, down.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::Api;

use super::scenarios::run_while_alive;
use super::temporary::{Temporary, in_temporary};
use super::{Interruption, Job};
use crate::cluster::Cluster;
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::report::RunOutcome;
use crate::report::event::{EventKind, PhaseOutcome};
use crate::report::stream::EventSender;
use crate::topology::GatewayKind;
use crate::traffic::probe::{self, Request, Source};

/// Where the embedded provider says which loopback port leads to a port of a Service.
const HOST_PORTS: &str = "substrate.meshproof.dev/host-ports";
/// A round of steady traffic lasts so many seconds.
const ROUND_SECONDS: u32 = 2;

/// Brings the topology up, says where to look, sends traffic until interrupted, and tears down.
///
/// `rate` is in requests a second, from each cluster that has a probe.
pub async fn demo(job: &Job, rate: u32, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    let show = async |Temporary { fleet, clusters, .. }: Temporary<'_>| {
        show(&clusters, events).await;
        let traffic = async {
            interruption.token().run_until_cancelled(steady_traffic(job, rate, &clusters, events)).await;
            RunOutcome::Passed
        };
        run_while_alive(fleet, traffic, events).await
    };
    in_temporary(job, events, interruption, show).await
}

async fn show(clusters: &[Cluster], events: &EventSender) {
    for cluster in clusters {
        match ingress_url(cluster).await {
            Ok(Some(url)) => {
                tell(events, &format!("page/{}", cluster.name()), "product page", format!("{url}/productpage"));
            }
            Ok(None) => events.warn(format!("{} publishes no ingress gateway on this host", cluster.name()), None),
            Err(error) => events.warn(crate::cluster::chain(&error), None),
        }
        let path = cluster.access().kubeconfig.to_string();
        tell(events, &format!("kubeconfig/{}", cluster.name()), "kubeconfig", path);
    }
}

/// Says where something is, at once: what is only in the summary comes when the world is gone.
fn tell(events: &EventSender, phase: &str, title: &str, place: String) {
    events.send(EventKind::PhaseStarted { phase: phase.to_owned(), title: title.to_owned() });
    events.send(EventKind::PhaseFinished { phase: phase.to_owned(), outcome: PhaseOutcome::Done, detail: place });
}

/// The URL on this host that leads to a cluster's ingress gateway, where the provider publishes one.
///
/// # Errors
/// Where the cluster cannot be asked.
async fn ingress_url(cluster: &Cluster) -> Result<Option<String>, crate::cluster::Error> {
    let api: Api<Service> = Api::namespaced(cluster.client(), ISTIO_SYSTEM);
    let name = GatewayKind::Ingress.deployment();
    let service = api
        .get_opt(name)
        .await
        .map_err(|source| cluster.api_error(format!("get Service {ISTIO_SYSTEM}/{name}"), source))?;
    let ports = service.and_then(|service| service.annotations().get(HOST_PORTS).cloned());
    let ports: BTreeMap<String, String> = ports.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(ports.get("80").map(|address| format!("http://{address}")))
}

/// Rounds of requests to the product page from every cluster that has a probe. Never returns.
async fn steady_traffic(job: &Job, rate: u32, clusters: &[Cluster], events: &EventSender) {
    let workloads = job.topology.workloads();
    let probes = workloads.iter().filter(|workload| workload.sidecar && workload.port.is_none());
    let senders = probes.filter_map(|from| {
        let cluster = clusters.iter().find(|cluster| cluster.name() == from.cluster)?;
        let source = Source::Pod {
            cluster: cluster.clone(),
            namespace: from.namespace.clone(),
            selector: from.selector(),
            container: from.container.clone(),
        };
        Some(send_for_ever(cluster, source, rate, events))
    });
    futures::future::join_all(senders).await;
    std::future::pending::<()>().await;
}

async fn send_for_ever(cluster: &Cluster, source: Source, rate: u32, events: &EventSender) {
    let phase = format!("traffic/{}", cluster.name());
    events.send(EventKind::PhaseStarted { phase: phase.clone(), title: format!("traffic on {}", cluster.name()) });
    let request = Request {
        requests: Some(u64::from(rate * ROUND_SECONDS)),
        connections: 2,
        rate: Some(f64::from(rate)),
        ..Request::to("http://productpage:9080/productpage")
    };
    loop {
        let message = match probe::send(&source, &request).await {
            Ok(samples) => {
                let rate = f64::from(u32::try_from(samples.answered).unwrap_or(u32::MAX))
                    / (samples.duration_ms / 1000.0).max(0.001);
                format!("{rate:.0} requests a second, {} of {} without an answer", samples.failed(), samples.requests)
            }
            Err(error) => {
                events.warn(crate::cluster::chain(&error), None);
                return;
            }
        };
        events.send(EventKind::PhaseProgress { phase: phase.clone(), message });
    }
}
