//! Asks others than the client what they saw of a measurement: the link between the networks, the proxies of both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::Utf8PathBuf;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::Api;
use uuid::Uuid;

use super::connections;
use super::context::{Environment, Error};
use super::holders::Holders;
use crate::check::certificate::{Authority, Certificate};
use crate::check::witness::{Capture, Counted, Handshakes, LinkSeen, Witnesses};
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::links::{Marker, Tap, TapReport};
use crate::scenario::plan::{Capturing, Check, Expectation, Gateway, MutualTls, Traffic};
use crate::topology::Vm;
use crate::traffic::probe::{Request, Samples};

/// The header that carries the marker of a measurement.
const MARKER: &str = "x-meshproof-marker";
/// A capture file grows no larger; all of the traffic is searched all the same.
const LARGEST_FILE: u64 = 8 << 20;

/// Witnesses that are at work.
pub(super) struct Watch {
    began: Timestamp,
    marker: String,
    links: Vec<Link>,
    /// The proxies of every client and server that is expected, by identity.
    holders: BTreeMap<String, Holders>,
    /// Client and server of each expectation.
    sides: BTreeSet<[String; 2]>,
}

/// A link that is to be captured.
struct Link {
    between: [String; 2],
    /// Places of the sources that send over it.
    from: BTreeSet<String>,
    /// Where they send to, with its addresses.
    gateways: Vec<(Gateway, Vec<String>)>,
    tap: Result<(Tap, Utf8PathBuf), String>,
}

impl Watch {
    /// Sets the witnesses to work that expectations ask for.
    pub(super) async fn begin<'step>(
        environment: &Environment,
        traffic: &Traffic,
        expectations: impl Iterator<Item = &'step Expectation>,
    ) -> Result<Self, Error> {
        let wanted: Vec<&MutualTls> = expectations
            .filter_map(|one| match &one.check {
                Check::MutualTls(expected) => Some(expected),
                _ => None,
            })
            .collect();
        let sides = wanted.iter().map(|one| [one.client.clone(), one.server.clone()]).collect::<BTreeSet<_>>();
        let identities: BTreeSet<&String> = sides.iter().flatten().collect();
        let vms: BTreeSet<Vm> = wanted.iter().flat_map(|one| one.vms.iter().cloned()).collect();
        let vms: Vec<Vm> = vms.into_iter().collect();
        let found = identities
            .into_iter()
            .map(async |identity| Ok::<_, Error>((identity.clone(), Holders::of(environment, identity, &vms).await?)));
        let holders = try_join_all(found).await?.into_iter().collect();
        let marker = marker();
        let mut links: Vec<Link> = Vec::new();
        let captured = wanted.iter().filter(|expected| expected.capture != Capturing::No);
        for gateway in captured.flat_map(|expected| &expected.through) {
            let to = environment.cluster(&gateway.cluster)?.network().to_owned();
            for source in &traffic.from {
                let from = match &source.vm {
                    Some(vm) => vm.network.clone(),
                    None => environment.cluster(&source.cluster)?.network().to_owned(),
                };
                let between = [from, to.clone()];
                if between[0] == to {
                    continue;
                }
                let known = links.iter().position(|link| link.between == between);
                let known = known.unwrap_or(links.len());
                if known == links.len() {
                    let tap = tap(environment, &between, &marker).await;
                    links.push(Link { between, from: BTreeSet::new(), gateways: Vec::new(), tap });
                }
                links[known].from.insert(source.place().to_owned());
                if !links[known].gateways.iter().any(|(one, _)| one == gateway) {
                    links[known].gateways.push((gateway.clone(), addresses(environment, gateway).await?));
                }
            }
        }
        Ok(Self { began: Timestamp::now(), marker, links, holders, sides })
    }

    /// Puts the marker into every request.
    pub(super) fn mark(&self, request: &mut Request) {
        if self.links.is_empty() {
            return;
        }
        if request.protocol.is_text() {
            request.body = Some(match &request.body {
                Some(body) => format!("{body} {}", self.marker),
                None => self.marker.clone(),
            });
        }
        if !request.protocol.is_opaque() {
            request.headers.insert(MARKER.to_owned(), self.marker.clone());
        }
    }

    /// Hears them.
    pub(super) async fn end(
        self,
        environment: &Environment,
        traffic: &Traffic,
        samples: &Samples,
    ) -> Result<Witnesses, Error> {
        let mut captures = Vec::new();
        for link in self.links {
            let report = reported(link.tap).await?;
            captures.extend(link.gateways.into_iter().map(|(gateway, addresses)| Capture {
                between: link.between.clone(),
                gateway,
                from: link.from.clone(),
                marker: self.marker.clone(),
                seen: report.as_ref().map(|report| LinkSeen::read(report, &addresses)).map_err(Clone::clone),
            }));
        }
        let mut connections = None;
        if traffic.protocol.is_opaque() {
            connections = Some(connections::logged(environment, traffic, samples, self.began).await?);
        }
        let (certificates, handshakes) = heard(environment, &self.holders, &self.sides).await?;
        Ok(Witnesses { captures, connections, certificates, handshakes })
    }
}

/// What the proxies of both sides of every expectation say.
async fn heard(
    environment: &Environment,
    holders: &BTreeMap<String, Holders>,
    sides: &BTreeSet<[String; 2]>,
) -> Result<(Vec<Certificate>, Vec<Counted>), Error> {
    let (mut certificates, mut handshakes) = (Vec::new(), Vec::new());
    if sides.is_empty() {
        return Ok((certificates, handshakes));
    }
    let grown = holders.iter().map(async |(identity, one)| Ok::<_, Error>((identity, one.grown(environment).await?)));
    let grown: BTreeMap<_, _> = try_join_all(grown).await?.into_iter().collect();
    let authorities = authorities(environment).await?;
    let clients: BTreeSet<&String> = sides.iter().map(|[client, _]| client).collect();
    for client in clients {
        certificates.extend(holders[client].certificates(environment, &authorities).await?);
    }
    for [client, server] in sides {
        let counted = Handshakes::read(&grown[client], &grown[server]);
        handshakes.push(Counted { client: client.clone(), server: server.clone(), handshakes: counted });
    }
    Ok((certificates, handshakes))
}

