//! Asks a cluster for what the files need, and writes them.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service, ServiceAccount};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use mesh_types::{Kind, Metadata, Object, WorkloadGroup};
use serde_json::Value;

use super::files::{Facts, Files, FormError, Host};

/// Namespace of the control plane.
const ROOT_NAMESPACE: &str = "istio-system";
/// Audience of tokens for the control plane.
pub const AUDIENCE: &str = "istio-ca";
/// ConfigMap with the roots of the mesh, in every namespace, and its key.
const ROOTS: (&str, &str) = ("istio-ca-root-cert", "root-cert.pem");
/// ConfigMap with the configuration of the mesh, and its key.
const MESH: (&str, &str) = ("istio", "mesh");

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A WorkloadGroup that is not read from the cluster.
    pub group_file: Option<Utf8PathBuf>,
    /// Name of the WorkloadGroup.
    pub group: String,
    /// Namespace of the WorkloadGroup.
    pub namespace: String,
    /// Id of the cluster.
    pub cluster: String,
    /// Address at which the control plane is reached, instead of that of the Service.
    pub ingress_address: Option<IpAddr>,
    /// The Service at which it is reached, `name` or `name.namespace`.
    pub ingress_service: String,
    /// Address that the machine is known by.
    pub address: Option<IpAddr>,
    /// Whether it becomes a WorkloadEntry by itself.
    pub automatic_registration: bool,
    /// Whether its DNS queries are answered beside it.
    pub capture_dns: bool,
    /// Services that the file `hosts` names, `name.namespace` each.
    pub hosts: Vec<String>,
    /// Whom the token is for: [`AUDIENCE`].
    pub audience: String,
    /// For how long the token is good, in seconds.
    pub token_seconds: i64,
}

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("cannot {action}")]
    Api {
        /// What was tried.
        action: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something is not there.
    #[error("{what} is not there; {cure}")]
    Missing {
        /// What.
        what: String,
        /// What to do.
        cure: String,
    },
    /// The WorkloadGroup is not one.
    #[error("{place}: {problem}")]
    Group {
        /// Where it comes from.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A text of the cluster is not of its form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A file.
    #[error("{path}")]
    File {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    fn missing(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), cure: cure.into() }
    }

    fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source: Box::new(source) }
    }
}

/// The service account of the members of a group.
#[must_use]
pub fn service_account(group: &WorkloadGroup) -> &str {
    let account = group.template.service_account.as_str();
    if account.is_empty() { "default" } else { account }
}

/// Generates the files of a machine.
///
/// # Errors
/// [`Error`]; nothing is written.
pub async fn configure(client: &Client, wanted: &Wanted) -> Result<Files, Error> {
    namespace(client, &wanted.namespace).await?;
    let (metadata, group) = match &wanted.group_file {
        Some(path) => group_of_file(path, wanted)?,
        None => group_of_cluster(client, wanted).await?,
    };
    let roots =
        key_of(client, &wanted.namespace, ROOTS, "is the mesh installed, and its control plane running?").await?;
    let mesh = key_of(client, ROOT_NAMESPACE, MESH, "is the mesh installed in this cluster?").await?;
    let mesh: Value = serde_saphyr::from_str(&mesh).map_err(|error| FormError {
        place: format!("ConfigMap {ROOT_NAMESPACE}/{}: key {}", MESH.0, MESH.1),
        problem: error.to_string(),
    })?;
    let gateway = match wanted.ingress_address {
        Some(address) => address,
        None => gateway(client, &wanted.ingress_service).await?,
    };
    let mut hosts = Vec::new();
    for name in &wanted.hosts {
        hosts.push(host(client, name, &wanted.namespace).await?);
    }
    let token = token(client, &wanted.namespace, service_account(&group), wanted).await?;
    let facts = Facts {
        metadata,
        group,
        mesh,
        cluster: wanted.cluster.clone(),
        gateway,
        address: wanted.address,
        automatic_registration: wanted.automatic_registration,
        capture_dns: wanted.capture_dns,
        hosts,
        roots,
        token,
    };
    Ok(Files::of(&facts)?)
}

async fn namespace(client: &Client, name: &str) -> Result<(), Error> {
    let found = Api::<Namespace>::all(client.clone()).get_opt(name).await;
    match found.map_err(Error::api(format!("read the namespace {name}")))? {
        Some(_) => Ok(()),
        None => Err(Error::missing(format!("the namespace {name}"), "create it, or give another by --namespace")),
    }
}

async fn group_of_cluster(client: &Client, wanted: &Wanted) -> Result<(Metadata, WorkloadGroup), Error> {
    let Wanted { group, namespace, .. } = wanted;
    let what = format!("WorkloadGroup {namespace}/{group}");
    let version = Kind::WorkloadGroup.versions().first().copied().unwrap_or("v1");
    let kind = GroupVersionKind::gvk(Kind::WorkloadGroup.group(), version, Kind::WorkloadGroup.name());
    let resource = ApiResource::from_gvk_with_plural(&kind, Kind::WorkloadGroup.plural());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let Some(object) = api.get_opt(group).await.map_err(Error::api(format!("read {what}")))? else {
        let others = api.list(&kube::api::ListParams::default()).await.map(|list| list.items).unwrap_or_default();
        let names: Vec<String> = others.iter().map(kube::ResourceExt::name_any).collect();
        let cure = if names.is_empty() {
            "apply it first, or give its file by -f".to_owned()
        } else {
            format!("the namespace has {}", names.join(", "))
        };
        return Err(Error::missing(what, cure));
    };
    let value = serde_json::to_value(object).unwrap_or_default();
    typed(value, &what)
}

