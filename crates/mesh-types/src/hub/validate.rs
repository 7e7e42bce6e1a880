//! Whether a resource of the management plane can be accepted as it stands alone. What needs others to judge (unknown
//! targets, conflicts) is reported in its status.

use serde_json::Value;

use super::crd;
use super::kind::Kind;
use super::object::Resource;
use super::{
    AccessPolicy, IssuedCertificate, KubernetesCluster, TrafficPolicy, VirtualDestination, VirtualMesh, WorkloadRestart,
};
use crate::validate::{FieldError, form, refuse, unknown};

mod access;
mod mesh;
mod policy;
mod terms;
mod virtual_destination;

pub(super) type Errors = Vec<FieldError>;

/// Checks an object of one of the plane's kinds; all errors are reported at once. Other kinds are not judged.
///
/// Unlike with Istio's kinds an unknown field is an error: at the wrong place a policy would have no effect.
///
/// # Errors
/// Every field that cannot be accepted.
pub fn validate(object: &Value) -> Result<(), Vec<FieldError>> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let Some(kind) = Kind::of(text("apiVersion"), text("kind")) else { return Ok(()) };
    let empty = Value::Object(serde_json::Map::new());
    let spec = object.get("spec").unwrap_or(&empty);
    let mut errors = Vec::new();
    unknown(crd::spec_schema(kind), spec, "spec", &mut errors);
    form(crd::spec_schema(kind), spec, "spec", &mut errors);
    // The rules read the typed specification, which exists only where the form is right.
    if errors.is_empty() {
        meaning(kind, spec, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The same for a plane whose hub is in a namespace. Of Secrets it may read only those that are there.
///
/// # Errors
/// As [`validate`].
pub fn validate_in(object: &Value, hub_namespace: &str) -> Result<(), Vec<FieldError>> {
    validate(object)?;
    let path = "spec.mtlsConfig.shared.rootCertificateAuthority.secret.namespace";
    let is_virtual_mesh = object["kind"] == Kind::VirtualMesh.name();
    match object.pointer(&format!("/{}", path.replace('.', "/"))).and_then(Value::as_str) {
        Some(namespace) if is_virtual_mesh && namespace != hub_namespace => {
            let why = "the only one whose Secrets the management plane may read";
            let message = format!("must be {hub_namespace}, {why}, and is {namespace}");
            Err(vec![FieldError { path: path.to_owned(), message }])
        }
        _ => Ok(()),
    }
}

fn meaning(kind: Kind, spec: &Value, errors: &mut Errors) {
    match kind {
        Kind::KubernetesCluster => typed::<KubernetesCluster>(spec, errors, mesh::cluster),
        Kind::VirtualMesh => typed::<VirtualMesh>(spec, errors, mesh::virtual_mesh),
        Kind::TrafficPolicy => typed::<TrafficPolicy>(spec, errors, policy::traffic),
        Kind::VirtualDestination => typed::<VirtualDestination>(spec, errors, virtual_destination::check),
        Kind::AccessPolicy => typed::<AccessPolicy>(spec, errors, access::check),
        Kind::IssuedCertificate => typed::<IssuedCertificate>(spec, errors, mesh::issued_certificate),
        Kind::WorkloadRestart => typed::<WorkloadRestart>(spec, errors, mesh::workload_restart),
        // Written by the plane and its agents, which fill what they read.
        Kind::Mesh | Kind::Workload | Kind::Destination | Kind::CertificateRequest => {}
    }
}

fn typed<R: Resource>(spec: &Value, errors: &mut Errors, rules: impl FnOnce(&R, &mut Errors)) {
    match R::deserialize(spec) {
        Ok(spec) => rules(&spec, errors),
        Err(error) => refuse(errors, "spec", error.to_string()),
    }
}

#[cfg(test)]
mod tests;
