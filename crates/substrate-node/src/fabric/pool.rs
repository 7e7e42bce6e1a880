//! Addresses handed out to pods. A released address is given again as late as possible, so that nothing that still
//! remembers it (a connection, a proxy's endpoint list) talks to the wrong pod.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::Cidr;

/// The free and used addresses of one range. The first two and the last address are never given.
#[derive(Debug)]
pub(super) struct AddressPool {
    range: Cidr,
    next: u32,
    used: HashSet<Ipv4Addr>,
}

const FIRST: u32 = 2;

impl AddressPool {
    pub(super) fn new(range: Cidr) -> Self {
        Self { range, next: FIRST, used: HashSet::new() }
    }

    /// The next free address; `None` when all are used.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let end = u32::try_from(self.range.size() - 1).unwrap_or(u32::MAX);
        for _ in FIRST..end {
            let index = self.next;
            self.next = if index + 1 < end { index + 1 } else { FIRST };
            let address = self.range.nth(index)?;
            if self.used.insert(address) {
                return Some(address);
            }
        }
        None
    }

    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_every_address_once_and_reuses_the_oldest_last() {
        let mut pool = AddressPool::new("10.0.0.0/29".parse().unwrap());
        let all: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let expected: Vec<_> = (2..7).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        assert_eq!(all, expected);
        pool.give_back(all[1]);
        pool.give_back(all[3]);
        assert_eq!((pool.take(), pool.take(), pool.take()), (Some(all[1]), Some(all[3]), None));
    }

    #[test]
    fn does_not_give_a_released_address_at_once() {
        let mut pool = AddressPool::new("10.0.0.0/24".parse().unwrap());
        let first = pool.take().unwrap();
        pool.give_back(first);
        assert_ne!(pool.take(), Some(first));
    }
}
