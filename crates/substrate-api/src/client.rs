//! Clients of the API server: one inside the process, and kubeconfigs for those outside.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::authentication::User;
use crate::http::{Caller, handle};
use crate::pki::Identity;
use crate::server::{ApiServer, Error};

impl ApiServer {
    /// A client that calls the server directly, without a socket, as the given user. RBAC applies as to anyone;
    /// `system:masters` may do everything. Streams that need an upgraded connection (exec, port-forward) need a real one.
    pub fn client(self: &Arc<Self>, user: &str, groups: &[&str]) -> kube::Client {
        let server = Arc::clone(self);
        let user = User::authenticated(user, groups);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (server, caller) = (Arc::clone(&server), Caller::InProcess(user.clone()));
            async move { Ok::<_, Infallible>(handle(server, request.map(Body::new), caller).await) }
        });
        kube::Client::new(service, "default")
    }

    /// A kubeconfig (YAML) with a client certificate of `system:masters` for the server at `server`, a URL.
    pub fn admin_kubeconfig(&self, server: &str) -> String {
        self.kubeconfig_of(server, "kubernetes-admin", &self.admin)
    }

    /// A kubeconfig (YAML) with a client certificate that names the given user and groups.
    ///
    /// # Errors
    /// Where the certificate cannot be made.
    pub fn kubeconfig(&self, server: &str, user: &str, groups: &[&str]) -> Result<String, Error> {
        Ok(self.kubeconfig_of(server, user, &self.authority.client(user, groups)?))
    }

    fn kubeconfig_of(&self, server: &str, user: &str, identity: &Identity) -> String {
        let name = &self.cluster_name;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {
                "server": server, "certificate-authority-data": STANDARD.encode(self.ca_certificate_pem())}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": format!("{user}@{name}")}}],
            "users": [{"name": format!("{user}@{name}"), "user": {
                "client-certificate-data": STANDARD.encode(&identity.certificate_pem),
                "client-key-data": STANDARD.encode(&identity.key_pem)}}],
        });
        // JSON is YAML; readers of kubeconfigs take it as such.
        format!("{config:#}\n")
    }
}
