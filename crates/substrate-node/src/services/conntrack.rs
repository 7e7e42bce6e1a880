//! Forgets what the kernel remembers of datagrams to endpoints that are gone.
//!
//! A translation is chosen once for each conversation. A TCP connection ends with its endpoint; a UDP client that keeps
//! its port would be led to the old address for as long as it goes on sending.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::{Protocol, ServiceTable};

/// Message types: `NFNL_SUBSYS_CTNETLINK << 8` and what is asked for.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
/// Length of a netlink header, and of the netfilter header after it.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// Attributes of an entry.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
/// Attributes of a tuple, of its addresses and of its ports.
const ADDRESSES: u16 = 1;
const PORTS: u16 = 2;
const SOURCE_ADDRESS: u16 = 1;
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const UDP: u8 = 17;

/// Endpoints of datagrams in a table.
pub(crate) fn datagram_endpoints(table: &ServiceTable) -> BTreeSet<SocketAddrV4> {
    let ports = table.services.iter().flat_map(|service| &service.ports);
    ports.filter(|port| port.protocol == Protocol::Udp).flat_map(|port| port.endpoints.iter().copied()).collect()
}

/// Deletes every conversation of datagrams in the calling thread's network namespace that is led to one of these.
/// Returns how many there were.
pub(crate) fn forget(gone: &BTreeSet<SocketAddrV4>) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.send(&request(GET, REQUEST | DUMP, &[]), 0)?;
    let mut entries = Vec::new();
    while read(&socket, |body| entries.extend(entry(body)))? {}
    let stale: Vec<_> = entries.into_iter().filter(|entry| gone.contains(&entry.served_by)).collect();
    for entry in &stale {
        socket.send(&request(DELETE, REQUEST | ACKNOWLEDGE, &entry.original), 0)?;
        match read(&socket, |_| {}) {
            // It has timed out meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            outcome => drop(outcome?),
        }
    }
    Ok(stale.len())
}

/// A conversation of datagrams.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Who answers.
    served_by: SocketAddrV4,
    /// The attribute that names the entry, as the kernel wrote it.
    original: Vec<u8>,
}

fn request(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER + FAMILY + attributes.len()) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[libc::AF_INET as u8, 0, 0, 0]);
    bytes.extend_from_slice(attributes);
    bytes
}

/// Reads one datagram of messages. `false` at the end of an answer.
fn read(socket: &Socket, mut see: impl FnMut(&[u8])) -> io::Result<bool> {
    let (datagram, _) = socket.recv_from_full()?;
    let mut rest = datagram.as_slice();
    while let Some((kind, body, after)) = message(rest) {
        match kind {
            DONE => return Ok(false),
            ERROR => {
                let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return if code == 0 { Ok(false) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
            _ => see(body.get(FAMILY..).unwrap_or_default()),
        }
        rest = after;
    }
    Ok(true)
}

/// The first message: its type, its body, and what comes after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The entry that a message tells of; `None` for anything but datagrams over IPv4.
fn entry(body: &[u8]) -> Option<Entry> {
    let (original, reply) = (attribute(body, ORIGINAL)?, attribute(body, REPLY)?);
    let ports = attribute(reply.value, PORTS)?;
    if attribute(ports.value, PROTOCOL)?.value.first() != Some(&UDP) {
        return None;
    }
    let addresses = attribute(reply.value, ADDRESSES)?;
    let address = Ipv4Addr::from(*attribute(addresses.value, SOURCE_ADDRESS)?.value.first_chunk::<4>()?);
    let port = u16::from_be_bytes(*attribute(ports.value, SOURCE_PORT)?.value.first_chunk()?);
    Some(Entry { served_by: SocketAddrV4::new(address, port), original: original.whole.to_vec() })
}

/// One attribute: its value, and the value with its header.
struct Attribute<'a> {
    value: &'a [u8],
    whole: &'a [u8],
}

/// The first attribute of a type.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<Attribute<'_>> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        // The two highest bits say "nested" and "network byte order".
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & 0x3fff;
        let whole = bytes.get(..length)?;
        if kind == wanted {
            return Some(Attribute { value: whole.get(4..)?, whole });
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.18 on x86-64 says of a datagram from 127.0.0.1:40000 to port 5353 that is led to port 5354: the
    /// beginning of the message, with its two tuples.
    fn captured() -> Vec<u8> {
        let nested = |kind: u8, parts: &[&[u8]]| {
            let value = parts.concat();
            [&[(value.len() + 4) as u8, 0, kind, 0x80], value.as_slice()].concat()
        };
        let loopback: &[u8] = &[8, 0, 1, 0, 127, 0, 0, 1, 8, 0, 2, 0, 127, 0, 0, 1];
        let ports = |from: u16, to: u16| {
            let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
            [5, 0, 1, 0, 17, 0, 0, 0, 6, 0, 2, 0, a, b, 0, 0, 6, 0, 3, 0, c, d, 0, 0]
        };
        let tuple = |kind, from, to| nested(kind, &[&nested(1, &[loopback]), &nested(2, &[&ports(from, to)])]);
        [tuple(1, 40000, 5353), tuple(2, 5354, 40000)].concat()
    }

    #[test]
    fn an_entry_is_known_by_who_answers() {
        let body = captured();
        let entry = entry(&body).unwrap();
        assert_eq!(entry.served_by, "127.0.0.1:5354".parse().unwrap());
        assert_eq!(entry.original, body[..0x34]);
    }

    #[test]
    fn other_protocols_and_nonsense_are_no_entries() {
        let mut tcp = captured();
        let at = tcp.len() - 20;
        assert_eq!(std::mem::replace(&mut tcp[at], 6), UDP);
        assert_eq!(entry(&tcp), None);
        for length in 0..captured().len() - 10 {
            assert_eq!(entry(&captured()[..length]), None, "{length}");
        }
        assert!(message(&[0; 16]).is_none() && message(&[200, 0, 0, 0, 1, 1]).is_none());
    }
}
