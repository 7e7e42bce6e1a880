//! Nodes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::duration::age;
use super::text::{NONE, at, condition, list, name, or_none};
use super::{Column, Printer, text, wide};

pub(super) const NODES: Printer = Printer { columns: COLUMNS, cells };

const COLUMNS: &[Column] = &[
    text("Name"),
    text("Status"),
    text("Roles"),
    text("Age"),
    text("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];

const ROLE_LABEL_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

fn cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| at(node, &format!("/status/nodeInfo/{field}")).to_owned();
    let unknown = |text: String| if text.is_empty() { "<unknown>".to_owned() } else { text };
    vec![
        name(node),
        status(node).into(),
        roles(node).into(),
        age(node, now),
        info("kubeletVersion").into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        unknown(info("osImage")).into(),
        unknown(info("kernelVersion")).into(),
        unknown(info("containerRuntimeVersion")).into(),
    ]
}

fn status(node: &Value) -> String {
    let mut status = match condition(node, "Ready") {
        Some(condition) if at(condition, "/status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let role = |(key, value): (&String, &Value)| match key.strip_prefix(ROLE_LABEL_PREFIX) {
        Some(role) if !role.is_empty() => Some(role.to_owned()),
        _ if key == ROLE_LABEL => value.as_str().filter(|role| !role.is_empty()).map(str::to_owned),
        _ => None,
    };
    let roles: BTreeSet<String> = labels.into_iter().flatten().filter_map(role).collect();
    or_none(roles.into_iter().collect::<Vec<_>>().join(","))
}

fn address(node: &Value, kind: &str) -> String {
    let found = list(node, "/status/addresses").iter().find(|address| at(address, "/type") == kind);
    found.map_or_else(|| NONE.to_owned(), |address| at(address, "/address").to_owned())
}
