//! IPv4 subnets in CIDR notation.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A subnet: a network address without host bits, and a prefix length of 1..=32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not `a.b.c.d/n`.
    #[error("`{0}` is no IPv4 subnet")]
    Shape(String),
    /// Bits below the prefix are set.
    #[error("`{text}` has address bits set below its prefix; the subnet is {subnet}")]
    HostBits {
        /// What was written.
        text: String,
        /// The subnet that contains it.
        subnet: Ipv4Cidr,
    },
}

impl Ipv4Cidr {
    /// The network address.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The prefix length.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the two subnets share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let shorter = self.prefix.min(other.prefix);
        masked(self.network, shorter) == masked(other.network, shorter)
    }

    /// Number of addresses.
    #[must_use]
    pub fn size(self) -> u64 {
        1_u64 << (32 - u32::from(self.prefix))
    }
}

fn masked(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Ipv4Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || CidrError::Shape(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(shape)?;
        let address: Ipv4Addr = address.parse().map_err(|_| shape())?;
        let prefix: u8 = prefix.parse().map_err(|_| shape())?;
        if !(1..=32).contains(&prefix) {
            return Err(shape());
        }
        let subnet = Self { network: masked(address, prefix), prefix };
        if subnet.network == address { Ok(subnet) } else { Err(CidrError::HostBits { text: text.to_owned(), subnet }) }
    }
}

impl fmt::Display for Ipv4Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

impl Serialize for Ipv4Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Ipv4Cidr {
        text.parse().expect("a subnet")
    }

    #[test]
    fn overlap_is_sharing_an_address() {
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.244.0.0/16")));
        assert!(cidr("10.244.0.0/16").overlaps(cidr("10.0.0.0/8")));
        assert!(!cidr("10.244.0.0/16").overlaps(cidr("10.245.0.0/16")));
        assert!(cidr("10.1.2.3/32").overlaps(cidr("10.1.2.3/32")));
        assert!(!cidr("10.1.2.2/31").overlaps(cidr("10.1.2.0/31")));
    }

    #[test]
    fn wrong_texts_say_what_is_wrong() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/0", "10.0.0/8", "::/0", "10.0.0.0/-1", "10.0.0.0/8 "] {
            assert_eq!(text.parse::<Ipv4Cidr>(), Err(CidrError::Shape(text.to_owned())), "{text}");
        }
        let error = "10.244.1.0/16".parse::<Ipv4Cidr>().expect_err("host bits");
        assert_eq!(
            error.to_string(),
            "`10.244.1.0/16` has address bits set below its prefix; the subnet is 10.244.0.0/16"
        );
    }

    proptest::proptest! {
        #[test]
        fn text_and_back(bits in proptest::num::u32::ANY, prefix in 1_u8..=32) {
            let subnet = Ipv4Cidr { network: masked(Ipv4Addr::from_bits(bits), prefix), prefix };
            proptest::prop_assert_eq!(subnet.to_string().parse::<Ipv4Cidr>(), Ok(subnet));
            proptest::prop_assert!(subnet.overlaps(subnet));
        }
    }
}
