//! The containers of an environment as `up` left them, held against what Docker says of them now. Pure.
//!
//! Docker gives a container a new network namespace whenever it starts it: routes, rules and addresses that were set in the one of before
//! are gone. And it may give a node another address than other clusters know, and than the certificate of its API server is for.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A container of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its name.
    pub container: String,
    /// Docker's network and the address there that others know it by; of the router none, whose addresses are fixed.
    pub address: Option<(String, Ipv4Addr)>,
    /// When it was started, as Docker writes it: what was set in its network namespace is of that time.
    pub started: String,
}

/// What Docker says of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is not there.
    Absent,
    /// It is there.
    There {
        /// Whether it runs.
        running: bool,
        /// Its address, as long as it runs.
        address: Option<Ipv4Addr>,
        /// The address that it is to have whenever it starts, where that is not Docker's choice.
        fixed: Option<Ipv4Addr>,
        /// When it was last started.
        started: String,
    },
}

/// What is wrong with a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which.
    pub container: String,
    /// What.
    pub trouble: Trouble,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is gone, and nothing brings it back.
    Gone,
    /// It does not run.
    Stopped,
    /// It has another address than others know it by.
    Moved {
        /// The one that it has; none where it has lost its network.
        to: Option<Ipv4Addr>,
        /// The one that it had.
        from: Ipv4Addr,
    },
    /// It was started anew, without what was set in its network namespace.
    Restarted,
}

impl Trouble {
    /// Whether an address has to be given back before containers run again.
    #[must_use]
    pub fn displaces(&self) -> bool {
        matches!(self, Self::Stopped | Self::Moved { .. })
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ", self.container)?;
        match &self.trouble {
            Trouble::Gone => formatter.write_str("is gone"),
            Trouble::Stopped => formatter.write_str("does not run"),
            Trouble::Moved { to: Some(to), from } => write!(formatter, "has the address {to} in place of {from}"),
            Trouble::Moved { to: None, from } => write!(formatter, "has lost the address {from}"),
            Trouble::Restarted => formatter.write_str("was started anew, without the routes and rules that it had"),
        }
    }
}

impl Remembered {
    /// What is wrong with the container, by what was seen of it.
    #[must_use]
    pub fn wrong(&self, seen: &Seen) -> Option<Wrong> {
        let Seen::There { running, address, started, .. } = seen else { return Some(self.with(Trouble::Gone)) };
        let known = self.address.as_ref().map(|(_, known)| *known);
        match known {
            _ if !running => Some(self.with(Trouble::Stopped)),
            Some(from) if *address != Some(from) => Some(self.with(Trouble::Moved { to: *address, from })),
            _ if *started != self.started => Some(self.with(Trouble::Restarted)),
            _ => None,
        }
    }

    fn with(&self, trouble: Trouble) -> Wrong {
        Wrong { container: self.container.clone(), trouble }
    }

    /// Whether the container has to be stopped and put to its address: it is there, and Docker may give it another one.
    #[must_use]
    pub fn is_adrift(&self, seen: &Seen) -> bool {
        match (&self.address, seen) {
            (Some((_, known)), Seen::There { fixed, .. }) => *fixed != Some(*known),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TWO: Ipv4Addr = Ipv4Addr::new(172, 29, 1, 2);
    const THREE: Ipv4Addr = Ipv4Addr::new(172, 29, 1, 3);

    fn node() -> Remembered {
        Remembered {
            container: "a-control-plane".to_owned(),
            address: Some(("east".to_owned(), TWO)),
            started: "10:00".to_owned(),
        }
    }

    fn there(running: bool, address: Option<Ipv4Addr>, started: &str) -> Seen {
        Seen::There { running, address, fixed: None, started: started.to_owned() }
    }

    #[rstest]
    #[case::as_it_was(there(true, Some(TWO), "10:00"), None)]
    #[case::gone(Seen::Absent, Some("a-control-plane is gone"))]
    #[case::stopped(there(false, None, "10:00"), Some("a-control-plane does not run"))]
    #[case::moved(
        there(true, Some(THREE), "11:00"),
        Some("a-control-plane has the address 172.29.1.3 in place of 172.29.1.2")
    )]
    #[case::off_its_network(there(true, None, "10:00"), Some("a-control-plane has lost the address 172.29.1.2"))]
    #[case::anew(
        there(true, Some(TWO), "11:00"),
        Some("a-control-plane was started anew, without the routes and rules that it had")
    )]
    fn what_is_wrong_with_a_node_is_said(#[case] seen: Seen, #[case] expected: Option<&str>) {
        assert_eq!(node().wrong(&seen).map(|wrong| wrong.to_string()).as_deref(), expected);
    }

    #[test]
    fn a_router_has_no_address_to_lose() {
        let router = Remembered { address: None, ..node() };
        assert_eq!(router.wrong(&there(true, None, "10:00")), None);
        assert_eq!(router.wrong(&there(true, None, "11:00")).map(|wrong| wrong.trouble), Some(Trouble::Restarted));
        assert!(!router.is_adrift(&there(true, None, "10:00")));
    }

    #[test]
    fn adrift_is_who_has_no_fixed_address_or_another_one() {
        let fixed = |fixed| Seen::There { running: true, address: Some(TWO), fixed, started: String::new() };
        assert!(node().is_adrift(&fixed(None)) && node().is_adrift(&fixed(Some(THREE))));
        assert!(!node().is_adrift(&fixed(Some(TWO))) && !node().is_adrift(&Seen::Absent));
    }
}