fn group_of_file(path: &Utf8Path, wanted: &Wanted) -> Result<(Metadata, WorkloadGroup), Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let wrong = |problem: String| Error::Group { place: path.to_string(), problem };
    let mut value: Value = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if value["kind"] != Kind::WorkloadGroup.name() {
        return Err(wrong(format!("is of kind {}, and not WorkloadGroup", value["kind"])));
    }
    if value["metadata"]["namespace"].is_null() {
        value["metadata"]["namespace"] = wanted.namespace.clone().into();
    }
    typed(value, path.as_str())
}

fn typed(mut value: Value, place: &str) -> Result<(Metadata, WorkloadGroup), Error> {
    value["kind"] = Kind::WorkloadGroup.name().into();
    let wrong = |problem: String| Error::Group { place: place.to_owned(), problem };
    if let Err(errors) = mesh_types::validate(&value) {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(wrong(all.join("; ")));
    }
    let object: Object<WorkloadGroup> = Object::from_value(value).map_err(|error| wrong(error.to_string()))?;
    Ok((object.metadata, object.spec))
}

async fn key_of(client: &Client, namespace: &str, (name, key): (&str, &str), cure: &str) -> Result<String, Error> {
    let what = format!("ConfigMap {namespace}/{name}");
    let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await;
    let map = found.map_err(Error::api(format!("read {what}")))?.ok_or_else(|| Error::missing(&*what, cure))?;
    let value = map.data.and_then(|mut data| data.remove(key));
    value.ok_or_else(|| Error::missing(format!("the key {key} of {what}"), cure))
}

/// The address of a Service by which the control plane is reached from outside.
async fn gateway(client: &Client, service: &str) -> Result<IpAddr, Error> {
    let (name, namespace) = service.split_once('.').unwrap_or((service, ROOT_NAMESPACE));
    let what = format!("Service {namespace}/{name}");
    let cure =
        "install an east-west gateway, or give the address at which the control plane is reached by --ingress-address";
    let found = Api::<Service>::namespaced(client.clone(), namespace).get_opt(name).await;
    let found = found.map_err(Error::api(format!("read {what}")))?.ok_or_else(|| Error::missing(&*what, cure))?;
    let given = addresses(&found).into_iter().find_map(|address| address.parse().ok());
    given.ok_or_else(|| Error::missing(format!("an address of {what}"), cure))
}

/// Address and names of a Service; one without a namespace is of the group's own.
async fn host(client: &Client, service: &str, own: &str) -> Result<Host, Error> {
    let (name, namespace) = service.split_once('.').unwrap_or((service, own));
    let what = format!("Service {namespace}/{name}");
    let cure = "create it, or leave it out of the hosts";
    let found = Api::<Service>::namespaced(client.clone(), namespace).get_opt(name).await;
    let found = found.map_err(Error::api(format!("read {what}")))?.ok_or_else(|| Error::missing(&*what, cure))?;
    let address = found.spec.and_then(|spec| spec.cluster_ip).and_then(|address| address.parse().ok());
    let no_address = || Error::missing(format!("an address of {what}"), "a Service without one has no line in `hosts`");
    Ok(Host { address: address.ok_or_else(no_address)?, service: name.to_owned(), namespace: namespace.to_owned() })
}

fn addresses(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default();
    let external = service.spec.as_ref().and_then(|spec| spec.external_ips.clone()).unwrap_or_default();
    ingress.into_iter().filter_map(|one| one.ip).chain(external).collect()
}

async fn token(client: &Client, namespace: &str, account: &str, wanted: &Wanted) -> Result<String, Error> {
    let what = format!("ServiceAccount {namespace}/{account}");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    if accounts.get_opt(account).await.map_err(Error::api(format!("read {what}")))?.is_none() {
        return Err(Error::missing(what, "create it, or name another in the template of the WorkloadGroup"));
    }
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![wanted.audience.clone()]),
            expiration_seconds: Some(wanted.token_seconds),
            ..Default::default()
        }),
        ..Default::default()
    };
    let action = format!("request a token for {what}");
    let issued = accounts.create_token_request(account, &PostParams::default(), &request).await;
    let issued = issued.map_err(Error::api(&*action))?.status.and_then(|status| status.token);
    issued.ok_or_else(|| Error::missing("the token in the API server's answer", "look at the API server's log"))
}

/// Writes the files into a directory, which is made where it is missing.
///
/// # Errors
/// [`Error::File`].
pub fn write(directory: &Utf8Path, files: &Files) -> Result<(), Error> {
    std::fs::create_dir_all(directory).map_err(|source| Error::File { path: directory.to_owned(), source })?;
    for (name, mode, content) in files.list() {
        let path = directory.join(name);
        let open = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&path);
        let written = open.and_then(|mut file| {
            // A file that was there keeps its mode otherwise, and the token would be for everybody to read.
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.write_all(content.as_bytes())
        });
        written.map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
