//! Services, Endpoints and EndpointSlices: defaults and validation. Addresses are allocated elsewhere.

use serde_json::{Value, json};

use super::{Behaviour, PLAIN, WITH_STATUS, items, items_mut};
use crate::object::{as_map, child, default_to};
use crate::validation::{Errors, NameRule, check_labels, is_label};

pub(super) static SERVICE: Behaviour = Behaviour {
    default,
    create,
    update,
    validate,
    validate_update,
    name: NameRule::Rfc1035Label,
    returns_deleted: true,
    ..WITH_STATUS
};
pub(super) static ENDPOINTS: Behaviour = Behaviour { default: default_endpoints, ..PLAIN };
pub(super) static ENDPOINT_SLICE: Behaviour = Behaviour {
    default: default_slice,
    validate: validate_slice,
    validate_update: validate_slice_update,
    generation: true,
    ..PLAIN
};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

fn default(object: &mut Value) {
    let spec = child(object, "spec");
    default_to(spec, "sessionAffinity", "None");
    default_to(spec, "type", "ClusterIP");
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    let reachable_from_outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
    if reachable_from_outside {
        default_to(spec, "externalTrafficPolicy", "Cluster");
    } else {
        spec.shift_remove("externalTrafficPolicy");
    }
    if kind == "LoadBalancer" {
        default_to(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        default_to(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["sessionAffinity"] == "ClientIP" {
        default_to(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    for port in items_mut(&mut object["spec"], "ports") {
        let number = port["port"].clone();
        let map = as_map(port);
        default_to(map, "protocol", "TCP");
        if map.get("targetPort").is_none_or(|target| target.is_null() || *target == 0 || *target == "") {
            map.insert("targetPort".to_owned(), number);
        }
    }
    default_to(child(object, "status"), "loadBalancer", json!({}));
}

fn create(object: &mut Value) {
    object["status"] = json!({"loadBalancer": {}});
}

/// Keeps the addresses of the old object where the new one leaves them out, as a PUT of an old manifest does.
fn update(new: &mut Value, old: &Value) {
    let external = |object: &Value| object["spec"]["type"] == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let old_spec = &old["spec"];
    let spec = child(new, "spec");
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = old_spec.get(key) {
            default_to(spec, key, value.clone());
        }
    }
    for port in items_mut(&mut new["spec"], "ports") {
        let same = items(&old_spec["ports"])
            .iter()
            .find(|other| other["port"] == port["port"] && other["protocol"] == port["protocol"]);
        if let Some(node_port) = same.and_then(|same| same.get("nodePort"))
            && matches!(old_spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
        {
            default_to(as_map(port), "nodePort", node_port.clone());
        }
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    if !TYPES.contains(&kind) {
        errors.not_supported("spec.type", &spec["type"], TYPES);
    }
    let headless = spec["clusterIP"] == "None";
    if kind == "ExternalName" && spec["externalName"].as_str().unwrap_or_default().is_empty() {
        errors.required("spec.externalName", "");
    }
    if headless && kind == "LoadBalancer" {
        errors.invalid("spec.clusterIPs[0]", &json!("None"), "may not be set to 'None' for LoadBalancer services");
    }
    let ports = items(&spec["ports"]);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    for (index, port) in ports.iter().enumerate() {
        validate_port(port, index, ports, errors);
    }
    check_labels(&spec["selector"], "spec.selector", errors);
    if !["None", "ClientIP"].iter().any(|allowed| spec["sessionAffinity"] == *allowed) {
        errors.not_supported("spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"]);
    }
}

fn validate_port(port: &Value, index: usize, ports: &[Value], errors: &mut Errors) {
    let at = format!("spec.ports[{index}]");
    match port["name"].as_str() {
        None | Some("") if ports.len() > 1 => errors.required(format!("{at}.name"), ""),
        Some(name) if !name.is_empty() && (!is_label(name) || name.len() > 63) => {
            errors.invalid(format!("{at}.name"), &port["name"], "must be a lowercase RFC 1123 label");
        }
        _ => {}
    }
    let range = "must be between 1 and 65535, inclusive";
    if !port["port"].as_i64().is_some_and(|number| (1..=65535).contains(&number)) {
        errors.invalid(format!("{at}.port"), &port["port"], range);
    }
    if let Some(number) = port["targetPort"].as_i64()
        && !(1..=65535).contains(&number)
    {
        errors.invalid(format!("{at}.targetPort"), &port["targetPort"], range);
    }
    if !matches!(port["protocol"].as_str(), Some("TCP" | "UDP" | "SCTP")) {
        errors.not_supported(format!("{at}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
    for other in &ports[..index] {
        if other["port"] == port["port"] && other["protocol"] == port["protocol"] {
            errors.duplicate(at.clone(), &json!({"port": port["port"], "protocol": port["protocol"]}));
        }
        if !port["name"].is_null() && port["name"] != "" && other["name"] == port["name"] {
            errors.duplicate(format!("{at}.name"), &port["name"]);
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new_spec, old_spec) = (&new["spec"], &old["spec"]);
    let had_address = old_spec["clusterIP"].as_str().is_some_and(|address| !address.is_empty());
    if old_spec["type"] != "ExternalName" && new_spec["type"] != "ExternalName" && had_address {
        errors.immutable("spec.clusterIPs[0]", &new_spec["clusterIP"], &old_spec["clusterIP"]);
    }
}

fn default_endpoints(object: &mut Value) {
    for port in items_mut(object, "subsets").flat_map(|subset| items_mut(subset, "ports")) {
        default_to(as_map(port), "protocol", "TCP");
    }
}

fn default_slice(object: &mut Value) {
    for port in items_mut(object, "ports") {
        let map = as_map(port);
        default_to(map, "name", "");
        default_to(map, "protocol", "TCP");
    }
}

fn validate_slice(object: &Value, errors: &mut Errors) {
    let allowed = &["IPv4", "IPv6", "FQDN"];
    if object["addressType"].is_null() {
        errors.required("addressType", "");
    } else if !allowed.iter().any(|kind| object["addressType"] == *kind) {
        errors.not_supported("addressType", &object["addressType"], allowed);
    }
    for (index, endpoint) in items(&object["endpoints"]).iter().enumerate() {
        if items(&endpoint["addresses"]).is_empty() {
            errors.required(format!("endpoints[{index}].addresses"), "must contain at least 1 address");
        }
    }
}

fn validate_slice_update(new: &Value, old: &Value, errors: &mut Errors) {
    errors.immutable("addressType", &new["addressType"], &old["addressType"]);
}
