//! What the control plane says a proxy has accepted is what a real Envoy says it holds.

use std::collections::{BTreeMap, BTreeSet};

use pilot::ads::Type;
use pilot::debug::{ConfigVersions, config_versions};
use requirements::{Capability, require};
use serde_json::Value;

use crate::fixture::Fixture;
use crate::running::{Secrets, World};
use crate::translate::{BOOKINFO, GATEWAYS, POLICY};

const POD: &str = "productpage-v1.bookinfo";
const REVIEWS: &str = "outbound|9080||reviews.bookinfo.svc.cluster.local";

/// One section of Envoy's dump: entries with their versions, by name.
struct Section {
    kind: Type,
    /// Name of the list.
    list: &'static str,
    /// Where in an entry the name stands.
    name: &'static str,
    /// Where in an entry the version stands.
    version: &'static str,
}

const SECTIONS: [Section; 3] = [
    Section { kind: Type::Cds, list: "dynamic_active_clusters", name: "/cluster/name", version: "/version_info" },
    Section { kind: Type::Lds, list: "dynamic_listeners", name: "/name", version: "/active_state/version_info" },
    Section { kind: Type::Rds, list: "dynamic_route_configs", name: "/route_config/name", version: "/version_info" },
];

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value}")).to_owned()
}

fn list<'a>(dump: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Value> {
    let sections = dump["configs"].as_array().unwrap().iter();
    sections.filter_map(move |section| section.get(name)?.as_array()).flatten()
}

/// Addresses with priorities, by cluster.
type Endpoints = BTreeMap<String, BTreeSet<(String, u64)>>;

/// Envoy lists every cluster here; only those of type EDS were told their endpoints.
fn endpoints_of_envoy(dump: &Value) -> Endpoints {
    let discovered: BTreeSet<String> = list(dump, "dynamic_active_clusters")
        .filter(|entry| entry["cluster"]["type"] == "EDS")
        .map(|entry| text(entry, "/cluster/name"))
        .collect();
    let assignments = list(dump, "dynamic_endpoint_configs")
        .map(|entry| &entry["endpoint_config"])
        .filter(|assignment| discovered.contains(&text(assignment, "/cluster_name")));
    let of_group = |group: &Value| {
        let priority = group["priority"].as_u64().unwrap_or_default();
        let addresses = group["lb_endpoints"].as_array().cloned().unwrap_or_default();
        let address = |one: &Value| {
            let socket = &one["endpoint"]["address"]["socket_address"];
            (format!("{}:{}", text(socket, "/address"), socket["port_value"]), priority)
        };
        addresses.iter().map(address).collect::<Vec<_>>()
    };
    let of_cluster = |assignment: &Value| {
        let groups = assignment["endpoints"].as_array().cloned().unwrap_or_default();
        (text(assignment, "/cluster_name"), groups.iter().flat_map(of_group).collect())
    };
    assignments.map(of_cluster).collect()
}

/// Every way in which the two accounts differ.
fn differences(ours: &ConfigVersions, envoy: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for section in SECTIONS {
        let held: BTreeMap<String, String> =
            list(envoy, section.list).map(|entry| (text(entry, section.name), text(entry, section.version))).collect();
        let told = &*ours.types[section.kind.url()].resources;
        let names: BTreeSet<&String> = held.keys().chain(told.keys()).collect();
        let differing = names.into_iter().filter(|name| held.get(*name) != told.get(*name));
        found.extend(differing.map(|name| format!("{name}: {:?} and {:?}", told.get(name), held.get(name))));
    }
    let told: Endpoints = ours
        .endpoints
        .iter()
        .map(|(name, list)| {
            (name.clone(), list.iter().map(|one| (one.address.clone(), u64::from(one.priority))).collect())
        })
        .collect();
    let held = endpoints_of_envoy(envoy);
    let names: BTreeSet<&String> = held.keys().chain(told.keys()).collect();
    let differing = names.into_iter().filter(|name| held.get(*name) != told.get(*name));
    found.extend(differing.map(|name| format!("endpoints {name}: {:?} and {:?}", told.get(name), held.get(name))));
    found
}

async fn both(world: &World) -> (ConfigVersions, Value) {
    let dump = world.admin("/config_dump?include_eds").await;
    (config_versions(&world.registry, POD).expect("the proxy is known"), serde_json::from_str(&dump).unwrap())
}

#[tokio::test]
async fn both_accounts_agree_after_every_change() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    let more = "cluster: cluster1\n---\nkind: Pod\nmetadata: {name: reviews-more, namespace: bookinfo, labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}\nspec: {nodeName: node1, serviceAccountName: bookinfo-reviews, containers: [{name: reviews}]}\nstatus: {podIP: 10.244.0.99}\n";
    let steps: [(&str, Fixture); 4] = [
        ("plain", Fixture::read(&[BOOKINFO, GATEWAYS])),
        ("shift", Fixture::read(&[BOOKINFO, GATEWAYS, POLICY])),
        ("one more endpoint", Fixture::read(&[BOOKINFO, GATEWAYS, POLICY, more])),
        ("plain again", Fixture::read(&[BOOKINFO, GATEWAYS])),
    ];
    let proxy = ("sidecar", "bookinfo", "productpage-v1");
    let mut world = World::start(&steps[0].1, proxy, Secrets::self_signed(), true);
    let mut before: Option<(ConfigVersions, Value)> = None;
    for (what, fixture) in &steps {
        world.converge(what, fixture).await;
        let (ours, envoy) = both(&world).await;
        assert_eq!(differences(&ours, &envoy), Vec::<String>::new(), "{what}");
        // What a sidecar asks for that serves no certificates and answers no DNS.
        for kind in [Type::Cds, Type::Eds, Type::Lds, Type::Rds] {
            let account = &ours.types[kind.url()];
            assert!(!account.resources.is_empty() && account.nonce.is_some() && account.error.is_none(), "{account:?}");
        }
        // Control: the same proxy as of the step before is told from this one, in both directions.
        if let Some((ours_before, envoy_before)) = &before {
            assert_ne!(differences(ours_before, &envoy), Vec::<String>::new(), "{what}");
            assert_ne!(differences(&ours, envoy_before), Vec::<String>::new(), "{what}");
        }
        before = Some((ours, envoy));
    }
}

/// Control: each kind of difference is found, and by the name of the resource.
#[tokio::test]
async fn every_kind_of_difference_is_found() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    let fixture = Fixture::read(&[BOOKINFO]);
    let mut world = World::start(&fixture, ("sidecar", "bookinfo", "productpage-v1"), Secrets::self_signed(), true);
    world.converge("plain", &fixture).await;
    let (mut ours, envoy) = both(&world).await;
    for section in SECTIONS {
        let account = ours.types.get_mut(section.kind.url()).unwrap();
        let versions = std::sync::Arc::make_mut(&mut account.resources);
        let (name, version) = versions.pop_first().unwrap();
        versions.insert(name.clone(), "another".to_owned());
        let found = differences(&ours, &envoy);
        assert!(matches!(&found[..], [only] if only.starts_with(&name)), "{found:?}");
        std::sync::Arc::make_mut(&mut ours.types.get_mut(section.kind.url()).unwrap().resources).insert(name, version);
    }
    ours.endpoints.get_mut(REVIEWS).unwrap().pop();
    let found = differences(&ours, &envoy);
    assert!(matches!(&found[..], [only] if only.starts_with(&format!("endpoints {REVIEWS}"))), "{found:?}");
}
