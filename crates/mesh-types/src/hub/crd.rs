//! The CustomResourceDefinitions of the management plane, generated from its types.
//!
//! Unlike Istio's, these keep no unknown fields: a field at the wrong place is an error, not a policy without effect.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::kind::Kind;
use super::object::Resource;
use super::{
    AccessPolicy, CertificateRequest, Destination, IssuedCertificate, KubernetesCluster, Mesh, TrafficPolicy,
    VirtualDestination, VirtualMesh, Workload, WorkloadRestart,
};
use crate::crd::strict;

/// The CustomResourceDefinition of a kind, as JSON.
pub fn definition(kind: Kind) -> Value {
    let (spec, status) = schemas(kind);
    let mut columns: Vec<Value> = kind
        .columns()
        .iter()
        .map(|(name, path, form)| json!({ "name": name, "jsonPath": path, "type": form }))
        .collect();
    columns.push(json!({ "name": "Age", "jsonPath": ".metadata.creationTimestamp", "type": "date" }));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural(), kind.group()),
            "labels": { "app.kubernetes.io/name": "meshproof-hub" },
        },
        "spec": {
            "group": kind.group(),
            "names": {
                "categories": ["meshproof"],
                "kind": kind.name(),
                "listKind": format!("{}List", kind.name()),
                "plural": kind.plural(),
                "shortNames": [kind.short_name()],
                "singular": kind.name().to_lowercase(),
            },
            "scope": "Namespaced",
            "versions": [{
                "name": Kind::VERSION,
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": spec, "status": status },
                } },
                "subresources": { "status": {} },
                "additionalPrinterColumns": columns,
            }],
        },
    })
}

/// The structural schema of a kind's `spec`.
pub fn spec_schema(kind: Kind) -> &'static Value {
    schemas(kind).0
}

/// The structural schemas of a kind's `spec` and `status`.
fn schemas(kind: Kind) -> (&'static Value, &'static Value) {
    static ALL: LazyLock<Vec<(Value, Value)>> = LazyLock::new(|| Kind::ALL.into_iter().map(generate).collect());
    let position = Kind::ALL.iter().position(|known| *known == kind).unwrap_or_default();
    let (spec, status) = &ALL[position];
    (spec, status)
}

fn generate(kind: Kind) -> (Value, Value) {
    fn of<R: Resource<Status: schemars::JsonSchema> + schemars::JsonSchema>() -> (Value, Value) {
        (strict::<R>(), strict::<R::Status>())
    }
    match kind {
        Kind::KubernetesCluster => of::<KubernetesCluster>(),
        Kind::Mesh => of::<Mesh>(),
        Kind::Workload => of::<Workload>(),
        Kind::Destination => of::<Destination>(),
        Kind::VirtualMesh => of::<VirtualMesh>(),
        Kind::TrafficPolicy => of::<TrafficPolicy>(),
        Kind::VirtualDestination => of::<VirtualDestination>(),
        Kind::AccessPolicy => of::<AccessPolicy>(),
        Kind::IssuedCertificate => of::<IssuedCertificate>(),
        Kind::CertificateRequest => of::<CertificateRequest>(),
        Kind::WorkloadRestart => of::<WorkloadRestart>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::tests::each;

    #[test]
    fn schemas_are_structural_and_keep_nothing_unknown() {
        for kind in Kind::ALL {
            let (spec, status) = schemas(kind);
            for schema in [spec, status] {
                each(schema, kind.name(), &mut |path, schema| {
                    assert!(schema.get("type").is_some_and(Value::is_string), "{path}: {schema:?}");
                    for keyword in [
                        "$ref",
                        "anyOf",
                        "allOf",
                        "const",
                        "default",
                        "uniqueItems",
                        "x-kubernetes-preserve-unknown-fields",
                    ] {
                        assert!(!schema.contains_key(keyword), "{path} has {keyword}");
                    }
                });
            }
        }
    }
}
