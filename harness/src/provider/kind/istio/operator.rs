//! The values of Istio's charts as IstioOperators, which is what `istioctl` installs. Pure.

use serde_json::{Map, Value, json};

use super::{Values, Way};
use crate::install::manifest::{self, Placeholders};

/// The control plane, or what a cluster has in place of one: a profile of the same name as the chart's, and the same values.
pub(super) fn control_plane(parts: &[Values], way: &Way) -> Result<String, manifest::Error> {
    let mut values = Value::Object(Map::new());
    for part in parts {
        merge(&mut values, read(part)?);
    }
    let mut take = |name: &str| values.as_object_mut().and_then(|values| values.shift_remove(name));
    // Without a profile of its own, neither definitions nor gateways but the control plane alone.
    let profile = take("profile").unwrap_or_else(|| json!("minimal"));
    let mesh = take("meshConfig");
    let mut spec = json!({ "profile": profile, "hub": way.hub, "tag": way.version, "values": values });
    if let Some(mesh) = mesh {
        spec["meshConfig"] = mesh;
    }
    Ok(text("istiod", spec))
}

/// Ports of the way in from other networks. The chart has them by itself.
const EAST_WEST: [(&str, u16); 4] =
    [("status-port", 15021), ("tls", 15443), ("tls-istiod", 15012), ("tls-webhook", 15017)];

/// A gateway, without anything else of Istio.
pub(super) fn gateway(values: &Values, way: &Way, placeholders: &Placeholders) -> Result<String, manifest::Error> {
    let of = read(values)?;
    let mut labels = of["labels"].clone();
    let mut kubernetes = json!({ "replicaCount": 1, "resources": of["resources"] });
    if let Some(network) = of["networkGateway"].as_str() {
        labels["topology.istio.io/network"] = network.into();
        kubernetes["env"] = json!([{ "name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": network }]);
        let port = |(name, port): (&str, u16)| json!({ "name": name, "port": port, "targetPort": port });
        kubernetes["service"] = json!({ "ports": EAST_WEST.map(port) });
    }
    let name = &of["name"];
    let spec = json!({
        "profile": "empty",
        "hub": way.hub,
        "tag": way.version,
        "components": {
            "ingressGateways": [{ "name": name, "enabled": true, "label": labels, "k8s": kubernetes }],
        },
        "values": {
            "global": { "network": placeholders.get("NETWORK") },
            // One name for the settings of all gateways, whatever each is called.
            "gateways": { "istio-ingressgateway": {
                "autoscaleEnabled": of["autoscaling"]["enabled"],
                "injectionTemplate": "gateway",
            } },
        },
    });
    Ok(text(name.as_str().unwrap_or_default(), spec))
}

fn read(values: &Values) -> Result<Value, manifest::Error> {
    serde_saphyr::from_str(&values.text).map_err(|error| manifest::Error::Yaml {
        file: format!("manifests/istio/values/{}", values.name),
        message: error.to_string(),
    })
}

/// As Helm takes several files of values: maps are joined, and anything else of the later one holds.
fn merge(into: &mut Value, other: Value) {
    match (into, other) {
        (Value::Object(into), Value::Object(other)) => {
            for (name, value) in other {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, other) => *into = other,
    }
}

/// What one installs is told by its name from what another one does: `istioctl` removes what an older one of the name had more.
fn text(name: &str, spec: Value) -> String {
    let operator = json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": { "name": name, "namespace": "istio-system" },
        "spec": spec,
    });
    serde_saphyr::to_string(&operator).expect("invariant: plain data serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_values_are_joined_as_helm_joins_them() {
        let mut values = json!({ "a": { "x": 1, "y": [1, 2] }, "b": 1 });
        merge(&mut values, json!({ "a": { "y": [3], "z": null }, "c": { "d": true } }));
        assert_eq!(values, json!({ "a": { "x": 1, "y": [3], "z": null }, "b": 1, "c": { "d": true } }));
    }
}
