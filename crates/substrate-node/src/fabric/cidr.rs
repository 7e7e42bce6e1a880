//! IPv4 address ranges in CIDR notation.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 range such as `10.244.0.0/16`. The host part of the address is always zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

/// Text that is not an IPv4 range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an IPv4 range such as 10.244.0.0/16: {problem}")]
pub struct InvalidCidr {
    text: String,
    problem: &'static str,
}

impl Cidr {
    /// Every IPv4 address.
    pub const ALL: Self = Self { network: Ipv4Addr::UNSPECIFIED, prefix: 0 };

    /// The range of one address.
    pub fn host(address: Ipv4Addr) -> Self {
        Self { network: address, prefix: 32 }
    }

    /// The range of `prefix` bits that holds `address`; `None` for a prefix above 32.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { network: Ipv4Addr::from(u32::from(address) & mask(prefix)), prefix })
    }

    /// First address of the range.
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// Number of leading bits that all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Number of addresses in the range.
    pub fn size(&self) -> u64 {
        1 << (32 - u32::from(self.prefix))
    }

    /// The `index`th address, counted from 0; `None` beyond the end.
    pub fn nth(&self, index: u32) -> Option<Ipv4Addr> {
        (u64::from(index) < self.size()).then(|| Ipv4Addr::from(u32::from(self.network) + index))
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.network)
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| InvalidCidr { text: text.to_owned(), problem };
        let (address, prefix) = text.split_once('/').ok_or_else(|| invalid("there is no '/'"))?;
        let address: Ipv4Addr = address.parse().map_err(|_| invalid("the address is not an IPv4 address"))?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid("the prefix is not a number from 0 to 32"))?;
        let range = Self::containing(address, prefix).ok_or_else(|| invalid("the prefix is above 32"))?;
        if range.network == address { Ok(range) } else { Err(invalid("the address has bits set beyond the prefix")) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(range: Cidr) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints_and_refuses_the_rest() {
        for text in ["10.244.0.0/16", "0.0.0.0/0", "172.30.1.1/32"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for text in ["10.244.0.0", "10.244.0.1/16", "10.0.0.0/33", "::/0", "10.0.0.0/x"] {
            assert!(text.parse::<Cidr>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn knows_its_addresses() {
        let range: Cidr = "172.30.1.0/24".parse().unwrap();
        assert_eq!(range.nth(255), Some(Ipv4Addr::new(172, 30, 1, 255)));
        assert_eq!(range.nth(256), None);
        assert!(range.contains(Ipv4Addr::new(172, 30, 1, 9)) && !range.contains(Ipv4Addr::new(172, 30, 2, 0)));
        assert!(
            range.overlaps(&"172.30.0.0/16".parse().unwrap()) && !range.overlaps(&"172.30.2.0/24".parse().unwrap())
        );
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().overlaps(&range));
    }
}
