//! Rules of virtual destinations.

use super::{Errors, policy, terms};
use crate::hub::VirtualDestination;
use crate::validate::refuse;

const PROTOCOLS: [&str; 5] = ["http", "http2", "grpc", "tcp", "tls"];

pub(super) fn check(destination: &VirtualDestination, errors: &mut Errors) {
    terms::host(&destination.hostname, 2, "spec.hostname", errors);
    port(destination, errors);
    match (&destination.virtual_mesh, &destination.mesh_list) {
        (Some(mesh), None) => terms::object(mesh, "spec.virtualMesh", errors),
        (None, Some(list)) if list.meshes.is_empty() => {
            refuse(errors, "spec.meshList.meshes", "needs at least one mesh")
        }
        (None, Some(list)) => {
            for (index, mesh) in list.meshes.iter().enumerate() {
                terms::object(mesh, &format!("spec.meshList.meshes[{index}]"), errors);
            }
        }
        _ => refuse(errors, "spec", "needs exactly one of virtualMesh, meshList"),
    }
    backends(destination, errors);
    if let Some(outlier) = &destination.outlier_detection {
        policy::outlier_detection(outlier, "spec.outlierDetection", errors);
    }
}

fn port(destination: &VirtualDestination, errors: &mut Errors) {
    let port = &destination.port;
    if port.number == 0 {
        refuse(errors, "spec.port.number", "is required");
    }
    if !PROTOCOLS.contains(&port.protocol.as_str()) {
        let message = format!("`{}` is not one of {}", port.protocol, PROTOCOLS.join(", "));
        refuse(errors, "spec.port.protocol", message);
    }
    if !port.target_name.is_empty() && port.target_number.is_some() {
        refuse(errors, "spec.port", "only one of targetName, targetNumber can be set");
    }
    if port.target_number == Some(0) {
        refuse(errors, "spec.port.targetNumber", "port 0 must be between 1 and 65535");
    }
}

fn backends(destination: &VirtualDestination, errors: &mut Errors) {
    match (&destination.static_backends, &destination.localized) {
        (Some(named), None) => {
            let at = "spec.static.destinations";
            if named.destinations.is_empty() {
                refuse(errors, at, "needs at least one Service");
            }
            for (index, backend) in named.destinations.iter().enumerate() {
                let path = format!("{at}[{index}].kubeService");
                terms::service(&backend.kube_service, &path, errors);
                if named.destinations[..index].contains(backend) {
                    refuse(errors, path, format!("{} is named twice", backend.kube_service));
                }
            }
            if named.destinations.len() > 1 {
                outlier(destination, errors);
            }
        }
        (None, Some(localized)) => {
            let at = "spec.localized";
            terms::destinations(&localized.destination_selectors, &format!("{at}.destinationSelectors"), errors);
            for (index, directive) in localized.failover_directives.iter().enumerate() {
                let path = format!("{at}.failoverDirectives[{index}]");
                terms::needed(&[("region", &directive.from.region)], &format!("{path}.from"), errors);
                if directive.to.is_empty() {
                    refuse(errors, format!("{path}.to"), "needs at least one region");
                }
                for (step, to) in directive.to.iter().enumerate() {
                    terms::needed(&[("region", &to.region)], &format!("{path}.to[{step}]"), errors);
                }
                let earlier = &localized.failover_directives[..index];
                if earlier.iter().any(|one| one.from == directive.from) {
                    let region = &directive.from.region;
                    refuse(errors, format!("{path}.from"), format!("region `{region}` has a directive already"));
                }
            }
            outlier(destination, errors);
        }
        _ => refuse(errors, "spec", "needs exactly one of static, localized"),
    }
}

/// Envoy leaves a level of endpoints only when it takes endpoints of it out of use.
fn outlier(destination: &VirtualDestination, errors: &mut Errors) {
    if destination.outlier_detection.is_none() {
        let message = "is required: without it no backend ever takes over; `{}` takes the defaults";
        refuse(errors, "spec.outlierDetection", message);
    }
}
