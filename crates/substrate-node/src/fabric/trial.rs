//! Tries, in the calling thread's network namespace, what the fabric needs of the kernel.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use super::netlink::{self, LinkEnd, Netlink};

const NEAR: u32 = 2;

/// Creates a veth pair.
pub(crate) fn try_veth() -> io::Result<()> {
    let namespace = File::open("/proc/self/ns/net")?;
    let near = LinkEnd { index: NEAR, name: "near", mac: [2, 0, 0, 0, 0, 1] };
    let far = LinkEnd { index: NEAR + 1, name: "far", mac: [2, 0, 0, 0, 0, 2] };
    Netlink::open()?.apply(vec![netlink::veth(&near, &far, namespace.as_fd())])
}

/// Switches forwarding on for the link that [`try_veth`] has made.
pub(crate) fn try_forwarding() -> io::Result<()> {
    Netlink::open()?.apply(vec![netlink::set_forwarding(NEAR, true)])
}
