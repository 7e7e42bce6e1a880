//! `/etc/resolv.conf`, as far as it matters here. Pure, but for [`ResolvConf::read`].

use std::net::IpAddr;

/// Where the system keeps it.
const PATH: &str = "/etc/resolv.conf";

/// Who resolves names for this pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Resolvers, in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// Domains that clients try after a short name, without final dot.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// Reads the system's file; an absent one says nothing.
    #[must_use]
    pub fn read() -> Self {
        Self::parse(&std::fs::read_to_string(PATH).unwrap_or_default())
    }

    /// Reads the text of such a file. The last `search` holds.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => found.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok())),
                Some("search" | "domain") => {
                    found.search = words.map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect();
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_search_domains_are_read() {
        let text = "# by hand\nsearch old\nnameserver 10.96.0.10\nnameserver x\nnameserver\t2620:fe::fe\nsearch a.svc.Cluster.local. svc.cluster.local\noptions ndots:5\n";
        let found = ResolvConf::parse(text);
        assert_eq!(found.servers, ["10.96.0.10".parse::<IpAddr>().unwrap(), "2620:fe::fe".parse().unwrap()]);
        assert_eq!(found.search, ["a.svc.cluster.local", "svc.cluster.local"]);
    }
}
