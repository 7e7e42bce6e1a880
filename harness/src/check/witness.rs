//! What others than the client saw of a measurement, as plain data: the links between networks, the proxies of the
//! servers, and the certificates that proxies hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::certificate::Certificate;
use crate::links::{FiveTuple, TapReport};
use crate::scenario::plan::Gateway;
use crate::traffic::probe::Group;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    /// What passed the links between networks.
    pub captures: Vec<Capture>,
    /// TCP connections to the servers as their proxies logged them; `None` where the servers themselves are told who calls.
    pub connections: Option<Vec<Group>>,
    /// Certificates of the clients that are expected.
    pub certificates: Vec<Certificate>,
    /// What the proxies of both sides counted, for each client and server that are expected.
    pub handshakes: Vec<Counted>,
}

impl Witnesses {
    /// The certificates that prove an identity.
    pub fn certificates_of(&self, identity: &str) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(move |one| one.identity.as_deref() == Some(identity))
    }

    /// What the proxies of a client and a server counted.
    #[must_use]
    pub fn handshakes(&self, client: &str, server: &str) -> Option<Handshakes> {
        let of_both = |one: &&Counted| one.client == client && one.server == server;
        self.handshakes.iter().find(of_both).map(|one| one.handshakes)
    }

    /// What passed the links, as figures.
    #[must_use]
    pub fn links(&self) -> Vec<Figures> {
        let figures = |capture: &Capture| Figures {
            between: capture.between.clone(),
            missing: capture.seen.clone().err(),
            seen: capture.seen.clone().unwrap_or_default(),
        };
        self.captures.iter().map(figures).collect()
    }
}

/// A capture in figures: all zero where there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    between: [String; 2],
    missing: Option<String>,
    #[serde(flatten)]
    seen: LinkSeen,
}

/// What passed a link.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The networks at its ends, that of the client first.
    pub between: [String; 2],
    /// The gateway that requests over this link go to.
    pub gateway: Gateway,
    /// Places of the sources that send over this link: clusters, or machines by their names.
    pub from: BTreeSet<String>,
    /// What the requests hold that must not be read there.
    pub marker: String,
    /// What was seen; why nothing could be.
    pub seen: Result<LinkSeen, String>,
}

/// What a tap saw of the traffic with a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkSeen {
    /// Packets of the link, those of others included.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets and segments that were not captured.
    pub missed: u64,
    /// Bytes of payload to the gateway.
    pub to_gateway: u64,
    /// Bytes of payload from it.
    pub from_gateway: u64,
    /// How often the marker was found.
    pub hits: u64,
    /// Where first.
    pub first: Option<FiveTuple>,
}

impl LinkSeen {
    /// What a report of a tap says of a marker, and of the traffic with a gateway at these addresses.
    #[must_use]
    pub fn read(report: &TapReport, gateway: &[String]) -> Self {
        let at_gateway = |place: &str| {
            let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
            gateway.iter().any(|address| address == host)
        };
        let payload = |is_its: &dyn Fn(&FiveTuple) -> bool| {
            report.flows.iter().filter(|flow| is_its(&flow.flow)).map(|flow| flow.payload_bytes).sum()
        };
        Self {
            packets: report.packets,
            bytes: report.bytes,
            missed: report.dropped + report.gaps,
            to_gateway: payload(&|flow| at_gateway(&flow.destination)),
            from_gateway: payload(&|flow| at_gateway(&flow.source)),
            hits: report.markers.iter().map(|marker| marker.hits).sum(),
            first: report.markers.iter().find_map(|marker| marker.first.clone()),
        }
    }
}

/// What the proxies of a client and of a server counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Identity of the client.
    pub client: String,
    /// Identity of the server.
    pub server: String,
    /// The figures.
    pub handshakes: Handshakes,
}

/// Growth of the counters about TLS during a measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshakes {
    /// Handshakes that the proxies of the client made with servers.
    pub client: u64,
    /// Handshakes that the proxies of the server made with clients.
    pub server: u64,
    /// Handshakes of either that failed.
    pub failed: u64,
}

impl Handshakes {
    /// From the growth of Envoy's counters by name: what the proxies of a client did with servers, and those of a server
    /// with clients.
    #[must_use]
    pub fn read(client: &BTreeMap<String, u64>, server: &BTreeMap<String, u64>) -> Self {
        let sum = |counters: &BTreeMap<String, u64>, begin: &str, is: &dyn Fn(&str) -> bool| -> u64 {
            counters.iter().filter(|(name, _)| name.starts_with(begin) && is(name)).map(|(_, count)| count).sum()
        };
        let made = |name: &str| name.ends_with("ssl.handshake");
        let failed = |name: &str| !made(name);
        Self {
            client: sum(client, "cluster.", &made),
            server: sum(server, "listener.", &made),
            failed: sum(client, "cluster.", &failed) + sum(server, "listener.", &failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::{MarkerHits, TapFlow};

    #[test]
    fn what_passes_the_gateway_is_told_from_what_else_is_on_the_link() {
        let flow = |source: &str, destination: &str, payload_bytes| TapFlow {
            flow: FiveTuple {
                protocol: "tcp".to_owned(),
                source: source.to_owned(),
                destination: destination.to_owned(),
            },
            packets: 1,
            payload_bytes,
            begins_as_tls: None,
            tls_records: 0,
        };
        let report = TapReport {
            packets: 9,
            dropped: 1,
            gaps: 2,
            flows: vec![
                flow("10.0.0.1:5", "172.30.2.100:15443", 700),
                flow("172.30.2.100:15443", "10.0.0.1:5", 900),
                flow("10.0.0.1:5", "172.30.2.10:6443", 5_000),
            ],
            markers: vec![MarkerHits { name: "request".to_owned(), hits: 3, first: None }],
            ..TapReport::default()
        };
        let seen = LinkSeen::read(&report, &["172.30.2.100".to_owned()]);
        assert_eq!((seen.to_gateway, seen.from_gateway), (700, 900));
        assert_eq!((seen.hits, seen.missed, seen.packets), (3, 3, 9));
    }

    #[test]
    fn each_side_counts_the_handshakes_that_it_made_as_such() {
        let counters =
            |counters: &[(&str, u64)]| counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let client = counters(&[
            ("cluster.a.ssl.handshake", 3),
            ("listener.b.ssl.handshake", 50),
            ("cluster.a.ssl.fail_verify_san", 1),
        ]);
        let server = counters(&[
            ("listener.b.ssl.handshake", 4),
            ("cluster.a.ssl.handshake", 60),
            ("listener.b.ssl.connection_error", 2),
        ]);
        assert_eq!(Handshakes::read(&client, &server), Handshakes { client: 3, server: 4, failed: 3 });
    }
}
