//! A cluster as everything after provisioning sees it: one Kubernetes client and a few facts, no provider.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, ApiCapabilities, Scope};
use kube::{Client, ResourceExt};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;

mod forward;
pub mod ledger;
#[cfg(test)]
mod samples;

pub use forward::PodPort;
use ledger::Ledger;

/// Field manager of everything that the harness applies.
pub const FIELD_MANAGER: &str = "meshproof";

/// Something that a cluster was asked for did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{cluster}: cannot {action}")]
    Api {
        /// Name of the cluster.
        cluster: String,
        /// What was tried, as "apply Service bookinfo/reviews".
        action: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server has no such kind.
    #[error("{cluster}: cannot find the kind {kind}")]
    UnknownKind {
        /// Name of the cluster.
        cluster: String,
        /// The kind.
        kind: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object lacks what every object has.
    #[error("{cluster}: {message}")]
    Object {
        /// Name of the cluster.
        cluster: String,
        /// What is wrong with it.
        message: String,
    },
    /// What listens inside a pod did not answer.
    #[error("{cluster}: cannot ask {pod} at port {port} for {path}: {message}")]
    Ask {
        /// Name of the cluster.
        cluster: String,
        /// Namespace and name of the pod.
        pod: String,
        /// Port of its loopback address.
        port: u16,
        /// What was asked for.
        path: String,
        /// Cause.
        message: String,
    },
    /// A command inside a container could not be run or did not succeed.
    #[error("{cluster}: `{command}` in {pod}: {message}")]
    Exec {
        /// Name of the cluster.
        cluster: String,
        /// Namespace and name of the pod.
        pod: String,
        /// The command line.
        command: String,
        /// Exit status and the tail of standard error.
        message: String,
    },
}

/// Where the file with a cluster's credentials lies and how others reach its API server.
#[derive(Clone, Debug)]
pub struct Access {
    /// Kubeconfig that is valid on this host.
    pub kubeconfig: Utf8PathBuf,
    /// URL of the API server from inside other clusters.
    pub server_for_other_clusters: String,
}

/// The container of a proxy, by Istio's convention.
pub const PROXY_CONTAINER: &str = "istio-proxy";

/// Whether a pod has a proxy.
#[must_use]
pub fn is_meshed(pod: &Pod) -> bool {
    pod.spec.iter().flat_map(|spec| &spec.containers).any(|container| container.name == PROXY_CONTAINER)
}

/// One cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    name: Arc<str>,
    network: Arc<str>,
    access: Arc<Access>,
    client: Client,
    ledger: Option<Ledger>,
    forwards: forward::Forwards,
    resources: Arc<Mutex<HashMap<GroupVersionKind, (ApiResource, ApiCapabilities)>>>,
}

/// What a command in a container wrote, and how it ended.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
    /// Exit code.
    pub code: i32,
}

impl Output {
    /// The last line of standard error.
    #[must_use]
    pub fn last_words(&self) -> &str {
        tail(&self.stderr)
    }
}

impl Cluster {
    /// Wraps a client.
    #[must_use]
    pub fn new(name: &str, network: &str, access: Access, client: Client) -> Self {
        Self {
            name: name.into(),
            network: network.into(),
            access: Arc::new(access),
            client,
            ledger: None,
            forwards: forward::Forwards::default(),
            resources: Arc::default(),
        }
    }

    /// Writes down what is made from here on, as a cluster of somebody else needs it.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// Its name in the topology.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network in the topology.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Its credentials.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The client behind it.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Applies one manifest by server-side apply, taking over fields that someone else owns. On a cluster with a ledger an
    /// object that somebody else made may be left as it is.
    ///
    /// # Errors
    /// [`Error::Object`] for a manifest without kind or name, or that cannot be written down, [`Error::Api`] where the API
    /// server refuses.
    pub async fn apply(&self, manifest: &Value) -> Result<DynamicObject, Error> {
        let Some(ledger) = &self.ledger else { return self.apply_now(manifest).await };
        let manifest = match self.get(manifest).await? {
            Some(there) if ledger.leaves(&there) => return Ok(there),
            Some(there) => ledger.kept(&there, manifest),
            None => ledger.record(&self.name, manifest).map_err(|error| Error::Object {
                cluster: self.name.to_string(),
                message: format!("nothing is made that cannot be written down first: {error}"),
            })?,
        };
        self.apply_now(&manifest).await
    }

