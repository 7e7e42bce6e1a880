//! Measures: sends traffic or opens a connection, once, and reads the gateways' counters before and after.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use kube::ResourceExt as _;
use mesh_types::hub::names;
use serde_json::{Value, json};

use super::context::{Environment, Error};
use super::samples::MOST_OF_A_STEP;
use super::witness::Watch;
use super::workers::Crew;
use crate::check::observation::{
    ConfigObservation, ConnectionObservation, Counters, GatewayCounters, Observation, OfSource, TrafficObservation,
};
use crate::check::{judge::is_open, proxies};
use crate::cluster::{PodPort, is_meshed};
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::scenario::keys::ConnectionOutcome;
use crate::scenario::plan::{Check, ConfigOf, Connect, Deployment, Expectation, Gateway, Traffic};
use crate::topology::{GatewayKind, Workload};
use crate::traffic::probe::{self, Connection, Request, Samples};
use crate::traffic::{chunks, fleet};

/// Counters that tell what a gateway did: what it passed on, and what it turned away.
const GATEWAY_COUNTERS: &str = "(outbound_.*(upstream_cx_tx_bytes_total|upstream_cx_none_healthy))|no_filter_chain_match|ssl.connection_error|ssl.fail_verify";

/// Counters of refusals.
const REFUSALS: &str =
    "rbac.denied|no_route|upstream_cx_none_healthy|no_filter_chain_match|ssl.connection_error|ssl.fail_verify";

/// Sends the requests of a step, from its sources or, where there are any, from those who send in their place.
pub(super) async fn traffic(
    environment: &Environment,
    traffic: &Traffic,
    more: &[Expectation],
    crews: &[Crew],
) -> Result<Observation, Error> {
    let gateways = gateways(traffic.expectations.iter().chain(more));
    let before = counters(environment, &gateways).await?;
    let refusing = refusing(traffic.expectations.iter().chain(more));
    let counted = refusals(environment, &refusing).await?;
    let watch = Watch::begin(environment, traffic, traffic.expectations.iter().chain(more)).await?;
    let mut request = Request {
        // Of several senders, only their histograms say what was so of all of them.
        histogram: traffic.from.len() > 1
            || !crews.is_empty()
            || traffic.expectations.iter().chain(more).any(|one| matches!(one.check, Check::Latency(_))),
        samples: MOST_OF_A_STEP,
        show_headers: shown(traffic.expectations.iter().chain(more)),
        ..whole(traffic)
    };
    watch.mark(&mut request);
    let all: Vec<&Expectation> = traffic.expectations.iter().chain(more).collect();
    let enough = |seen: &TrafficObservation| traffic.early_stop && !all.iter().any(|one| is_open(&one.check, seen));
    let sources = match crews {
        [] => {
            let sources = traffic.from.iter();
            try_join_all(sources.map(|from| send(environment, from, &request, traffic.early_stop, &enough))).await?
        }
        crews => send_by(crews, &request).await?,
    };
    let seen = TrafficObservation::of(sources);
    let witnesses = watch.end(environment, traffic, &seen.samples).await?;
    let after = counters(environment, &gateways).await?;
    let proxies = growth(counted, refusals(environment, &refusing).await?);
    let growth_of_gateways = after.into_iter().zip(before).map(|(after, before)| after.since(before));
    Ok(Observation::Traffic(Box::new(TrafficObservation {
        gateways: gateways.into_iter().zip(growth_of_gateways).collect(),
        proxies,
        rate: traffic.rate.unwrap_or(0),
        witnesses,
        ..seen
    })))
}

/// Sends what one source sends; where it may stop early, only until `enough` was seen.
async fn send(
    environment: &Environment,
    from: &Workload,
    request: &Request,
    early_stop: bool,
    enough: &impl Fn(&TrafficObservation) -> bool,
) -> Result<OfSource, Error> {
    let source = environment.source(from)?;
    let of_source = |samples: Samples| OfSource { source: from.clone(), samples };
    let samples = if early_stop {
        let enough = |seen: &Samples| enough(&TrafficObservation::of(vec![of_source(seen.clone())]));
        chunks::send(&source, request, enough).await?
    } else {
        probe::send(&source, request).await?
    };
    Ok(of_source(samples))
}

/// Sends what every source is to send from those who send in its place.
async fn send_by(crews: &[Crew], request: &Request) -> Result<Vec<OfSource>, Error> {
    let mut sources = Vec::new();
    let mut senders = Vec::new();
    for Crew { source, places } in crews {
        let parts = request.dealt(u32::try_from(places.len()).unwrap_or(u32::MAX));
        sources.extend(places.iter().map(|_| source));
        senders.extend(places.iter().cloned().zip(parts));
    }
    let samples = fleet::send(senders).await?;
    Ok(sources.into_iter().cloned().zip(samples).map(|(source, samples)| OfSource { source, samples }).collect())
}

/// What a source sends in a step.
pub(super) fn whole(traffic: &Traffic) -> Request {
    Request { requests: Some(traffic.requests), ..request(traffic) }
}

