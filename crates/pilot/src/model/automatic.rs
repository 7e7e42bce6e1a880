//! Addresses for ServiceEntries that have none, out of a range that nobody routes. Pure.
//!
//! An address depends on namespace and host, so that every replica and every restart finds the same. Where two hash to
//! the same address, the older entry keeps it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use mesh_types::service_entry::{LABEL_AUTOMATIC_ADDRESS, Resolution};
use mesh_types::{Object, ServiceEntry};

use super::entry_key;

/// The range is 240.240.0.0/16, as in Istio.
const FIRST: [u8; 2] = [240, 240];
/// Addresses of a third octet: without 0 and 255, which some take for a network and its broadcast.
const OF_OCTET: u32 = 254;
/// All addresses of the range.
const COUNT: u32 = 256 * OF_OCTET;

/// A host that wants an address.
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a str,
    pub(super) host: &'a str,
}

impl Wanted<'_> {
    pub(super) fn key(&self) -> String {
        entry_key(self.namespace, self.host)
    }
}

/// Whether the hosts of an entry get addresses by themselves, where they are no wildcards.
pub(super) fn eligible(object: &Object<ServiceEntry>) -> bool {
    let refused = object.metadata.labels.get(LABEL_AUTOMATIC_ADDRESS).is_some_and(|value| value == "false");
    object.spec.addresses.is_empty() && object.spec.resolution != Resolution::None && !refused
}

/// An address for each, the oldest first; nothing for those for which none is left.
pub(super) fn allocate(wanted: &[Wanted<'_>], given: &[String]) -> Vec<Option<Ipv4Addr>> {
    let mut taken: BTreeSet<Ipv4Addr> = given.iter().filter_map(|address| address.parse().ok()).collect();
    let find = |one: &Wanted<'_>| {
        let start = hash(&one.key()) % COUNT;
        let free = (0..COUNT).map(|step| address((start + step) % COUNT)).find(|address| !taken.contains(address))?;
        taken.insert(free);
        Some(free)
    };
    wanted.iter().map(find).collect()
}

fn address(index: u32) -> Ipv4Addr {
    let octet = |number: u32| u8::try_from(number).unwrap_or_default();
    Ipv4Addr::new(FIRST[0], FIRST[1], octet(index / OF_OCTET), octet(index % OF_OCTET + 1))
}

/// FNV-1a.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(host: &str) -> Wanted<'_> {
        Wanted { namespace: "a", host }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!((hash(""), hash("a"), hash("foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
    }

    #[test]
    fn addresses_are_in_the_range_and_stay() {
        let both = allocate(&[one("reviews.global"), one("ratings.global")], &[]);
        assert_eq!(both[0], allocate(&[one("reviews.global")], &[])[0]);
        assert_eq!(both[1], allocate(&[one("ratings.global")], &[])[0]);
        assert_ne!(both[0], both[1]);
        for address in both.into_iter().flatten() {
            assert_eq!(address.octets()[..2], [240, 240]);
            assert!((1..=254).contains(&address.octets()[3]), "{address}");
        }
    }

    #[test]
    fn the_older_of_two_keeps_the_address_that_both_hash_to() {
        let alone = allocate(&[one("reviews.global")], &[])[0].unwrap();
        let [a, b, c, d] = alone.octets();
        let next = if d == 254 { Ipv4Addr::new(a, b, c.wrapping_add(1), 1) } else { Ipv4Addr::new(a, b, c, d + 1) };
        // Somebody chose that very address by hand.
        assert_eq!(allocate(&[one("reviews.global")], &[alone.to_string()]), [Some(next)]);
        let twice = allocate(&[one("reviews.global"), one("reviews.global")], &[]);
        assert_eq!(twice, [Some(alone), Some(next)]);
    }

    #[test]
    fn the_range_ends() {
        let hosts: Vec<String> = (0..=COUNT).map(|index| format!("host{index}.global")).collect();
        let wanted: Vec<Wanted<'_>> = hosts.iter().map(|host| one(host)).collect();
        // Finding the last free addresses takes long, so all but a few are taken beforehand.
        let given: Vec<String> = (3..COUNT).map(|index| address(index).to_string()).collect();
        let found = allocate(&wanted[..4], &given);
        assert_eq!(found.iter().flatten().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(found[3], None);
    }
}
