//! The API server as a value: its configuration, its parts, and the caches derived from stored objects.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::admission::WebhookCache;
use crate::allocation::{Allocator, Subnet, SubnetError};
use crate::authentication::jwt::TokenKey;
use crate::authorization::PolicyCache;
use crate::backend::{Dialer, NodeBackend};
use crate::bootstrap;
use crate::pause::Gate;
use crate::pki::{Authority, Identity};
use crate::registry::Registry;
use crate::store::Store;

/// What an API server needs to start.
pub struct ApiServerConfig {
    /// Name of the cluster; appears in the kubeconfig, the authority's name and logs.
    pub cluster_name: String,
    /// Addresses of Services, such as `10.96.0.0/16`; `.1` is the API server's own Service.
    pub service_subnet: String,
    /// IP addresses and DNS names under which the server is reached, besides those of `default/kubernetes`,
    /// `localhost` and `127.0.0.1`.
    pub subject_alt_names: Vec<String>,
    /// A directory for files of the server. Nothing is kept there at present: state ends with the process.
    pub state_directory: PathBuf,
    /// How connections to webhooks are opened.
    pub dialer: Arc<dyn Dialer>,
    /// The node that runs the cluster's pods.
    pub node: Arc<dyn NodeBackend>,
}

/// Why an API server did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service subnet is no subnet.
    #[error("service subnet")]
    Subnet(#[from] SubnetError),
    /// A key or certificate could not be made.
    #[error("cannot make the cluster's certificates")]
    Certificate(#[from] rcgen::Error),
    /// The key for ServiceAccount tokens could not be made.
    #[error("cannot make the key for ServiceAccount tokens")]
    TokenKey,
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// Client certificates could not be set up.
    #[error("cannot set up the verification of client certificates")]
    ClientVerifier(#[from] rustls::server::VerifierBuilderError),
    /// An object every cluster starts with was refused.
    #[error("cannot create {what}: {message}")]
    Bootstrap {
        /// The object.
        what: String,
        /// The server's own words.
        message: String,
    },
}

/// A running API server. Share it behind an [`Arc`].
pub struct ApiServer {
    pub(crate) cluster_name: String,
    pub(crate) store: Arc<Store>,
    pub(crate) authority: Authority,
    pub(crate) admin: Identity,
    pub(crate) tokens: TokenKey,
    pub(crate) allocator: Allocator,
    pub(crate) service_subnet: Subnet,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) dialer: Arc<dyn Dialer>,
    pub(crate) node: Arc<dyn NodeBackend>,
    pub(crate) policy: PolicyCache,
    pub(crate) webhooks: WebhookCache,
    pub(crate) gate: Gate,
    registry: Mutex<(u64, Arc<Registry>)>,
    pub(crate) openapi: crate::http::OpenApiCache,
}

impl ApiServer {
    /// Makes keys and certificates and creates the objects that every cluster starts with: namespaces, roles and the
    /// Service `default/kubernetes`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn start(config: ApiServerConfig) -> Result<Arc<ApiServer>, Error> {
        let service_subnet: Subnet = config.service_subnet.parse()?;
        let authority = Authority::new(&config.cluster_name)?;
        let tls = crate::serve::tls_config(&authority, &server_names(service_subnet, config.subject_alt_names))?;
        let server = Arc::new(ApiServer {
            cluster_name: config.cluster_name,
            store: Arc::new(Store::new()),
            admin: authority.client("kubernetes-admin", &["system:masters"])?,
            authority,
            tokens: TokenKey::generate().map_err(|_| Error::TokenKey)?,
            allocator: Allocator::new(service_subnet),
            service_subnet,
            tls,
            dialer: config.dialer,
            node: config.node,
            policy: PolicyCache::default(),
            webhooks: WebhookCache::default(),
            gate: Gate::default(),
            registry: Mutex::new((0, Arc::new(Registry::new([])))),
            openapi: crate::http::OpenApiCache::default(),
        });
        bootstrap::run(&server).await?;
        crate::verbs::spawn_definition_cleanup(&server);
        crate::verbs::spawn_role_aggregation(&server);
        Ok(server)
    }

    /// The served resources, as the stored CustomResourceDefinitions have them at this moment.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        const TABLE: &str = "customresourcedefinitions.apiextensions.k8s.io";
        let mut cached = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = self.store.table_revision(TABLE);
        if cached.0 != revision {
            let (definitions, _) = self.store.list(TABLE, None);
            *cached = (revision, Arc::new(Registry::new(definitions.iter().map(|stored| &stored.value))));
        }
        Arc::clone(&cached.1)
    }

    /// The address of the Service `default/kubernetes`, with its port.
    pub(crate) fn advertised_address(&self) -> String {
        format!("{}:443", self.service_subnet.address(1))
    }

    /// The certificate of the cluster's authority (`ca.crt`), as PEM.
    pub fn ca_certificate_pem(&self) -> String {
        self.authority.pem()
    }
}

fn server_names(subnet: Subnet, extra: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push(subnet.address(1).to_string());
    names.extend(extra);
    names
}
