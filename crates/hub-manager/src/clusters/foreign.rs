//! Objects of the kinds that the hub writes and that somebody else wrote: where they stand, and for which hosts. Pure.

use std::collections::BTreeMap;

use hub::output::{ObjectKey, OutputKind};
use hub::state::{Change, Input, InputKey};
use hub::world::Foreign;
use mesh_types::host::resolve_short_name;
use serde_json::Value;

/// Foreign objects of a cluster, with their hosts.
#[derive(Clone, Debug, Default)]
pub struct Table {
    known: BTreeMap<ObjectKey, Vec<String>>,
}

impl Table {
    /// An object is there, with its hosts, or is not there, or is no foreign one.
    pub fn set(&mut self, cluster: &str, key: ObjectKey, hosts: Option<Vec<String>>) -> Option<Change> {
        let foreign = Foreign { cluster: cluster.to_owned(), key: key.clone() };
        match hosts {
            Some(hosts) if self.known.get(&key) == Some(&hosts) => None,
            Some(hosts) => {
                self.known.insert(key, hosts.clone());
                Some(Change::put(Input::Foreign(foreign, hosts)))
            }
            None => self.known.remove(&key).map(|_| Change::Remove(InputKey::Foreign(foreign))),
        }
    }

    /// Names of the known ones of a kind.
    pub fn of_kind(&self, kind: OutputKind) -> Vec<ObjectKey> {
        self.known.keys().filter(|key| key.kind == kind).cloned().collect()
    }

    /// Forgets all of them.
    pub fn clear(&mut self, cluster: &str) -> Vec<Change> {
        let all = std::mem::take(&mut self.known).into_keys();
        let gone = |key| Change::Remove(InputKey::Foreign(Foreign { cluster: cluster.to_owned(), key }));
        all.map(gone).collect()
    }
}

/// Hosts that an object is for, fully qualified.
pub fn hosts(kind: OutputKind, namespace: &str, domain: &str, spec: &Value) -> Vec<String> {
    let many = |field: &str| spec[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let named: Vec<&str> = match kind {
        OutputKind::VirtualService | OutputKind::ServiceEntry => many("hosts").collect(),
        OutputKind::DestinationRule => spec["host"].as_str().into_iter().collect(),
        OutputKind::AuthorizationPolicy
        | OutputKind::Gateway
        | OutputKind::IssuedCertificate
        | OutputKind::WorkloadRestart => Vec::new(),
    };
    named.into_iter().map(|host| resolve_short_name(host, namespace, domain)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_are_qualified_in_the_namespace_of_their_object() {
        let of = |kind, spec: Value| hosts(kind, "bookinfo", "cluster.local", &spec);
        let all = of(OutputKind::VirtualService, json!({ "hosts": ["reviews", "a.example.org"] }));
        assert_eq!(all, ["reviews.bookinfo.svc.cluster.local", "a.example.org"]);
        assert_eq!(
            of(OutputKind::DestinationRule, json!({ "host": "ratings" })),
            ["ratings.bookinfo.svc.cluster.local"]
        );
        assert_eq!(of(OutputKind::Gateway, json!({ "servers": [{ "hosts": ["*"] }] })), Vec::<String>::new());
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut table = Table::default();
        let key = ObjectKey::new(OutputKind::VirtualService, "ns", "own");
        let hosts = || Some(vec!["a".to_owned()]);
        assert!(matches!(table.set("c1", key.clone(), hosts()), Some(Change::Put(_))));
        assert!(table.set("c1", key.clone(), hosts()).is_none());
        assert!(matches!(table.set("c1", key.clone(), None), Some(Change::Remove(_))));
        assert!(table.set("c1", key, None).is_none());
    }
}