/// Chance of 1 in 2⁶⁴ to be met by chance. HTTP/2 writes a header value shorter where it can; of these two letters it
/// cannot, so that the marker appears in plain text as it is.
fn marker() -> String {
    let bits: u64 = rand::random();
    (0..u64::BITS).map(|index| if bits >> index & 1 == 0 { 'X' } else { 'Z' }).collect()
}

async fn tap(environment: &Environment, between: &[String; 2], marker: &str) -> Result<(Tap, Utf8PathBuf), String> {
    let links = environment.links().ok_or("this environment has no links that can be captured")?;
    let folder = match environment.artifacts() {
        Some(folder) => folder.to_owned(),
        None => Utf8PathBuf::from_path_buf(std::env::temp_dir()).map_err(|path| path.display().to_string())?,
    };
    let folder = std::fs::create_dir_all(&folder).and_then(|()| folder.canonicalize_utf8());
    let file = folder.map_err(|error| error.to_string())?.join(format!("link-{}.pcap", Uuid::new_v4().simple()));
    let markers = [Marker { name: "request".to_owned(), bytes: marker.as_bytes().to_vec() }];
    let [from, to] = between;
    let tap = links.tap([from, to], &markers, &file, LARGEST_FILE).await.map_err(|error| error.to_string())?;
    Ok((tap, file))
}

/// What the tap saw. Its file is kept where it shows something.
async fn reported(tap: Result<(Tap, Utf8PathBuf), String>) -> Result<Result<TapReport, String>, Error> {
    let (tap, file) = match tap {
        Ok(tap) => tap,
        Err(why) => return Ok(Err(why)),
    };
    let report = tap.stop().await?;
    if report.markers.iter().all(|marker| marker.hits == 0) {
        // A file that stays does no harm.
        let _ = std::fs::remove_file(&file);
    }
    Ok(Ok(report))
}

/// Addresses of a gateway for other networks.
async fn addresses(environment: &Environment, gateway: &Gateway) -> Result<Vec<String>, Error> {
    let cluster = environment.cluster(&gateway.cluster)?;
    let api: Api<Service> = Api::namespaced(cluster.client(), ISTIO_SYSTEM);
    let name = gateway.kind.deployment();
    let service = api.get(name).await.map_err(|source| cluster.api_error(format!("get Service {name}"), source))?;
    let ingress = service.status.and_then(|status| status.load_balancer?.ingress).unwrap_or_default();
    Ok(ingress.into_iter().filter_map(|one| one.ip).collect())
}

/// What signs on each cluster: keys that were brought in, else those that the control plane made.
async fn authorities(environment: &Environment) -> Result<Vec<Authority>, Error> {
    let mut all = Vec::new();
    for cluster in environment.clusters() {
        let secrets: Api<Secret> = Api::namespaced(cluster.client(), ISTIO_SYSTEM);
        for name in ["cacerts", "istio-ca-secret"] {
            let secret = secrets.get_opt(name).await;
            let secret = secret.map_err(|source| cluster.api_error(format!("get Secret {name}"), source))?;
            if let Some(pem) = secret.and_then(|secret| secret.data?.remove("ca-cert.pem")) {
                all.extend(Authority::read(cluster.name(), &pem.0));
                break;
            }
        }
    }
    Ok(all)
}

/// How long the proxies of servers may take to log connections: they write once a second.
pub(super) const LOGGED_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::Cluster;
    use crate::scenario::plan::Action;
    use crate::scenario::samples;

    #[test]
    fn markers_differ_and_have_letters_that_cannot_be_written_shorter() {
        let (one, other) = (marker(), marker());
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
        assert!(one.chars().all(|letter| matches!(letter, 'X' | 'Z')), "{one}");
    }

    /// A step that expects mutual TLS of two clients with a server each.
    const STEP: &str = "
- name: both
  traffic:
    from:
    - &here {cluster: cluster1, workload: probe, namespace: bookinfo}
    - &there {cluster: cluster2, workload: probe, namespace: bookinfo}
    url: http://details:9080/
  expect:
  - from: *here
    mtls: {client: spiffe://cluster.local/ns/bookinfo/sa/probe, server: spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details}
  - from: *there
    mtls: {client: spiffe://cluster.local/ns/bookinfo/sa/probe, server: spiffe://cluster.local/ns/bookinfo/sa/bookinfo-ratings}
";

    #[tokio::test]
    async fn every_expectation_gets_witnesses_of_its_own() {
        let plan = samples::plan("one", STEP);
        let Action::Traffic(traffic) = &plan.steps[0].action else { panic!("{plan:?}") };
        let cluster = Cluster::answering("cluster1", |_| {
            (200, json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []}))
        });
        let environment = Environment::new(vec![cluster], None);
        let watch = Watch::begin(&environment, traffic, traffic.expectations.iter()).await.expect("nobody is there");
        let id = |account| format!("spiffe://cluster.local/ns/bookinfo/sa/{account}");
        let (probe, details, ratings) = (id("probe"), id("bookinfo-details"), id("bookinfo-ratings"));
        assert_eq!(watch.holders.keys().collect::<Vec<_>>(), [&details, &ratings, &probe]);
        assert_eq!(watch.sides, [[probe.clone(), details], [probe, ratings]].into());
    }
}
