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
    walk(crd::spec_schema(kind), spec, &Path::root(), &mut |path| {
        found.push(UnsupportedField { known_to_istio: known::is_known(kind, &path.plain), path: path.exact.clone() });
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

fn walk(schema: &Value, value: &Value, path: &Path, report: &mut dyn FnMut(&Path)) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let values = schema.get("additionalProperties");
            for (name, inner) in fields {
                let at = path.field(name);
                match (properties.and_then(|known| known.get(name)), values) {
                    (Some(known), _) => walk(known, inner, &at, report),
                    (None, Some(known)) => walk(known, inner, &at, report),
                    (None, None) => report(&at),
                }
            }
        }
        Value::Array(items) => {
            if let Some(known) = schema.get("items") {
                items.iter().enumerate().for_each(|(index, item)| walk(known, item, &path.index(index), report));
            }
        }
        _ => {}
    }
}

/// Fields that we have, with values that we do not serve.
fn unsupported_values(kind: Kind, spec: &Value) -> Vec<UnsupportedField> {
    let mut found = Vec::new();
    let mut report = |path: String| found.push(UnsupportedField { path, known_to_istio: true });
    if kind == Kind::Gateway {
        for (index, server) in spec.get("servers").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let mode = server.pointer("/tls/mode").and_then(Value::as_str);
            if let Some(mode) = mode.filter(|mode| *mode != "AUTO_PASSTHROUGH") {
                report(format!("spec.servers[{index}].tls.mode={mode}"));
            }
        }
    }
    if kind == Kind::DestinationRule {
        let policies = std::iter::once(("spec".to_owned(), spec)).chain(
            spec.get("subsets")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .enumerate()
                .map(|(index, subset)| (format!("spec.subsets[{index}]"), subset)),
        );
        for (path, holder) in policies {
            let mode = holder.pointer("/trafficPolicy/tls/mode").and_then(Value::as_str);
            if mode == Some("MUTUAL") {
                report(format!("{path}.trafficPolicy.tls.mode=MUTUAL"));
            }
        }
    }
    found
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
        let object = json!({ "kind": "Gateway", "spec": { "servers": [{ "port": { "number": 443, "name": "https", "protocol": "HTTPS" }, "hosts": ["*"],
            "tls": { "mode": "SIMPLE", "credentialName": "cert" } }] } });
        let paths: Vec<_> = unsupported_fields(&object).into_iter().map(|field| field.path).collect();
        assert_eq!(paths, ["spec.servers[0].tls.credentialName", "spec.servers[0].tls.mode=SIMPLE"]);
    }
}
