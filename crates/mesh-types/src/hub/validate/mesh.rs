//! Rules of clusters, virtual meshes, and what follows for certificates.

use super::{Errors, terms};
use crate::hub::virtual_mesh::{FederationConfig, MtlsConfig};
use crate::hub::{IssuedCertificate, KubernetesCluster, VirtualMesh, WorkloadRestart};
use crate::validate::refuse;

pub(super) fn cluster(cluster: &KubernetesCluster, errors: &mut Errors) {
    terms::needed(&[("secretName", &cluster.secret_name)], "spec", errors);
    if !cluster.cluster_domain.is_empty() {
        terms::host(&cluster.cluster_domain, 1, "spec.clusterDomain", errors);
    }
}

pub(super) fn virtual_mesh(mesh: &VirtualMesh, errors: &mut Errors) {
    if mesh.meshes.is_empty() {
        refuse(errors, "spec.meshes", "needs at least one mesh");
    }
    for (index, member) in mesh.meshes.iter().enumerate() {
        let path = format!("spec.meshes[{index}]");
        terms::object(member, &path, errors);
        if mesh.meshes[..index].contains(member) {
            refuse(errors, path, format!("mesh {member} is named twice"));
        }
    }
    if let Some(mtls) = &mesh.mtls_config {
        trust(mtls, errors);
    }
    if let Some(federation) = &mesh.federation {
        federation_config(federation, mesh, errors);
    }
}

fn trust(mtls: &MtlsConfig, errors: &mut Errors) {
    let Some(shared) = &mtls.shared else {
        let message = "is required: members that do not share a root cannot call each other";
        return refuse(errors, "spec.mtlsConfig.shared", message);
    };
    let root = &shared.root_certificate_authority;
    let at = "spec.mtlsConfig.shared";
    if let Some(secret) = &root.secret {
        terms::object(secret, &format!("{at}.rootCertificateAuthority.secret"), errors);
    }
    let days = root.generated.as_ref().and_then(|generated| generated.ttl_days);
    if days == Some(0) {
        refuse(errors, format!("{at}.rootCertificateAuthority.generated.ttlDays"), "must be at least 1");
    }
    let options = &shared.intermediate_cert_options;
    if options.ttl_days == Some(0) {
        refuse(errors, format!("{at}.intermediateCertOptions.ttlDays"), "must be at least 1");
    }
    ratio(
        options.secret_rotation_grace_period_ratio,
        &format!("{at}.intermediateCertOptions.secretRotationGracePeriodRatio"),
        errors,
    );
}

/// A share of a life that leaves some of it on both sides.
fn ratio(value: Option<f64>, path: &str, errors: &mut Errors) {
    if value.is_some_and(|value| !(value > 0.0 && value < 1.0)) {
        refuse(errors, path, "must be between 0 and 1, without these");
    }
}

fn federation_config(federation: &FederationConfig, mesh: &VirtualMesh, errors: &mut Errors) {
    let at = "spec.federation";
    if federation.permissive.is_some() && !federation.selectors.is_empty() {
        refuse(errors, at, "only one of permissive, selectors can be set");
    }
    if !federation.hostname_suffix.is_empty() {
        terms::host(&federation.hostname_suffix, 1, &format!("{at}.hostnameSuffix"), errors);
    }
    for (index, selector) in federation.selectors.iter().enumerate() {
        let path = format!("{at}.selectors[{index}]");
        terms::destinations(&selector.destination_selectors, &format!("{path}.destinationSelectors"), errors);
        for (at, member) in selector.meshes.iter().enumerate() {
            let path = format!("{path}.meshes[{at}]");
            terms::object(member, &path, errors);
            if !mesh.meshes.contains(member) {
                refuse(errors, path, format!("mesh {member} is not in spec.meshes"));
            }
        }
    }
    for (index, selector) in federation.east_west_ingress_gateway_selectors.iter().enumerate() {
        let path = format!("{at}.eastWestIngressGatewaySelectors[{index}].destinationSelectors");
        terms::destinations(&selector.destination_selectors, &path, errors);
    }
}

pub(super) fn issued_certificate(certificate: &IssuedCertificate, errors: &mut Errors) {
    if certificate.hosts.is_empty() {
        refuse(errors, "spec.hosts", "needs at least one identity");
    }
    terms::object(&certificate.issued_certificate_secret, "spec.issuedCertificateSecret", errors);
    terms::object(&certificate.signing_certificate_secret, "spec.signingCertificateSecret", errors);
    ratio(Some(certificate.secret_rotation_grace_period_ratio), "spec.secretRotationGracePeriodRatio", errors);
}

pub(super) fn workload_restart(restart: &WorkloadRestart, errors: &mut Errors) {
    if restart.steps.is_empty() {
        refuse(errors, "spec.steps", "needs at least one step");
    }
    for (index, step) in restart.steps.iter().enumerate() {
        if let Some(root) = &step.after_root_in {
            let path = format!("spec.steps[{index}].afterRootIn");
            terms::needed(&[("name", &root.name), ("key", &root.key)], &path, errors);
        }
    }
}