/// What every request of a step is, however many there are.
pub(super) fn request(traffic: &Traffic) -> Request {
    Request {
        protocol: traffic.protocol,
        hop: traffic.hop.clone(),
        method: traffic.method.clone(),
        body: traffic.body.clone(),
        connections: traffic.connections,
        headers: traffic.headers.clone(),
        timeout: traffic.timeout,
        new_connection_per_request: traffic.new_connection_per_request,
        rate: traffic.rate.map(f64::from),
        ..Request::to(traffic.url.clone())
    }
}

/// Asks a proxy what it holds, or a program of the management plane what it knows.
pub(super) async fn config(environment: &Environment, config: &ConfigOf) -> Result<Observation, Error> {
    if let Some(vm) = &config.of.vm {
        let machine = environment.machine(&vm.name)?;
        return held(config, &vm.name, async |path| {
            let text = proxies::request_machine(&machine, path).await?;
            read_document(&text, path, &vm.name)
        })
        .await;
    }
    let cluster = environment.cluster(&config.of.cluster)?;
    let pods = cluster.pods(&config.of.namespace, &config.of.selector).await?;
    let pod = pods
        .first()
        .ok_or_else(|| Error::NoPod { cluster: config.of.cluster.clone(), workload: config.of.name.clone() })?;
    let name = pod.name_any();
    let of = format!("{}/{name}", config.of.cluster);
    let own = own_administration(&config.of);
    held(config, &of, async |path| {
        let port = PodPort { namespace: &config.of.namespace, pod: &name, port: own.unwrap_or(proxies::ADMIN) };
        let text = cluster.ask(port, path, proxies::DEADLINE).await?;
        match read_document(&text, path, &of) {
            // Metrics are no JSON.
            Err(_) if own.is_some() => Ok(text.lines().collect()),
            read => read,
        }
    })
    .await
}

/// What a proxy holds, by the answers to the paths that are of interest.
async fn held(
    config: &ConfigOf,
    of: &str,
    ask: impl AsyncFn(&str) -> Result<Value, Error>,
) -> Result<Observation, Error> {
    let (place, value) = match &config.path {
        Some(path) => (format!("{path} of {of}"), ask(path).await?),
        None => {
            let value = json!({
                "clusters": ask("/clusters?format=json").await?,
                "routes": ask("/config_dump?resource=dynamic_route_configs").await?,
                "listeners": ask("/listeners?format=json").await?,
            });
            (format!("the proxy of {of}"), value)
        }
    };
    Ok(Observation::Config(ConfigObservation { place, value }))
}

fn read_document(text: &str, path: &str, of: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::NoDocument { place: format!("{path} of {of}"), message: error.to_string() })
}

/// Where a program of the management plane tells of itself; it has no proxy. `None` of everything else.
fn own_administration(of: &Deployment) -> Option<u16> {
    match (of.namespace.as_str(), of.name.as_str()) {
        (names::NAMESPACE, names::MANAGER) => Some(names::PORT_MANAGER_ADMIN),
        (names::NAMESPACE, names::AGENT) => Some(names::PORT_AGENT_ADMIN),
        _ => None,
    }
}

/// Opens the connection of a step.
pub(super) async fn connect(
    environment: &Environment,
    connect: &Connect,
    more: &[Expectation],
) -> Result<Observation, Error> {
    let refusing = refusing(connect.expectations.iter().chain(more));
    let counted = refusals(environment, &refusing).await?;
    let Target { address, name, meshed } = target(environment, &connect.to).await?;
    let address = format!("{address}:{}", connect.port);
    let from = environment.source(&connect.from)?;
    let seen = probe::connect(&from, &address, connect.timeout, connect.plaintext_http).await?;
    Ok(Observation::Connection(ConnectionObservation {
        outcome: outcome(&seen)?,
        address,
        target: name,
        meshed,
        answered_by: seen
            .http
            .and_then(|http| http.served_by)
            .and_then(|by| Some(format!("{}/{}", by.cluster?, by.pod?))),
        proxies: growth(counted, refusals(environment, &refusing).await?),
    }))
}

/// Who is connected to.
struct Target {
    address: String,
    /// As its answers say: the cluster and the pod, which for a machine are both its name.
    name: String,
    meshed: bool,
}

async fn target(environment: &Environment, to: &Workload) -> Result<Target, Error> {
    if let Some(vm) = &to.vm {
        let name = format!("{}/{}", vm.name, vm.name);
        return Ok(Target { address: vm.address.to_string(), name, meshed: true });
    }
    let no_pod = || Error::NoPod { cluster: to.cluster.clone(), workload: to.name.clone() };
    let pods = environment.cluster(&to.cluster)?.pods(&to.namespace, &to.selector()).await?;
    let pod = pods.first().ok_or_else(no_pod)?;
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).ok_or_else(no_pod)?;
    Ok(Target { address, name: format!("{}/{}", to.cluster, pod.name_any()), meshed: is_meshed(pod) })
}

