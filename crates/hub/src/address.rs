//! Addresses that stand for hosts which no cluster has a Service for. Nobody has them; sidecars know what they mean.
//!
//! The address of a host is where a digest of its name points, or the next one that is free. So it is nearly always the
//! same wherever it is computed, and where it is not, what was given once counts: addresses are persisted in statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use mesh_types::hub::names;

/// A range of addresses, which must not be used for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    first: u32,
    size: u32,
}

/// Why a text is not a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IPv4 network with a length of 1 to 28 bits, such as 241.0.0.0/8")]
pub struct NotAPool(String);

impl Pool {
    /// Reads a network, for example `241.0.0.0/8`. Its first and last address are not given.
    ///
    /// # Errors
    /// The text is no network, has bits beside it, or is too small.
    pub fn parse(text: &str) -> Result<Self, NotAPool> {
        let refuse = || NotAPool(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(refuse)?;
        let address = u32::from(address.parse::<Ipv4Addr>().map_err(|_| refuse())?);
        let length: u32 = length.parse().map_err(|_| refuse())?;
        let size = (1..=28).contains(&length).then(|| 1_u32 << (32 - length)).ok_or_else(refuse)?;
        if address & (size - 1) != 0 {
            return Err(refuse());
        }
        Ok(Self { first: address + 1, size: size - 2 })
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address).checked_sub(self.first).is_some_and(|offset| offset < self.size)
    }

    fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.first + offset % self.size)
    }
}

impl Default for Pool {
    /// `241.0.0.0/8`: of class E, beside the part that Istio gives by itself (240.240.0.0/16).
    fn default() -> Self {
        Self { first: u32::from(Ipv4Addr::new(241, 0, 0, 1)), size: (1 << 24) - 2 }
    }
}

/// Which host has which address.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pool: Pool,
    of_host: BTreeMap<String, Ipv4Addr>,
    taken: BTreeSet<Ipv4Addr>,
    /// Hosts that found none free.
    waiting: BTreeSet<String>,
}

impl Addresses {
    /// Addresses of a pool.
    pub fn new(pool: Pool) -> Self {
        Self { pool, ..Self::default() }
    }

    /// The address of a host.
    pub fn of(&self, host: &str) -> Option<Ipv4Addr> {
        self.of_host.get(host).copied()
    }

    /// Gives a host the address that it had before, unless that is another's or of another pool.
    pub fn restore(&mut self, host: &str, address: Ipv4Addr) {
        if self.pool.contains(address) && !self.of_host.contains_key(host) && self.taken.insert(address) {
            self.of_host.insert(host.to_owned(), address);
            self.waiting.remove(host);
        }
    }

    /// The address of a host, which it keeps until it is released. `None` when the pool is used up.
    pub fn allocate(&mut self, host: &str) -> Option<Ipv4Addr> {
        if let Some(address) = self.of(host) {
            return Some(address);
        }
        let digest = names::digest(host.as_bytes());
        let start = u32::try_from(digest % u64::from(self.pool.size)).unwrap_or_default();
        let candidates = (0..self.pool.size).map(|step| self.pool.at(start.wrapping_add(step)));
        let Some(address) = candidates.into_iter().find(|address| !self.taken.contains(address)) else {
            self.waiting.insert(host.to_owned());
            return None;
        };
        self.waiting.remove(host);
        self.taken.insert(address);
        self.of_host.insert(host.to_owned(), address);
        Some(address)
    }

    /// Gives what became free to hosts that found none; says which got one.
    pub fn serve_waiting(&mut self) -> Vec<String> {
        let free = usize::try_from(self.pool.size).unwrap_or(usize::MAX).saturating_sub(self.taken.len());
        let next: Vec<String> = self.waiting.iter().take(free).cloned().collect();
        next.into_iter().filter(|host| self.allocate(host).is_some()).collect()
    }

    /// Makes the address of a host free.
    pub fn release(&mut self, host: &str) {
        self.waiting.remove(host);
        if let Some(address) = self.of_host.remove(host) {
            self.taken.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read() {
        assert_eq!(Pool::parse("241.0.0.0/8"), Ok(Pool::default()));
        for text in ["", "241.0.0.0", "241.0.0.1/8", "241.0.0.0/30", "241.0.0.0/0", "fd00::/8"] {
            assert!(Pool::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pool_of_fourteen_gives_fourteen_different_addresses() {
        let pool = Pool::parse("241.0.0.0/28").unwrap();
        let mut addresses = Addresses::new(pool);
        let given: BTreeSet<_> = (0..14).map(|host| addresses.allocate(&format!("host{host}")).unwrap()).collect();
        assert_eq!(given.len(), 14);
        assert!(given.iter().all(|address| pool.contains(*address)));
        assert_eq!(addresses.allocate("one more"), None);
        let freed = addresses.of("host3").unwrap();
        addresses.release("host3");
        assert_eq!(addresses.allocate("one more"), Some(freed));
    }

    #[test]
    fn a_host_keeps_its_address_and_gets_it_back() {
        let mut first = Addresses::new(Pool::parse("241.0.0.0/28").unwrap());
        for host in ["a", "b", "c", "d", "e", "f", "g"] {
            first.allocate(host);
        }
        let before = first.of("g").unwrap();
        let mut second = Addresses::new(first.pool);
        second.restore("g", before);
        second.restore("impostor", before);
        second.restore("stranger", Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!((second.allocate("g"), second.of("impostor"), second.of("stranger")), (Some(before), None, None));
    }
}
