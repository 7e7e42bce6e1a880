//! What a mesh's certificates shall be: which authority signs, for which identity, and whom to restart for it.

use std::collections::BTreeMap;

use mesh_types::hub::certificate::{RestartStep, RootConfigMap};
use mesh_types::hub::virtual_mesh::SharedTrust;
use mesh_types::hub::{IssuedCertificate, Mesh, Object, ObjectRef, VirtualMesh, WorkloadRestart, names};
use mesh_types::spiffe::SpiffeId;

/// Where Istio keeps the root in every namespace.
const ROOT_CONFIG_MAP: (&str, &str) = ("istio-ca-root-cert", "root-cert.pem");
/// The Secret that Istio's control plane reads its authority from.
const AUTHORITY_SECRET: &str = "cacerts";

/// The certificate that the mesh of a member shall sign with; `None` where its certificates are left alone.
pub fn certificate(
    hub_namespace: &str,
    virtual_mesh: &Object<VirtualMesh>,
    mesh: &Object<Mesh>,
) -> Option<IssuedCertificate> {
    let mtls = virtual_mesh.spec.mtls_config.as_ref()?;
    let shared = mtls.shared.as_ref()?;
    let istio = &mesh.spec.istio;
    let namespace = &istio.installation.namespace;
    let identity = SpiffeId::new(&istio.trust_domain, namespace, &istio.istiod_service_account);
    let options = &shared.intermediate_cert_options;
    let organisation = if options.org_name.is_empty() { "Istio" } else { &options.org_name };
    let restart = agent_namespace(mesh).map(|agent| ObjectRef::new(&name(mesh), agent));
    Some(IssuedCertificate {
        hosts: vec![identity.to_string()],
        org_name: organisation.to_owned(),
        ttl_days: options.ttl_days.unwrap_or(365),
        secret_rotation_grace_period_ratio: options.secret_rotation_grace_period_ratio.unwrap_or(0.1),
        issued_certificate_secret: ObjectRef::new(AUTHORITY_SECRET, namespace),
        signing_certificate_secret: signing_secret(hub_namespace, virtual_mesh, shared),
        workload_restart: restart.filter(|_| mtls.auto_restart_pods),
    })
}

/// The Secret of the authority that signs for a virtual mesh, in the management cluster.
pub fn signing_secret(hub_namespace: &str, virtual_mesh: &Object<VirtualMesh>, shared: &SharedTrust) -> ObjectRef {
    let own = || {
        ObjectRef::new(
            &names::join(&["root", &virtual_mesh.metadata.name, &virtual_mesh.metadata.namespace]),
            hub_namespace,
        )
    };
    shared.root_certificate_authority.secret.clone().unwrap_or_else(own)
}

/// Whom to restart when the authority of a mesh has changed: the control plane, then the gateways once their namespace has
/// the new root, then all workloads likewise; `None` where people restart themselves.
pub fn restart(virtual_mesh: &Object<VirtualMesh>, mesh: &Object<Mesh>) -> Option<WorkloadRestart> {
    virtual_mesh.spec.mtls_config.as_ref().filter(|mtls| mtls.auto_restart_pods && mtls.shared.is_some())?;
    let istio = &mesh.spec.istio;
    let root = || Some(RootConfigMap { name: ROOT_CONFIG_MAP.0.to_owned(), key: ROOT_CONFIG_MAP.1.to_owned() });
    let control_plane = RestartStep {
        namespace: istio.installation.namespace.clone(),
        labels: istio.installation.pod_labels.clone(),
        after_root_in: None,
    };
    let gateways = istio.ingress_gateways.iter().map(|gateway| RestartStep {
        namespace: gateway.namespace.clone(),
        labels: gateway.workload_labels.clone(),
        after_root_in: root(),
    });
    let workloads = RestartStep { namespace: String::new(), labels: BTreeMap::new(), after_root_in: root() };
    Some(WorkloadRestart { steps: std::iter::once(control_plane).chain(gateways).chain([workloads]).collect() })
}

/// Name of a mesh's certificate, and of what belongs to it.
pub fn name(mesh: &Object<Mesh>) -> String {
    mesh.metadata.name.clone()
}

/// Namespace of the agent; `None` where none runs.
pub fn agent_namespace(mesh: &Object<Mesh>) -> Option<&str> {
    mesh.spec.agent_info.as_ref().map(|agent| agent.agent_namespace.as_str()).filter(|name| !name.is_empty())
}
