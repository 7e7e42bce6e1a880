//! What others than the client saw of a measurement, as plain data: the links between networks, the proxies of the
//! servers, and the certificates that proxies hold.

use serde::Serialize;

use super::certificate::Certificate;
use crate::links::{FiveTuple, TapReport};
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
    /// What the proxies of both sides counted.
    pub handshakes: Option<Handshakes>,
}

impl Witnesses {
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
}
