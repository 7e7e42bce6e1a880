//! Measures: sends traffic or opens a connection, once, and reads the gateways' counters before and after.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use super::context::{Environment, Error};
use crate::check::observation::{ConnectionObservation, GatewayCounters, Observation, TrafficObservation};
use crate::check::proxies;
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::scenario::keys::ConnectionOutcome;
use crate::scenario::plan::{Check, Connect, Gateway, Traffic};
use crate::topology::{GatewayKind, Workload};
use crate::traffic::probe::{self, Connection, Request, Source};

/// Counters that tell what a gateway did: what it passed on, and what it turned away.
const GATEWAY_COUNTERS: &str =
    "(outbound_.*(upstream_cx_tx_bytes_total|upstream_cx_none_healthy))|no_filter_chain_match|ssl.connection_error|ssl.fail_verify";

/// Sends the requests of a step.
pub(super) async fn traffic(environment: &Environment, traffic: &Traffic) -> Result<Observation, Error> {
    let gateways = gateways(traffic);
    let before = counters(environment, &gateways).await?;
    let cluster = environment.cluster(&traffic.from.cluster)?;
    let request = Request {
        url: traffic.url.clone(),
        requests: traffic.requests,
        connections: traffic.connections,
        headers: traffic.headers.clone(),
        timeout: traffic.timeout,
        new_connection_per_request: traffic.new_connection_per_request,
        rate: None,
    };
    let samples = probe::send(cluster, &source(&traffic.from), &request).await?;
    let after = counters(environment, &gateways).await?;
    let growth = after.into_iter().zip(before).map(|(after, before)| after.since(before));
    Ok(Observation::Traffic(TrafficObservation {
        from_cluster: traffic.from.cluster.clone(),
        samples,
        gateways: gateways.into_iter().zip(growth).collect(),
    }))
}

/// Opens the connection of a step.
pub(super) async fn connect(environment: &Environment, connect: &Connect) -> Result<Observation, Error> {
    let target = environment.cluster(&connect.to.cluster)?;
    let no_pod = || Error::NoPod { cluster: connect.to.cluster.clone(), workload: connect.to.name.clone() };
    let pods = target.pods(&connect.to.namespace, &connect.to.selector()).await?;
    let pod = pods.first().ok_or_else(no_pod)?;
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).ok_or_else(no_pod)?;
    let address = format!("{address}:{}", connect.port);
    let from = environment.cluster(&connect.from.cluster)?;
    let seen =
        probe::connect(from, &source(&connect.from), &address, connect.timeout, connect.plaintext_http).await?;
    Ok(Observation::Connection(ConnectionObservation {
        outcome: outcome(&seen),
        address,
        target: format!("{}/{}", connect.to.cluster, pod.name_any()),
        answered_by: seen.http.and_then(|http| http.served_by).and_then(|by| Some(format!("{}/{}", by.cluster?, by.pod?))),
    }))
}

fn source(workload: &Workload) -> Source {
    Source {
        namespace: workload.namespace.clone(),
        selector: workload.selector(),
        container: workload.container.clone(),
    }
}

fn outcome(seen: &Connection) -> ConnectionOutcome {
    match (seen.outcome.as_str(), seen.http.as_ref().map(|http| http.outcome.as_str())) {
        ("connected", Some("answered")) => ConnectionOutcome::Answered,
        ("connected", Some("timeout")) | ("timeout", _) => ConnectionOutcome::Timeout,
        // A TLS alert in answer to plain HTTP ("protocol") is a refusal to talk, as are a close and a reset.
        ("connected", Some(_)) | ("connected-then-closed", _) => ConnectionOutcome::Reset,
        ("connected", None) => ConnectionOutcome::Connected,
        ("unreachable", _) => ConnectionOutcome::Unreachable,
        _ => ConnectionOutcome::Refused,
    }
}

fn gateways(traffic: &Traffic) -> Vec<Gateway> {
    let mut gateways: Vec<Gateway> = Vec::new();
    for expectation in &traffic.expectations {
        let named: &[Gateway] = match &expectation.check {
            Check::MutualTls(expected) => &expected.through,
            Check::Failures(expected) => std::slice::from_ref(&expected.at),
            _ => &[],
        };
        for gateway in named {
            if !gateways.contains(gateway) {
                gateways.push(gateway.clone());
            }
        }
    }
    gateways
}

async fn counters(environment: &Environment, gateways: &[Gateway]) -> Result<Vec<GatewayCounters>, Error> {
    let mut all = Vec::with_capacity(gateways.len());
    for gateway in gateways {
        let cluster = environment.cluster(&gateway.cluster)?;
        let labels = match gateway.kind {
            GatewayKind::Ingress => "istio=ingressgateway",
            GatewayKind::Eastwest => "istio=eastwestgateway",
        };
        let read: BTreeMap<String, u64> =
            proxies::counters(cluster, ISTIO_SYSTEM, labels, GATEWAY_COUNTERS).await?;
        all.push(GatewayCounters::read(&read));
    }
    Ok(all)
}