    async fn apply_now(&self, manifest: &Value) -> Result<DynamicObject, Error> {
        let (api, name, what) = self.locate(manifest).await?;
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&name, &parameters, &Patch::Apply(manifest))
            .await
            .map_err(|source| self.api_error(format!("apply {what}"), source))
    }

    /// Asks the cluster whether it would apply a manifest: admission included, and nothing is stored.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn would_apply(&self, manifest: &Value) -> Result<(), Error> {
        let (api, name, what) = self.locate(manifest).await?;
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply(FIELD_MANAGER) };
        let asked = api.patch(&name, &parameters, &Patch::Apply(manifest)).await;
        asked.map(drop).map_err(|source| self.api_error(format!("try to apply {what}"), source))
    }

    /// Applies manifests in order.
    ///
    /// # Errors
    /// As [`Self::apply`]; stops at the first error.
    pub async fn apply_all(&self, manifests: &[Value]) -> Result<Vec<DynamicObject>, Error> {
        let mut applied = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            applied.push(self.apply(manifest).await?);
        }
        Ok(applied)
    }

    /// Deletes the object that a manifest names; one that is not there counts as deleted.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn delete(&self, manifest: &Value) -> Result<(), Error> {
        let (api, name, what) = self.locate(manifest).await?;
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(self.api_error(format!("delete {what}"), source)),
        }
    }

    /// Reads the object that a manifest names.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn get(&self, manifest: &Value) -> Result<Option<DynamicObject>, Error> {
        let (api, name, what) = self.locate(manifest).await?;
        api.get_opt(&name).await.map_err(|source| self.api_error(format!("get {what}"), source))
    }

    /// Running pods that match a label selector, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub async fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>, Error> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let listed = api
            .list(&ListParams::default().labels(labels))
            .await
            .map_err(|source| self.api_error(format!("list pods of {namespace} with {labels}"), source))?;
        let mut pods: Vec<Pod> =
            listed.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// Runs a command in a container and returns what it wrote.
    ///
    /// # Errors
    /// [`Error::Exec`] where it cannot be started, does not end within `deadline`, or exits with another code than 0.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        deadline: Duration,
    ) -> Result<Output, Error> {
        let output = self.exec_any(namespace, pod, container, command, deadline).await?;
        if output.code == 0 {
            return Ok(output);
        }
        let message = format!("exit code {}: {}", output.code, output.last_words());
        Err(self.exec_error(namespace, pod, command, message))
    }

    /// Runs a command in a container and returns what it wrote and its exit code, whichever that is.
    ///
    /// # Errors
    /// [`Error::Exec`] where it cannot be started or does not end within `deadline`.
    pub async fn exec_any(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
        deadline: Duration,
    ) -> Result<Output, Error> {
        let failed = |message: String| self.exec_error(namespace, pod, command, message);
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let parameters = AttachParams::default().container(container).stderr(true);
        let run = async {
            let mut process =
                api.exec(pod, command.iter().copied(), &parameters).await.map_err(|error| failed(chain(&error)))?;
            let status = process.take_status().expect("invariant: the status is taken once");
            let mut stdout = process.stdout().expect("invariant: standard output was asked for");
            let mut stderr = process.stderr().expect("invariant: standard error was asked for");
            let mut output = Output::default();
            let mut error_bytes = Vec::new();
            let (read, read_error) =
                tokio::join!(stdout.read_to_end(&mut output.stdout), stderr.read_to_end(&mut error_bytes));
            read.and(read_error).map_err(|error| failed(error.to_string()))?;
            output.stderr = String::from_utf8_lossy(&error_bytes).into_owned();
            let status =
                status.await.ok_or_else(|| failed("the connection ended without an exit status".to_owned()))?;
            output.code = exit_code(&status).ok_or_else(|| {
                let message = status.message.clone().unwrap_or_default();
                failed(format!("{message}: {}", output.last_words()))
            })?;
            Ok(output)
        };
        tokio::time::timeout(deadline, run)
            .await
            .unwrap_or_else(|_elapsed| Err(failed(format!("did not end within {} s", deadline.as_secs_f64()))))
    }

    fn exec_error(&self, namespace: &str, pod: &str, command: &[&str], message: String) -> Error {
        Error::Exec {
            cluster: self.name.to_string(),
            pod: format!("{namespace}/{pod}"),
            command: command.join(" "),
            message,
        }
    }

    /// The API for the kind and namespace of the object that a manifest names, and the object in words.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub async fn api_of(&self, manifest: &Value) -> Result<(Api<DynamicObject>, String), Error> {
        let (api, _, what) = self.locate(manifest).await?;
        Ok((api, what))
    }

    async fn locate(&self, manifest: &Value) -> Result<(Api<DynamicObject>, String, String), Error> {
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
        let object = |message: String| Error::Object { cluster: self.name.to_string(), message };
        let (Some(version), Some(kind), Some(name)) = (text("/apiVersion"), text("/kind"), text("/metadata/name"))
        else {
            return Err(object("a manifest needs apiVersion, kind and metadata.name".to_owned()));
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let (resource, capabilities) = self.resource(&gvk).await?;
        let namespace = text("/metadata/namespace");
        let api = match (capabilities.scope, namespace) {
            (Scope::Cluster, _) => Api::all_with(self.client(), &resource),
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(self.client(), namespace, &resource),
            (Scope::Namespaced, None) => return Err(object(format!("{kind} {name} needs metadata.namespace"))),
        };
        let what = namespace.map_or_else(|| format!("{kind} {name}"), |namespace| format!("{kind} {namespace}/{name}"));
        Ok((api, name.to_owned(), what))
    }

    async fn resource(&self, gvk: &GroupVersionKind) -> Result<(ApiResource, ApiCapabilities), Error> {
        let mut known = self.resources.lock().await;
        if let Some(found) = known.get(gvk) {
            return Ok(found.clone());
        }
        let found = discovery::pinned_kind(&self.client, gvk).await.map_err(|source| self.no_kind(gvk, source))?;
        known.insert(gvk.clone(), found.clone());
        Ok(found)
    }

    fn no_kind(&self, gvk: &GroupVersionKind, source: kube::Error) -> Error {
        match &source {
            kube::Error::Api(status) if !status.is_not_found() => {}
            kube::Error::Api(_) | kube::Error::Discovery(_) => {
                let (cluster, kind) = (self.name.to_string(), gvk.kind.clone());
                return Error::UnknownKind { cluster, kind, source: Box::new(source) };
            }
            _ => {}
        }
        self.api_error(format!("find the kind {}", gvk.kind), source)
    }

    /// Wraps a client error with the name of this cluster.
    #[must_use]
    pub fn api_error(&self, action: String, source: kube::Error) -> Error {
        Error::Api { cluster: self.name.to_string(), action, source: Box::new(source) }
    }
}

/// An error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// The exit code in the status that ends an exec; `None` where the command could not be run.
pub(crate) fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.iter().filter_map(|details| details.causes.as_ref()).flatten();
    let mut codes = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    codes.find_map(|cause| cause.message.as_deref()?.parse().ok())
}

fn tail(text: &str) -> &str {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing on standard error")
}
