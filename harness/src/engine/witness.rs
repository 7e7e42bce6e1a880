//! Asks others than the client what they saw of a measurement: the link between the networks, the proxies of both sides.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::Api;
use uuid::Uuid;

use super::connections;
use super::context::{Environment, Error};
use super::holders::Holders;
use crate::check::certificate::Authority;
use crate::check::witness::{Capture, LinkSeen, Witnesses};
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::links::{Links, Marker, Tap};
use crate::scenario::plan::{Capturing, Check, Expectation, Gateway, MutualTls, Traffic};
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
    client: Option<Holders>,
    server: Option<Holders>,
}

/// A link that is to be captured.
struct Link {
    between: [String; 2],
    gateway: Vec<String>,
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
        let (mut client, mut server) = (None, None);
        if let Some(first) = wanted.first() {
            client = Some(Holders::of(environment, &first.client).await?);
            server = Some(Holders::of(environment, &first.server).await?);
        }
        let marker = marker();
        let mut links: Vec<Link> = Vec::new();
        let captured = wanted.iter().filter(|expected| expected.capture != Capturing::No);
        for gateway in captured.flat_map(|expected| &expected.through) {
            let to = environment.cluster(&gateway.cluster)?.network().to_owned();
            for source in &traffic.from {
                let between = [environment.cluster(&source.cluster)?.network().to_owned(), to.clone()];
                if between[0] != to && !links.iter().any(|link| link.between == between) {
                    links.push(link(environment, between, gateway, &marker).await?);
                }
            }
        }
        Ok(Self { began: Timestamp::now(), marker, links, client, server })
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
            captures.push(Capture {
                between: link.between,
                marker: self.marker.clone(),
                seen: seen(link.tap, &link.gateway).await?,
            });
        }
        let mut connections = None;
        if traffic.protocol.is_opaque() {
            connections = Some(connections::logged(environment, traffic, samples, self.began).await?);
        }
        let mut witnesses = Witnesses { captures, connections, ..Witnesses::default() };
        if let (Some(client), Some(server)) = (self.client, self.server) {
            let authorities = authorities(environment).await?;
            witnesses.certificates = client.certificates(environment, &authorities).await?;
            witnesses.handshakes = Some(client.handshakes_with(server, environment).await?);
        }
        Ok(witnesses)
    }
}

/// Chance of 1 in 2⁶⁴ to be met by chance. HTTP/2 writes a header value shorter where it can; of these two letters it
/// cannot, so that the marker appears in plain text as it is.
fn marker() -> String {
    let bits: u64 = rand::random();
    (0..u64::BITS).map(|index| if bits >> index & 1 == 0 { 'X' } else { 'Z' }).collect()
}

async fn link(environment: &Environment, between: [String; 2], gateway: &Gateway, marker: &str) -> Result<Link, Error> {
    let addresses = addresses(environment, gateway).await?;
    let tap = match environment.links() {
        Some(links) => tap(links, &between, marker, environment.artifacts()).await,
        None => Err("this environment has no links that can be captured".to_owned()),
    };
    Ok(Link { between, gateway: addresses, tap })
}

async fn tap(
    links: &Links,
    between: &[String; 2],
    marker: &str,
    artifacts: Option<&Utf8Path>,
) -> Result<(Tap, Utf8PathBuf), String> {
    let folder = match artifacts {
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
async fn seen(tap: Result<(Tap, Utf8PathBuf), String>, gateway: &[String]) -> Result<Result<LinkSeen, String>, Error> {
    let (tap, file) = match tap {
        Ok(tap) => tap,
        Err(why) => return Ok(Err(why)),
    };
    let seen = LinkSeen::read(&tap.stop().await?, gateway);
    if seen.hits == 0 {
        // A file that stays does no harm.
        let _ = std::fs::remove_file(&file);
    }
    Ok(Ok(seen))
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
    use super::*;

    #[test]
    fn markers_differ_and_have_letters_that_cannot_be_written_shorter() {
        let (one, other) = (marker(), marker());
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
        assert!(one.chars().all(|letter| matches!(letter, 'X' | 'Z')), "{one}");
    }
}
