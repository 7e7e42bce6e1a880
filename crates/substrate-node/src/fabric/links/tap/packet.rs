//! What a captured frame is: its flow, its payload, its place in a TCP stream. Pure.

use std::fmt;
use std::net::Ipv4Addr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use substrate_config::control::FiveTuple;

/// One direction of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    protocol: u8,
    source: (Ipv4Addr, Option<u16>),
    destination: (Ipv4Addr, Option<u16>),
}

/// Where a segment stands in its TCP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Sequence number of its first byte.
    pub(super) sequence: u32,
    /// Whether it opens the stream.
    pub(super) syn: bool,
}

/// A frame that could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) flow: Flow,
    pub(super) payload: &'a [u8],
    /// Absent for anything but TCP, and for fragments.
    pub(super) segment: Option<Segment>,
}

/// Reads an Ethernet frame; `None` for anything but IPv4. Checksums are not looked at: inside one machine they are
/// often left for a card that never sees the packet.
pub(super) fn parse(frame: &[u8]) -> Option<Packet<'_>> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let Some(LaxNetSlice::Ipv4(internet)) = &packet.net else { return None };
    let (header, body) = (internet.header(), internet.payload());
    let (ports, payload, segment) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let segment = Segment { sequence: tcp.sequence_number(), syn: tcp.syn() };
            (Some((tcp.source_port(), tcp.destination_port())), tcp.payload(), Some(segment))
        }
        Some(TransportSlice::Udp(udp)) => (Some((udp.source_port(), udp.destination_port())), udp.payload(), None),
        _ => (None, body.payload, None),
    };
    let flow = Flow {
        protocol: body.ip_number.0,
        source: (header.source_addr(), ports.map(|(source, _)| source)),
        destination: (header.destination_addr(), ports.map(|(_, destination)| destination)),
    };
    Some(Packet { flow, payload, segment })
}

impl Flow {
    /// Who it is sent to.
    pub(super) fn receiver(&self) -> Ipv4Addr {
        self.destination.0
    }
}

impl From<Flow> for FiveTuple {
    fn from(flow: Flow) -> Self {
        let protocol = match flow.protocol {
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => other.to_string(),
        };
        Self { protocol, source: End(flow.source).to_string(), destination: End(flow.destination).to_string() }
    }
}

struct End((Ipv4Addr, Option<u16>));

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((address, port)) = self;
        match port {
            Some(port) => write!(formatter, "{address}:{port}"),
            None => write!(formatter, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    #[test]
    fn tcp_is_read_with_its_place_in_the_stream() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [3; 6]).ipv4([172, 30, 1, 1], [172, 30, 2, 100], 64);
        builder.tcp(40000, 443, 77, 1000).syn().write(&mut frame, b"hello").unwrap();
        // A frame can be longer than its packet.
        frame.extend_from_slice(&[0; 20]);
        let packet = parse(&frame).unwrap();
        assert_eq!(packet.payload, b"hello");
        assert_eq!(packet.segment, Some(Segment { sequence: 77, syn: true }));
        let flow = FiveTuple {
            protocol: "tcp".into(),
            source: "172.30.1.1:40000".into(),
            destination: "172.30.2.100:443".into(),
        };
        assert_eq!(FiveTuple::from(packet.flow), flow);
        assert_eq!(packet.flow.receiver(), Ipv4Addr::new(172, 30, 2, 100));
    }

    #[test]
    fn datagrams_and_other_protocols_have_a_payload_too() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [3; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        builder.udp(53, 54).write(&mut frame, b"name").unwrap();
        assert_eq!(parse(&frame).unwrap().payload, b"name");
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [3; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        builder.icmpv4_echo_request(1, 2).write(&mut frame, b"ping").unwrap();
        let packet = parse(&frame).unwrap();
        assert!(packet.payload.ends_with(b"ping"));
        assert_eq!(FiveTuple::from(packet.flow).source, "10.0.0.1");
    }

    #[test]
    fn what_is_no_ipv4_is_not_read() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[0; 60]), None);
        let mut arp = vec![0xff; 12];
        arp.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(parse(&arp), None);
    }
}
