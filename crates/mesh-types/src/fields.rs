//! Which fields of a resource have no effect here.

use serde_json::Value;

use crate::crd;
use crate::kind::Kind;
use crate::known;

/// A field that is stored and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnsupportedField {
    /// Where it is: `spec.http[0].delegate`.
    pub path: String,
    /// Whether Istio's own definition has the field.
    pub known_to_istio: bool,
}

impl UnsupportedField {
    /// A sentence for the person who wrote the field.
    pub fn warning(&self) -> String {
        if self.known_to_istio {
            format!("{}: stored but not honoured by this control plane", self.path)
        } else {
            format!("{}: unknown field, stored and ignored", self.path)
        }
    }
}

/// Names every field below `spec` that the control plane does not honour, in the order of the document.
///
/// An object of a kind without a type of its own gives nothing.
pub fn unsupported_fields(object: &Value) -> Vec<UnsupportedField> {
    let kind = object.get("kind").and_then(Value::as_str).and_then(Kind::from_name);
    let (Some(kind), Some(spec)) = (kind, object.get("spec")) else { return Vec::new() };
    let mut found = Vec::new();
    walk(kind, crd::spec_schema(kind), spec, &Path::root(), &mut |path, known_to_istio| {
        found.push(UnsupportedField { known_to_istio, path: path.exact.clone() });
    });
    found.extend(unsupported_values(kind, spec));
    found
}

#[derive(Clone)]
struct Path {
    exact: String,
    plain: String,
}

impl Path {
    fn root() -> Self {
        Self { exact: "spec".to_owned(), plain: "spec".to_owned() }
    }

    fn field(&self, name: &str) -> Self {
        Self { exact: format!("{}.{name}", self.exact), plain: format!("{}.{name}", self.plain) }
    }

    fn index(&self, index: usize) -> Self {
        Self { exact: format!("{}[{index}]", self.exact), plain: self.plain.clone() }
    }
}

/// Whether a field is stored, with its form checked, and changes nothing. `path` has no indices.
pub fn is_only_stored(kind: Kind, path: &str) -> bool {
    known::is_only_stored(kind, path)
}

fn walk(kind: Kind, schema: &Value, value: &Value, path: &Path, report: &mut dyn FnMut(&Path, bool)) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let values = schema.get("additionalProperties");
            for (name, inner) in fields {
                let at = path.field(name);
                match properties.and_then(|known| known.get(name)).or(values) {
                    Some(_) if known::is_only_stored(kind, &at.plain) => report(&at, true),
                    Some(known) => walk(kind, known, inner, &at, report),
                    None => report(&at, known::is_known(kind, &at.plain)),
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = schema.get("items") {
                items.iter().enumerate().for_each(|(index, item)| walk(kind, known, item, &path.index(index), report));
            }
        }
        _ => {}
    }
}

