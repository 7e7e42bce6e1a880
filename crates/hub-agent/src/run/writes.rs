//! What the agent writes for certificates and restarts.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mesh_certificates::RequestError;
use mesh_certificates::request;
use mesh_types::hub::certificate::IssuedCertificate;
use mesh_types::hub::{Kind, Object, ObjectRef, Resource, names};
use serde_json::{Value, json};

use super::tables::{Orphan, resource_of};
use crate::certificate::{Installation, digest};
use crate::restart::{self, WorkloadKind};
use crate::view;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server.
    #[error("{what}: {source}")]
    Kubernetes {
        /// What was to be written.
        what: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// No request for this certificate.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A value that JSON has not.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// Writes, in the agent's name.
pub struct Writes {
    client: Client,
    namespace: String,
}

impl Writes {
    /// Writes of an agent in a namespace.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    fn hub(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource_of(kind))
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Writes the status of a resource.
    pub async fn status<R: Resource>(&self, object: &Object<R>, status: &R::Status) -> Result<(), WriteError> {
        let name = &object.metadata.name;
        let body = json!({
            "apiVersion": R::KIND.api_version(),
            "kind": R::KIND.name(),
            "metadata": { "name": name, "namespace": object.metadata.namespace },
            "status": serde_json::to_value(status)?,
        });
        let parameters = PatchParams::apply(names::AGENT_FIELD_MANAGER).force();
        let written = self.hub(R::KIND).patch_status(name, &parameters, &Patch::Apply(body)).await;
        told(written, || format!("status of {} {name}", R::KIND.name()))
    }

    /// Makes a key and its request, and keeps both in a Secret until the certificate is installed.
    pub async fn make_key(&self, wanted: &Object<IssuedCertificate>) -> Result<(), WriteError> {
        let spec = &wanted.spec;
        let made = request::make(&spec.hosts, &spec.org_name)?;
        let place = &spec.issued_certificate_secret;
        let body = view::key_secret(place, &wanted.metadata.name, &made, &digest(spec));
        let name = view::key_name(place);
        let parameters = PatchParams::apply(names::AGENT_FIELD_MANAGER).force();
        let written = self.secrets(&place.namespace).patch(&name, &parameters, &Patch::Apply(body)).await;
        told(written, || format!("Secret {}/{name}", place.namespace))
    }

    /// Asks for a signature.
    pub async fn ask(&self, wanted: &Object<IssuedCertificate>, request: &str) -> Result<(), WriteError> {
        let kind = Kind::CertificateRequest;
        let name = &wanted.metadata.name;
        let body = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.name(),
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "annotations": { names::ANNOTATION_PLACE: view::place_text(&wanted.spec.issued_certificate_secret) },
            },
            "spec": { "certificateSigningRequest": request },
        });
        let parameters = PatchParams::apply(names::AGENT_FIELD_MANAGER).force();
        let written = self.hub(kind).patch(name, &parameters, &Patch::Apply(body)).await;
        told(written, || format!("CertificateRequest {name}"))
    }

    /// Hands an authority to the control plane. A Secret that came or changed in between is not overwritten.
    pub async fn install(&self, wanted: &Object<IssuedCertificate>, what: &Installation) -> Result<(), WriteError> {
        let place = &wanted.spec.issued_certificate_secret;
        let now = jiff::Timestamp::now().to_string();
        let body: Secret = serde_json::from_value(view::authority_secret(place, &wanted.metadata.name, what, &now))?;
        let secrets = self.secrets(&place.namespace);
        let title = || format!("Secret {}/{}", place.namespace, place.name);
        let parameters =
            PostParams { field_manager: Some(names::AGENT_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        if what.replaces.is_none() {
            return told(secrets.create(&parameters, &body).await, title);
        }
        told(secrets.replace(&place.name, &parameters, &body).await, title)
    }

    /// Forgets the copy of a key that waited.
    pub async fn drop_key(&self, place: &ObjectRef) -> Result<(), WriteError> {
        let name = view::key_name(place);
        gone(self.secrets(&place.namespace).delete(&name, &DeleteParams::default()).await, || {
            format!("Secret {}/{name}", place.namespace)
        })
    }

    /// Deletes what belongs to a certificate that is not wanted any more. What the control plane signs with stays.
    pub async fn forget(&self, request: &Orphan) -> Result<(), WriteError> {
        let certificate = &request.name;
        if let Some(place) = &request.place {
            self.drop_key(place).await?;
        }
        let deleted = self.hub(Kind::CertificateRequest).delete(certificate, &DeleteParams::default()).await;
        gone(deleted, || format!("CertificateRequest {certificate}"))
    }

    /// Restarts a workload.
    pub async fn restart(&self, patch: &restart::Patch) -> Result<(), WriteError> {
        let body = view::restart_patch(&patch.trust, &jiff::Timestamp::now().to_string());
        let (client, namespace, name) = (self.client.clone(), &patch.namespace, &patch.name);
        let (parameters, body): (PatchParams, Patch<Value>) = (PatchParams::default(), Patch::Strategic(body));
        let title = || format!("{} {namespace}/{name}", patch.kind.name());
        tracing::info!(kind = patch.kind.name(), namespace, name, "restarting for new roots");
        match patch.kind {
            WorkloadKind::Deployment => {
                told(Api::<Deployment>::namespaced(client, namespace).patch(name, &parameters, &body).await, title)
            }
            WorkloadKind::StatefulSet => {
                told(Api::<StatefulSet>::namespaced(client, namespace).patch(name, &parameters, &body).await, title)
            }
            WorkloadKind::DaemonSet => {
                told(Api::<DaemonSet>::namespaced(client, namespace).patch(name, &parameters, &body).await, title)
            }
        }
    }
}

fn told<T>(written: Result<T, kube::Error>, what: impl FnOnce() -> String) -> Result<(), WriteError> {
    written.map(drop).map_err(|source| WriteError::Kubernetes { what: what(), source: Box::new(source) })
}

/// As [`told`], for a deletion: what is not there is gone.
fn gone<T>(deleted: Result<T, kube::Error>, what: impl FnOnce() -> String) -> Result<(), WriteError> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => told(other, what),
    }
}
