//! From what control planes tell about their proxies to what is acknowledged by all of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How many pods a row names.
const NAMED: usize = 20;

/// A control plane's account of its proxies (`/debug/syncz`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SyncStatus {
    /// Which answer this is.
    #[serde(default)]
    pub revision: String,
    /// Configuration by `Kind/namespace/name`.
    #[serde(default)]
    pub resources: BTreeMap<String, Held>,
    /// Every proxy that is or was connected.
    #[serde(default)]
    pub proxies: Vec<Proxy>,
}

/// A piece of configuration that a control plane holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The version of the object.
    pub resource_version: Option<String>,
    /// First snapshot that has it.
    pub snapshot: u64,
}

/// What a proxy holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Proxy {
    /// Its pod.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Whether its stream is open.
    pub connected: bool,
    /// By type of resource.
    #[serde(default)]
    pub types: BTreeMap<String, TypeStatus>,
}

/// What a proxy holds of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TypeStatus {
    /// Everything up to this snapshot is acknowledged.
    pub acked: u64,
    /// Why it refuses what it was sent last.
    #[serde(default)]
    pub error: Option<String>,
}

impl Proxy {
    /// `<pod>.<namespace>`.
    fn title(&self) -> String {
        format!("{}.{}", self.pod, self.namespace)
    }

    fn acked(&self) -> u64 {
        self.types.values().map(|status| status.acked).min().unwrap_or_default()
    }

    fn refusal(&self) -> Option<&str> {
        self.types.values().find_map(|status| status.error.as_deref())
    }
}

/// How far one object is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The version that this is about.
    pub resource_version: String,
    /// Whether every proxy held it at some moment. Proxies that come later start with it.
    pub acknowledged: bool,
    /// Proxies that do not hold it yet, `<pod>.<namespace>`; the first of them.
    pub waiting: BTreeSet<String>,
    /// Proxies that refuse it, with their words.
    pub refused: BTreeMap<String, String>,
}

/// How far each object is, by `Kind/namespace/name`.
pub type Table = BTreeMap<String, Row>;

/// Works the table out. `expected` are the pods whose proxies have to be connected, `<pod>.<namespace>`; `before` is the table of
/// before.
pub fn judge(planes: &[SyncStatus], expected: &BTreeSet<String>, before: &Table) -> Table {
    let connected: BTreeSet<String> =
        planes.iter().flat_map(|plane| &plane.proxies).filter(|proxy| proxy.connected).map(Proxy::title).collect();
    let absent: BTreeSet<&String> = expected.difference(&connected).collect();
    let names: BTreeSet<&String> = planes.iter().flat_map(|plane| plane.resources.keys()).collect();
    let rows = names.into_iter().map(|name| (name.clone(), row(planes, name, &absent, before.get(name))));
    rows.collect()
}

fn row(planes: &[SyncStatus], name: &str, absent: &BTreeSet<&String>, before: Option<&Row>) -> Row {
    let version = |held: &Held| held.resource_version.clone().unwrap_or_default();
    let versions = planes.iter().filter_map(|plane| plane.resources.get(name)).map(version);
    // Versions are numbers that grow, of one API server.
    let newest = versions.max_by_key(|version| (version.len(), version.clone())).unwrap_or_default();
    let mut row = Row { resource_version: newest, ..Row::default() };
    for plane in planes {
        let held = plane.resources.get(name).filter(|held| version(held) == row.resource_version);
        for proxy in plane.proxies.iter().filter(|proxy| proxy.connected) {
            if held.is_some_and(|held| proxy.acked() >= held.snapshot) {
                continue;
            }
            match proxy.refusal().filter(|_| held.is_some()) {
                Some(words) => drop(row.refused.insert(proxy.title(), words.to_owned())),
                None => drop(row.waiting.insert(proxy.title())),
            }
        }
    }
    row.waiting.extend(absent.iter().map(|name| (*name).clone()));
    let was = before.is_some_and(|before| before.acknowledged && before.resource_version == row.resource_version);
    row.acknowledged = row.refused.is_empty() && (was || row.waiting.is_empty());
    if row.acknowledged {
        row.waiting.clear();
    }
    while row.waiting.len() > NAMED {
        row.waiting.pop_last();
    }
    row
}