/// Fields that we have, with values that we do not serve.
fn unsupported_values(kind: Kind, spec: &Value) -> Vec<UnsupportedField> {
    let mut found = Vec::new();
    let mut report = |path: String| found.push(UnsupportedField { path, known_to_istio: true });
    for (index, server) in items(spec, "servers").filter(|_| kind == Kind::Gateway) {
        let mode = server.pointer("/tls/mode").and_then(Value::as_str);
        let protocol = server.pointer("/port/protocol").and_then(Value::as_str).unwrap_or_default();
        match (mode, protocol.to_uppercase().as_str()) {
            (Some("AUTO_PASSTHROUGH" | "PASSTHROUGH"), _) => {}
            (Some("SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL" | "ISTIO_MUTUAL"), "HTTPS") => {}
            (Some(mode), _) => report(format!("spec.servers[{index}].tls.mode={mode}")),
            (None, "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB") => {}
            (None, _) => report(format!("spec.servers[{index}].port.protocol={protocol}")),
        }
    }
    for (index, address) in items(spec, "addresses").filter(|_| kind == Kind::ServiceEntry) {
        let address = address.as_str().unwrap_or_default();
        if address.contains('/') && !address.ends_with("/32") {
            report(format!("spec.addresses[{index}]={address}"));
        }
    }
    if kind == Kind::ServiceEntry && spec["resolution"] == "DYNAMIC_DNS" {
        report("spec.resolution=DYNAMIC_DNS".to_owned());
    }
    found
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    value.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_named_by_their_path() {
        let object = json!({
            "kind": "VirtualService",
            "spec": {
                "hosts": ["reviews"],
                "tcp": [],
                "http": [{ "delegate": { "name": "x" }, "route": [{ "destination": { "host": "reviews", "colour": "red" } }],
                           "match": [{ "headers": { "delegate": { "exact": "x" } } }] }],
            },
        });
        let fields: Vec<_> =
            unsupported_fields(&object).into_iter().map(|field| (field.path, field.known_to_istio)).collect();
        assert_eq!(
            fields,
            [
                ("spec.tcp".to_owned(), true),
                ("spec.http[0].delegate".to_owned(), true),
                ("spec.http[0].route[0].destination.colour".to_owned(), false),
            ]
        );
    }

    #[test]
    fn values_that_are_not_served_are_named() {
        let object = json!({ "kind": "Gateway", "spec": { "servers": [{ "port": { "number": 443, "name": "https", "protocol": "TLS" }, "hosts": ["*"],
            "tls": { "mode": "SIMPLE", "credentialName": "cert", "caCrl": "x" } }] } });
        let paths: Vec<_> = unsupported_fields(&object).into_iter().map(|field| field.path).collect();
        assert_eq!(paths, ["spec.servers[0].tls.caCrl", "spec.servers[0].tls.mode=SIMPLE"]);
    }

    #[test]
    fn a_field_that_is_only_stored_is_named_at_every_place() {
        let policy = json!({ "connectionPool": { "tcp": { "maxConnections": 1, "idleTimeout": "1h" } },
            "portLevelSettings": [{ "connectionPool": { "tcp": { "idleTimeout": "1h" } } }] });
        let object = json!({ "kind": "DestinationRule", "spec": { "host": "a", "trafficPolicy": policy, "subsets": [{ "name": "v1", "trafficPolicy": policy }] } });
        let mut warnings: Vec<_> = unsupported_fields(&object).iter().map(UnsupportedField::warning).collect();
        warnings.sort();
        let stored = |path: &str| format!("{path}: stored but not honoured by this control plane");
        assert_eq!(
            warnings,
            [
                stored("spec.subsets[0].trafficPolicy.connectionPool.tcp.idleTimeout"),
                stored("spec.subsets[0].trafficPolicy.portLevelSettings[0].connectionPool.tcp.idleTimeout"),
                stored("spec.trafficPolicy.connectionPool.tcp.idleTimeout"),
                stored("spec.trafficPolicy.portLevelSettings[0].connectionPool.tcp.idleTimeout"),
            ]
        );
    }

    #[test]
    fn ranges_and_resolutions_of_an_entry_that_are_not_served_are_named() {
        let object = json!({ "kind": "ServiceEntry", "spec": { "hosts": ["*.a"], "addresses": ["10.0.0.1/32", "10.0.0.0/8"], "resolution": "DYNAMIC_DNS" } });
        let paths: Vec<_> = unsupported_fields(&object).into_iter().map(|field| field.path).collect();
        assert_eq!(paths, ["spec.addresses[1]=10.0.0.0/8", "spec.resolution=DYNAMIC_DNS"]);
    }

    #[test]
    fn protocols_of_a_gateway_that_are_not_served_are_named() {
        let object = json!({ "kind": "Gateway", "spec": { "servers": [{ "port": { "number": 3306, "name": "db", "protocol": "TCP" }, "hosts": ["*"] }] } });
        let paths: Vec<_> = unsupported_fields(&object).into_iter().map(|field| field.path).collect();
        assert_eq!(paths, ["spec.servers[0].port.protocol=TCP"]);
    }
}
