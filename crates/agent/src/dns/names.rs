//! The names that the control plane says, as they are asked for. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::proto::NameTable;

/// Registry of hosts that have short names.
const KUBERNETES: &str = "Kubernetes";

/// Addresses by name, lower case and without final dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    addresses: BTreeMap<String, Vec<IpAddr>>,
    /// The domain that clients try first after a short name.
    search: Option<String>,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Its addresses.
    Addresses(&'a [IpAddr]),
    /// It is another name with a search domain behind it; that one's addresses.
    Alias(String, &'a [IpAddr]),
    /// It is not one of the mesh's.
    Unknown,
}

impl Names {
    /// The names as a pod of a namespace calls them. `search` are the pod's search domains.
    #[must_use]
    pub fn of(table: &NameTable, namespace: &str, search: &[String]) -> Self {
        let mut addresses: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        let parsed = |ips: &[String]| ips.iter().filter_map(|ip| ip.parse().ok()).collect::<Vec<IpAddr>>();
        for (host, info) in &table.table {
            addresses.insert(normal(host), parsed(&info.ips));
        }
        // Complete names come first: a short one never hides a host that is called so.
        for info in table.table.values().filter(|info| info.registry == KUBERNETES && !info.shortname.is_empty()) {
            let of_namespace = format!("{}.{}", info.shortname, info.namespace);
            let own = (info.namespace == namespace).then(|| info.shortname.clone());
            for name in own.into_iter().chain([format!("{of_namespace}.svc"), of_namespace]) {
                addresses.entry(normal(&name)).or_insert_with(|| parsed(&info.ips));
            }
        }
        Self { addresses, search: search.first().cloned() }
    }

    /// Looks a name up, in any case and with or without final dot.
    #[must_use]
    pub fn find(&self, name: &str) -> Found<'_> {
        let name = normal(name);
        if let Some(addresses) = self.known(&name) {
            return Found::Addresses(addresses);
        }
        // A client that goes through its search domains is spared the others by the first answer.
        let short = self.search.as_ref().and_then(|search| name.strip_suffix(search.as_str())?.strip_suffix('.'));
        match short.and_then(|short| Some((short, self.known(short)?))) {
            Some((short, addresses)) => Found::Alias(short.to_owned(), addresses),
            None => Found::Unknown,
        }
    }

    /// The addresses of a name, or of the wildcard that covers it most closely.
    fn known(&self, name: &str) -> Option<&[IpAddr]> {
        let exact = self.addresses.get(name);
        let below = || {
            let mut rest = name;
            std::iter::from_fn(move || {
                let (_, parent) = rest.split_once('.')?;
                rest = parent;
                Some(parent)
            })
        };
        let found = exact.or_else(|| below().find_map(|parent| self.addresses.get(&format!("*.{parent}"))));
        found.map(Vec::as_slice)
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::NameInfo;

    fn names() -> Names {
        let service = |name: &str, namespace: &str, ip: &str| {
            let info = NameInfo {
                ips: vec![ip.to_owned()],
                registry: KUBERNETES.to_owned(),
                shortname: name.to_owned(),
                namespace: namespace.to_owned(),
            };
            (format!("{name}.{namespace}.svc.cluster.local"), info)
        };
        let entry = |host: &str, ips: &[&str]| {
            let ips = ips.iter().map(|ip| (*ip).to_owned()).collect();
            (host.to_owned(), NameInfo { ips, registry: "External".to_owned(), ..NameInfo::default() })
        };
        let table = NameTable {
            table: BTreeMap::from([
                service("reviews", "bookinfo", "10.96.0.1"),
                service("reviews", "other", "10.96.0.2"),
                service("mail", "other", "10.96.0.3"),
                entry("reviews.global", &["240.240.0.1"]),
                entry("both.example.org", &["192.0.2.1", "2001:db8::1"]),
                entry("*.wild.example.org", &["240.240.0.2"]),
                // A host that looks like the short name of a service.
                entry("mail.other", &["240.240.0.3"]),
            ]),
        };
        Names::of(&table, "bookinfo", &["bookinfo.svc.cluster.local".to_owned(), "svc.cluster.local".to_owned()])
    }

    fn addresses(name: &str) -> Vec<String> {
        match names().find(name) {
            Found::Addresses(found) => found.iter().map(ToString::to_string).collect(),
            Found::Alias(to, found) => std::iter::once(to).chain(found.iter().map(ToString::to_string)).collect(),
            Found::Unknown => Vec::new(),
        }
    }

    #[test]
    fn services_have_short_names() {
        for name in ["reviews.bookinfo.svc.cluster.local.", "Reviews", "reviews.bookinfo", "reviews.bookinfo.svc"] {
            assert_eq!(addresses(name), ["10.96.0.1"], "{name}");
        }
        assert_eq!(addresses("reviews.other"), ["10.96.0.2"]);
        assert_eq!(addresses("mail"), Vec::<String>::new(), "only neighbours use the bare name");
        assert_eq!(addresses("mail.other"), ["240.240.0.3"], "the host that is called so");
    }

    #[test]
    fn entries_are_found_by_their_hosts_and_below_the_first_search_domain() {
        assert_eq!(addresses("reviews.global"), ["240.240.0.1"]);
        assert_eq!(addresses("reviews.global.bookinfo.svc.cluster.local"), ["reviews.global", "240.240.0.1"]);
        assert_eq!(addresses("reviews.global.svc.cluster.local"), Vec::<String>::new());
        assert_eq!(addresses("both.example.org"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(addresses("example.org"), Vec::<String>::new());
    }

    #[test]
    fn wildcards_cover_what_is_below_them() {
        for name in ["a.wild.example.org", "a.b.wild.example.org"] {
            assert_eq!(addresses(name), ["240.240.0.2"], "{name}");
        }
        assert_eq!(addresses("wild.example.org"), Vec::<String>::new());
    }
}
