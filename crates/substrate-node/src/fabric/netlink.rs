//! Changes to one network namespace over rtnetlink, sent in batches and acknowledged one by one.
//!
//! Synchronous on purpose: it runs on threads that have entered a network namespace, where no async worker may go.
//! Interface numbers are chosen by the caller, so that a batch can refer to a link that the same batch creates.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, InfoData, InfoVeth, LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::Cidr;

/// Index of the loopback link of every network namespace.
pub(super) const LOOPBACK: u32 = 1;

/// The gateway that every routed link uses on its far side; a link-local address that no namespace owns.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// A link-layer address.
pub(super) type Mac = [u8; 6];

/// One side of a veth pair.
pub(super) struct LinkEnd<'a> {
    pub(super) index: u32,
    pub(super) name: &'a str,
    pub(super) mac: Mac,
}

/// One change, with words for the error message.
pub(super) struct Change {
    what: String,
    message: RouteNetlinkMessage,
    flags: u16,
}

/// A netlink socket of the namespace in which it was opened.
pub(super) struct Netlink {
    socket: Socket,
}

/// A change that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
struct Refused {
    what: String,
    source: io::Error,
}

/// Whether the kernel refused a change because the link does not exist.
pub(super) fn is_no_such_link(error: &io::Error) -> bool {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    refused.is_some_and(|refused| refused.source.raw_os_error() == Some(libc::ENODEV))
}