/// Headers that expectations are about.
fn shown<'step>(expectations: impl Iterator<Item = &'step Expectation>) -> BTreeSet<String> {
    let of_headers = expectations.filter_map(|one| match &one.check {
        Check::Headers(headers) => Some(headers.names()),
        _ => None,
    });
    of_headers.flatten().collect()
}

/// Workloads whose proxies must have refused something.
fn refusing<'step>(expectations: impl Iterator<Item = &'step Expectation>) -> Vec<Deployment> {
    let mut all: Vec<Deployment> = Vec::new();
    for expectation in expectations {
        if let Check::Denied(denied) = &expectation.check
            && !all.contains(&denied.at)
        {
            all.push(denied.at.clone());
        }
    }
    all
}

async fn refusals(environment: &Environment, refusing: &[Deployment]) -> Result<Vec<Counters>, Error> {
    let mut all = Vec::with_capacity(refusing.len());
    for of in refusing {
        let counted = match &of.vm {
            Some(vm) => proxies::counters_of_machine(&environment.machine(&vm.name)?, REFUSALS).await?,
            None => {
                let cluster = environment.cluster(&of.cluster)?;
                proxies::counters(cluster, &of.namespace, &of.selector, REFUSALS).await?
            }
        };
        all.push(Counters { of: of.clone(), growth: counted });
    }
    Ok(all)
}

/// How much each counter grew; one that was not there before began at zero.
fn growth(before: Vec<Counters>, after: Vec<Counters>) -> Vec<Counters> {
    let one = |(before, after): (Counters, Counters)| {
        let grown = after.growth.into_iter().map(|(name, now)| {
            let then = before.growth.get(&name).copied().unwrap_or(0);
            (name, now.checked_sub(then).unwrap_or(now))
        });
        Counters { of: after.of, growth: grown.collect() }
    };
    before.into_iter().zip(after).map(one).collect()
}

/// What the probe saw, in the words of scenarios. Something that it could not classify says nothing about the mesh.
fn outcome(seen: &Connection) -> Result<ConnectionOutcome, Error> {
    Ok(match (seen.outcome.as_str(), seen.http.as_ref().map(|http| http.outcome.as_str())) {
        ("connected", Some("answered")) => ConnectionOutcome::Answered,
        ("connected", Some("timeout")) | ("timeout", _) => ConnectionOutcome::Timeout,
        // A TLS alert in answer to plain HTTP ("protocol") is a refusal to talk, as are a close and a reset.
        ("connected", Some(_)) | ("connected-then-closed", _) => ConnectionOutcome::Reset,
        ("connected", None) => ConnectionOutcome::Connected,
        ("unreachable", _) => ConnectionOutcome::Unreachable,
        ("refused", _) => ConnectionOutcome::Refused,
        (other, _) => return Err(Error::Unclassified(other.to_owned())),
    })
}

fn gateways<'step>(expectations: impl Iterator<Item = &'step Expectation>) -> Vec<Gateway> {
    let mut gateways: Vec<Gateway> = Vec::new();
    for expectation in expectations {
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
        let read: BTreeMap<String, u64> = proxies::counters(cluster, ISTIO_SYSTEM, labels, GATEWAY_COUNTERS).await?;
        all.push(GatewayCounters::read(&read));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(value: serde_json::Value) -> Result<ConnectionOutcome, Error> {
        outcome(&serde_json::from_value(value).expect("a connection"))
    }

    #[test]
    fn every_outcome_of_the_probe_has_one_meaning() {
        let http = |outcome: &str| json!({ "outcome": "connected", "http": { "outcome": outcome } });
        let cases = [
            (http("answered"), ConnectionOutcome::Answered),
            (http("timeout"), ConnectionOutcome::Timeout),
            (http("protocol"), ConnectionOutcome::Reset),
            (http("closed"), ConnectionOutcome::Reset),
            (json!({ "outcome": "connected" }), ConnectionOutcome::Connected),
            (json!({ "outcome": "connected-then-closed" }), ConnectionOutcome::Reset),
            (json!({ "outcome": "refused" }), ConnectionOutcome::Refused),
            (json!({ "outcome": "timeout" }), ConnectionOutcome::Timeout),
            (json!({ "outcome": "unreachable" }), ConnectionOutcome::Unreachable),
        ];
        for (value, expected) in cases {
            assert_eq!(seen(value.clone()).expect("known"), expected, "{value}");
        }
    }

    #[test]
    fn programs_of_the_management_plane_are_asked_themselves() {
        let own = |namespace: &str, name: &str| {
            own_administration(&Deployment {
                cluster: "cluster1".to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                selector: String::new(),
                container: String::new(),
                served: false,
                vm: None,
            })
        };
        assert_eq!(own("meshproof-hub", "hub-manager"), Some(9091));
        assert_eq!(own("meshproof-hub", "hub-agent"), Some(9092));
        assert_eq!(own("istio-system", "istiod"), None);
        assert_eq!(own("bookinfo", "hub-manager"), None);
    }

    #[test]
    fn what_the_probe_cannot_classify_is_no_refusal() {
        assert!(seen(json!({ "outcome": "error" })).is_err());
    }
}
