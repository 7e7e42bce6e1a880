//! Applicants from nodes, and entries from groups, written down.

use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::google::protobuf::{Struct, Value as ProtoValue, value::Kind as ProtoKind};
use tonic::Code;

use super::*;

fn proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::String(text) => ProtoKind::StringValue(text.clone()),
        Value::Object(_) => ProtoKind::StructValue(structure(value)),
        other => panic!("{other} in a node"),
    };
    ProtoValue { kind: Some(kind) }
}

fn structure(value: &Value) -> Struct {
    let fields = value.as_object().unwrap().iter().map(|(key, value)| (key.clone(), proto(value)));
    Struct { fields: fields.collect() }
}

fn node(metadata: &Value) -> Node {
    Node {
        id: "sidecar~192.0.2.10~vm1.bookinfo~bookinfo.svc.cluster.local".to_owned(),
        metadata: Some(structure(metadata)),
        locality: Some(Locality { region: "r1".to_owned(), zone: "z1".to_owned(), sub_zone: String::new() }),
        ..Default::default()
    }
}

fn applicant() -> Applicant {
    let metadata = json!({
        "AUTO_REGISTER_GROUP": "details-vm",
        "NAMESPACE": "bookinfo",
        "NETWORK": "vm-network",
        "INSTANCE_IPS": "192.0.2.10,2001:db8::1",
        "LABELS": {"app": "details", "version": "vm"},
        "PROXY_CONFIG": {"readinessProbe": {"httpGet": {"path": "/health"}}},
    });
    Applicant::from_node(&node(&metadata)).unwrap().unwrap()
}

fn group(spec: Value) -> Group {
    Group { name: "details-vm".to_owned(), uid: "u-1".to_owned(), spec: serde_json::from_value(spec).unwrap() }
}

fn whole() -> Group {
    group(json!({
        "metadata": {"labels": {"version": "group", "team": "a"}, "annotations": {"note": "b"}},
        "template": {
            "ports": {"http": 9080}, "labels": {"app": "template", "class": "vm"}, "network": "template-network",
            "locality": "r9/z9", "weight": 3, "serviceAccount": "bookinfo-details",
        },
    }))
}

#[test]
fn only_who_names_a_group_wants_to_be_registered() {
    assert_eq!(Applicant::from_node(&node(&json!({"NAMESPACE": "bookinfo"}))).unwrap(), None);
    assert_eq!(Applicant::from_node(&node(&json!({"AUTO_REGISTER_GROUP": ""}))).unwrap(), None);
    let plain = Applicant::from_node(&node(&json!({"AUTO_REGISTER_GROUP": "g"}))).unwrap().unwrap();
    assert_eq!((plain.namespace.as_str(), plain.address.as_str()), ("bookinfo", "192.0.2.10"));
    assert_eq!((plain.locality.as_str(), plain.health_checked), ("r1/z1", false));
}

#[test]
fn names_are_made_of_group_address_and_network() {
    let one = applicant();
    assert_eq!(one.entry_name(), "details-vm-192.0.2.10-vm-network");
    let six = Applicant { address: "2001:db8::1".to_owned(), network: String::new(), ..one.clone() };
    assert_eq!(six.entry_name(), "details-vm-2001-db8--1");
    let long = Applicant { group: "g".repeat(300), ..one }.entry_name();
    assert_eq!(long.len(), 253);
    assert!(long.ends_with("gg-192.0.2.10-vm-network"), "{long}");
}

#[test]
fn an_entry_comes_from_the_template_and_what_the_workload_says() {
    insta::assert_json_snapshot!(applicant().entry(&whole(), "istiod-1", "2026-01-01T00:00:00Z"));
}

/// Everything in a group changes its members, apart from the address, which is refused.
#[test]
fn every_field_of_a_group_has_an_effect() {
    let silent = Applicant { labels: BTreeMap::new(), network: String::new(), locality: String::new(), ..applicant() };
    let entry = |group: &Group| silent.entry(group, "istiod-1", "2026-01-01T00:00:00Z");
    let before = entry(&whole());
    let changes: [fn(&mut WorkloadGroup); 8] = [
        |group| group.metadata.as_mut().unwrap().labels.clear(),
        |group| group.metadata.as_mut().unwrap().annotations.clear(),
        |group| group.template.ports.clear(),
        |group| group.template.labels.clear(),
        |group| group.template.network.clear(),
        |group| group.template.locality.clear(),
        |group| group.template.weight = 4,
        |group| group.template.service_account.clear(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut group = whole();
        change(&mut group.spec);
        assert_ne!(entry(&group), before, "change {index}");
    }
}

#[test]
fn only_the_identity_of_the_group_may_join() {
    let identity = |text: &str| text.parse::<SpiffeId>().unwrap();
    let refused = |identity: Option<&SpiffeId>| applicant().authorize(identity, "bookinfo-details").unwrap_err();
    let good = identity("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details");
    applicant().authorize(Some(&good), "bookinfo-details").unwrap();
    for other in ["ns/bookinfo/sa/bookinfo-reviews", "ns/other/sa/bookinfo-details"] {
        let status = refused(Some(&identity(&format!("spiffe://cluster.local/{other}"))));
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("WorkloadGroup bookinfo/details-vm"), "{status}");
    }
    assert_eq!(refused(None).code(), Code::PermissionDenied);
}

#[test]
fn without_an_account_it_is_the_default_one_as_everywhere() {
    assert_eq!(group(json!({"template": {}})).service_account(), "default");
}