/// Replies fit by far: 64 acknowledgements of some hundred bytes of kernel memory each.
const BATCH: usize = 64;

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket })
    }

    /// Applies the changes in order.
    ///
    /// # Errors
    /// The first change that the kernel refused, in words. Later changes of the same batch may have been applied.
    pub(super) fn apply(&self, changes: Vec<Change>) -> io::Result<()> {
        let mut changes = changes.into_iter().peekable();
        while changes.peek().is_some() {
            self.apply_batch(changes.by_ref().take(BATCH).collect())?;
        }
        Ok(())
    }

    fn apply_batch(&self, changes: Vec<Change>) -> io::Result<()> {
        let mut names = Vec::with_capacity(changes.len());
        let mut bytes = Vec::new();
        for (sequence, change) in changes.into_iter().enumerate() {
            append(&mut bytes, sequence as u32, change.flags, change.message);
            names.push(change.what);
        }
        self.socket.send(&bytes, 0)?;
        let mut acknowledged = 0;
        let mut first_error = None;
        while acknowledged < names.len() {
            let (reply, _) = self.socket.recv_from_full()?;
            for (sequence, outcome) in acknowledgements(&reply)? {
                acknowledged += 1;
                if let (Err(error), true) = (outcome, first_error.is_none()) {
                    let what = names.get(sequence as usize).map_or("netlink change", String::as_str);
                    first_error = Some(io::Error::new(error.kind(), Refused { what: what.to_owned(), source: error }));
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn append(bytes: &mut Vec<u8>, sequence: u32, flags: u16, message: RouteNetlinkMessage) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}

/// The acknowledgements in one datagram: sequence number, and the error if the change was refused.
fn acknowledgements(datagram: &[u8]) -> io::Result<Vec<(u32, io::Result<()>)>> {
    let mut outcomes = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let length = (message.header.length as usize).next_multiple_of(4).min(rest.len());
        if let NetlinkPayload::Error(error) = &message.payload {
            let outcome = if error.code.is_none() { Ok(()) } else { Err(error.to_io()) };
            outcomes.push((message.header.sequence_number, outcome));
        }
        rest = &rest[length.max(1)..];
    }
    Ok(outcomes)
}

/// A veth pair: one side here and up, the other in the namespace `far_namespace` and still down, since the kernel
/// opens a side only when it knows the other.
pub(super) fn veth(near: &LinkEnd<'_>, far: &LinkEnd<'_>, far_namespace: BorrowedFd<'_>) -> Change {
    let peer = LinkUnspec::new_with_name(far.name)
        .append_extra_attribute(LinkAttribute::Address(far.mac.to_vec()))
        .append_extra_attribute(LinkAttribute::NetNsFd(far_namespace.as_raw_fd()))
        .index(far.index)
        .build();
    let link = LinkMessageBuilder::<LinkVeth>::new(near.name, far.name)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .append_extra_attribute(LinkAttribute::Address(near.mac.to_vec()))
        .index(near.index)
        .up()
        .build();
    Change {
        what: format!("create link {}", near.name),
        message: RouteNetlinkMessage::NewLink(link),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Sets a link up or down.
pub(super) fn set_up(index: u32, up: bool) -> Change {
    let builder = LinkUnspec::new_with_index(index);
    let link = if up { builder.up() } else { builder.down() }.build();
    Change { what: format!("set link {index} up={up}"), message: RouteNetlinkMessage::SetLink(link), flags: 0 }
}

/// Says whether packets that arrive on the link are forwarded.
///
/// A new namespace inherits the host's setting, and `/proc/sys` may be read-only: hence per link, over netlink.
pub(super) fn set_forwarding(index: u32, forwarding: bool) -> Change {
    const IFLA_INET_CONF: u16 = 1;
    const IPV4_DEVCONF_FORWARDING: u16 = 1;
    // The typed attribute of netlink-packet-route leaves out zeros, which is how "no forwarding" is spelled.
    let mut nested = Vec::with_capacity(8);
    nested.extend_from_slice(&8_u16.to_ne_bytes());
    nested.extend_from_slice(&IPV4_DEVCONF_FORWARDING.to_ne_bytes());
    nested.extend_from_slice(&u32::from(forwarding).to_ne_bytes());
    let inet = AfSpecUnspec::Inet(vec![AfSpecInet::Other(DefaultNla::new(IFLA_INET_CONF, nested))]);
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet]));
    Change {
        what: format!("set forwarding={forwarding} on link {index}"),
        message: RouteNetlinkMessage::SetLink(link),
        flags: 0,
    }
}

/// Deletes a link, and with it its other side.
pub(super) fn delete_link(index: u32) -> Change {
    let link = LinkUnspec::new_with_index(index).build();
    Change { what: format!("delete link {index}"), message: RouteNetlinkMessage::DelLink(link), flags: 0 }
}

/// Gives the link a single address (`/32`).
pub(super) fn address(index: u32, address: Ipv4Addr) -> Change {
    let message: AddressMessage = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, 32).build();
    Change {
        what: format!("add address {address} to link {index}"),
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

/// A permanent neighbour entry: no ARP is needed on our links, since both sides are known.
pub(super) fn neighbour(index: u32, address: Ipv4Addr, mac: Mac) -> Change {
    let mut message = NeighbourMessage::default();
    message.header.family = netlink_packet_route::AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    Change {
        what: format!("add neighbour {address} to link {index}"),
        message: RouteNetlinkMessage::NewNeighbour(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

/// A route to hosts that the link reaches without a gateway. `source` is the address that local sockets take.
pub(super) fn link_route(index: u32, to: Cidr, source: Option<Ipv4Addr>) -> Change {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.network(), to.prefix())
        .output_interface(index)
        .scope(RouteScope::Link);
    if let Some(source) = source {
        route = route.pref_source(source);
    }
    new_route(format!("add route to {to}"), route.build())
}

/// A route through [`GATEWAY`], which need not be reachable by another route.
pub(super) fn gateway_route(index: u32, to: Cidr, source: Option<Ipv4Addr>) -> Change {
    let mut route = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).gateway(GATEWAY).onlink();
    if to.prefix() > 0 {
        route = route.destination_prefix(to.network(), to.prefix());
    }
    if let Some(source) = source {
        route = route.pref_source(source);
    }
    new_route(format!("add route to {to} through the gateway"), route.build())
}

/// A range that is refused at once (ICMP host unreachable) unless a longer prefix matches.
pub(super) fn unreachable_route(to: Cidr) -> Change {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to.network(), to.prefix())
        .kind(RouteType::Unreachable)
        .build();
    new_route(format!("add unreachable route to {to}"), route)
}

fn new_route(what: String, route: RouteMessage) -> Change {
    Change { what, message: RouteNetlinkMessage::NewRoute(route), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_off_is_spelled_out() {
        let mut bytes = Vec::new();
        let change = set_forwarding(7, false);
        append(&mut bytes, 3, change.flags, change.message);
        // ... IFLA_AF_SPEC { AF_INET { IFLA_INET_CONF { FORWARDING: 0 } } }
        assert!(bytes.ends_with(&[12, 0, 1, 0, 8, 0, 1, 0, 0, 0, 0, 0]), "{bytes:?}");
        assert_eq!(bytes.len() % 4, 0);
    }
}
