//! Addresses and node ports of Services: which are taken, and the next free one. No I/O.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use rand::RngExt;

/// An IPv4 subnet such as `10.96.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

/// A text that is no IPv4 subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IPv4 subnet; write it as 10.96.0.0/16")]
pub struct SubnetError(String);

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let problem = || SubnetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(problem)?;
        let address: Ipv4Addr = address.parse().map_err(|_| problem())?;
        let prefix: u8 = prefix.parse().map_err(|_| problem())?;
        if !(8..=28).contains(&prefix) {
            return Err(problem());
        }
        Ok(Subnet { base: u32::from(address) & (u32::MAX << (32 - prefix)), prefix })
    }
}

impl Subnet {
    fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// The address at an offset from the start of the subnet.
    pub fn address(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.base + offset % self.size())
    }

    /// Whether the subnet contains an address.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address).wrapping_sub(self.base) < self.size()
    }
}

/// Why an address or port was not given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AllocationError {
    #[error("provided IP is already allocated")]
    AddressTaken,
    #[error("the provided IP is not in the valid range")]
    AddressOutOfRange,
    #[error("provided port is already allocated")]
    PortTaken,
    #[error("provided port is not in the valid range. The range of valid ports is 30000-32767")]
    PortOutOfRange,
    #[error("range is full")]
    Full,
}

/// What is taken of a cluster's service subnet and node ports.
pub(crate) struct Allocator {
    subnet: Subnet,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

const PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
/// Addresses up to this offset are given out only when asked for: `.1` is the API server, `.10` cluster DNS.
const RESERVED: u32 = 16;

impl Allocator {
    pub(crate) fn new(subnet: Subnet) -> Allocator {
        Allocator { subnet, taken: Mutex::default() }
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the given address.
    pub(crate) fn take_address(&self, address: Ipv4Addr) -> Result<(), AllocationError> {
        if !self.subnet.contains(address) || address == self.subnet.address(0) {
            return Err(AllocationError::AddressOutOfRange);
        }
        if self.taken().addresses.insert(address) { Ok(()) } else { Err(AllocationError::AddressTaken) }
    }

    /// Takes any free address. Starts at a random place, so that an address is not soon used again.
    pub(crate) fn next_address(&self) -> Result<Ipv4Addr, AllocationError> {
        let mut taken = self.taken();
        // The last address of the subnet is left out, as it would be the broadcast address.
        let usable = self.subnet.size() - RESERVED - 1;
        let start = rand::rng().random_range(0..usable);
        let free = (0..usable)
            .map(|step| self.subnet.address(RESERVED + (start + step) % usable))
            .find(|address| !taken.addresses.contains(address))
            .ok_or(AllocationError::Full)?;
        taken.addresses.insert(free);
        Ok(free)
    }

    pub(crate) fn release_address(&self, address: Ipv4Addr) {
        self.taken().addresses.remove(&address);
    }

    /// Takes the given node port.
    pub(crate) fn take_port(&self, port: u16) -> Result<(), AllocationError> {
        if !PORTS.contains(&port) {
            return Err(AllocationError::PortOutOfRange);
        }
        if self.taken().ports.insert(port) { Ok(()) } else { Err(AllocationError::PortTaken) }
    }

    /// Takes any free node port.
    pub(crate) fn next_port(&self) -> Result<u16, AllocationError> {
        let mut taken = self.taken();
        let count = PORTS.end() - PORTS.start() + 1;
        let start = rand::rng().random_range(0..count);
        let free = (0..count)
            .map(|step| PORTS.start() + (start + step) % count)
            .find(|port| !taken.ports.contains(port))
            .ok_or(AllocationError::Full)?;
        taken.ports.insert(free);
        Ok(free)
    }

    pub(crate) fn release_port(&self, port: u16) {
        self.taken().ports.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_parsed_strictly() {
        let subnet: Subnet = "10.96.0.0/16".parse().unwrap();
        assert_eq!(subnet.address(10), Ipv4Addr::new(10, 96, 0, 10));
        assert!(subnet.contains(Ipv4Addr::new(10, 96, 255, 1)) && !subnet.contains(Ipv4Addr::new(10, 97, 0, 0)));
        for bad in ["10.96.0.0", "10.96.0/16", "10.96.0.0/33", "x/8"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_address_is_given_out_once() {
        let allocator = Allocator::new("10.0.0.0/27".parse().unwrap());
        let mut seen = BTreeSet::new();
        while let Ok(address) = allocator.next_address() {
            assert!(seen.insert(address), "{address} twice");
        }
        assert_eq!(seen.len(), 32 - 16 - 1);
        let one = *seen.first().unwrap();
        assert_eq!(allocator.take_address(one), Err(AllocationError::AddressTaken));
        allocator.release_address(one);
        assert_eq!(allocator.next_address(), Ok(one));
    }

    #[test]
    fn node_ports_have_a_range() {
        let allocator = Allocator::new("10.0.0.0/24".parse().unwrap());
        assert_eq!(allocator.take_port(80), Err(AllocationError::PortOutOfRange));
        assert_eq!(allocator.take_port(30080), Ok(()));
        assert_eq!(allocator.take_port(30080), Err(AllocationError::PortTaken));
        assert!(PORTS.contains(&allocator.next_port().unwrap()));
    }
}