/// What differs from an earlier table; `None` for what is gone.
pub fn changes<'a>(before: &'a Table, after: &'a Table) -> BTreeMap<&'a String, Option<&'a Row>> {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name, None));
    let changed =
        after.iter().filter(|(name, row)| before.get(*name) != Some(row)).map(|(name, row)| (name, Some(row)));
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "VirtualService/bookinfo/reviews";

    fn plane(version: &str, snapshot: u64, acked: &[(&str, u64, Option<&str>)]) -> SyncStatus {
        let proxies: Vec<_> = acked
            .iter()
            .map(|(pod, acked, error)| {
                let types =
                    json!({ "cds": { "acked": acked, "error": error }, "rds": { "acked": acked + 1, "error": null } });
                json!({ "pod": pod, "namespace": "bookinfo", "connected": true, "types": types })
            })
            .collect();
        let resources = json!({ NAME: { "resourceVersion": version, "snapshot": snapshot } });
        serde_json::from_value(json!({ "revision": "1", "resources": resources, "proxies": proxies })).unwrap()
    }

    fn expected(pods: &[&str]) -> BTreeSet<String> {
        pods.iter().map(|pod| format!("{pod}.bookinfo")).collect()
    }

    fn only(planes: &[SyncStatus], pods: &[&str], before: &Table) -> Row {
        judge(planes, &expected(pods), before)[NAME].clone()
    }

    #[test]
    fn all_proxies_have_to_hold_it() {
        let nothing = Table::new();
        let row = only(&[plane("7", 3, &[("a", 3, None), ("b", 2, None)])], &["a", "b"], &nothing);
        assert!(!row.acknowledged);
        assert_eq!(row.waiting, expected(&["b"]));
        let row = only(&[plane("7", 3, &[("a", 3, None), ("b", 3, None)])], &["a", "b"], &nothing);
        assert!(row.acknowledged && row.waiting.is_empty());
    }

    #[test]
    fn a_proxy_that_is_not_connected_is_waited_for() {
        let row = only(&[plane("7", 3, &[("a", 3, None)])], &["a", "b"], &Table::new());
        assert_eq!(row.waiting, expected(&["b"]));
        assert!(!row.acknowledged);
    }

    #[test]
    fn what_was_acknowledged_stays_so_until_it_changes_or_is_refused() {
        let before = judge(&[plane("7", 3, &[("a", 3, None)])], &expected(&["a"]), &Table::new());
        // A proxy that starts, and a control plane that starts anew.
        assert!(only(&[plane("7", 3, &[("a", 3, None), ("new", 0, None)])], &["a", "new"], &before).acknowledged);
        assert!(only(&[plane("7", 1, &[])], &["a"], &before).acknowledged);
        assert!(!only(&[plane("8", 4, &[("a", 3, None)])], &["a"], &before).acknowledged);
        let row = only(&[plane("7", 3, &[("a", 2, Some("no such cluster"))])], &["a"], &before);
        assert!(!row.acknowledged);
        assert_eq!(row.refused["a.bookinfo"], "no such cluster");
    }

    #[test]
    fn every_control_plane_has_to_hold_the_newest_version() {
        let planes = [plane("10", 3, &[("a", 3, None)]), plane("9", 5, &[("b", 9, None)])];
        let row = only(&planes, &["a", "b"], &Table::new());
        assert_eq!(row.resource_version, "10");
        assert_eq!(row.waiting, expected(&["b"]));
    }

    #[test]
    fn only_differences_are_told() {
        let before = judge(&[plane("7", 3, &[("a", 2, None)])], &BTreeSet::new(), &Table::new());
        let after = judge(&[plane("7", 3, &[("a", 3, None)])], &BTreeSet::new(), &before);
        assert!(changes(&after, &after).is_empty());
        assert!(changes(&before, &after).values().all(|row| row.unwrap().acknowledged));
        assert_eq!(changes(&after, &Table::new())[&NAME.to_owned()], None);
    }
}
