//! The authority that is in force: the secret `cacerts` where it exists, else a self-signed root in `istio-ca-secret`.
//! Follows changes of `cacerts`; a change that makes no authority is refused loudly and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use mesh_types::SpiffeId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::keys::{KeyFiles, KeysError, SigningKeys};
use super::sign::{self, SignError};

/// Secret with keys that were brought in.
pub const PLUGGED_IN: &str = "cacerts";
/// Secret with the keys that istiod makes itself.
pub const SELF_SIGNED: &str = "istio-ca-secret";

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The API server.
    #[error("secret {secret}: {source}")]
    Kubernetes {
        /// Which secret.
        secret: &'static str,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The secret holds no authority.
    #[error("secret {secret}: {source}")]
    Keys {
        /// Which secret.
        secret: &'static str,
        /// The cause.
        source: KeysError,
    },
}

/// Signs for the mesh.
pub struct Authority {
    keys: watch::Sender<Arc<SigningKeys>>,
}

impl Authority {
    /// An authority with fixed keys.
    #[must_use]
    pub fn new(keys: SigningKeys) -> Self {
        Self { keys: watch::Sender::new(Arc::new(keys)) }
    }

    /// Loads or makes the keys, then follows the secret `cacerts` in `namespace` until cancelled.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn load_and_watch(
        client: Client,
        namespace: &str,
        trust_domain: &str,
        cancel: CancellationToken,
    ) -> Result<Arc<Self>, AuthorityError> {
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let authority = Arc::new(Self::new(load(&secrets, trust_domain).await?));
        let follower = Arc::clone(&authority);
        tokio::spawn(async move { cancel.run_until_cancelled(follow(&secrets, &follower)).await });
        Ok(authority)
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> Arc<SigningKeys> {
        self.keys.borrow().clone()
    }

    /// Announces every change of keys.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<SigningKeys>> {
        self.keys.subscribe()
    }

    /// Issues a workload certificate: leaf, intermediates where there are any, roots.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(
        &self,
        csr_pem: &str,
        identity: &SpiffeId,
        lifetime: Option<Duration>,
    ) -> Result<Vec<String>, SignError> {
        sign::workload(&self.keys(), csr_pem, &identity.to_string(), lifetime, SystemTime::now())
    }

    fn replace(&self, keys: SigningKeys) {
        self.keys.send_if_modified(|current| {
            let changed = current.files() != keys.files();
            if changed {
                *current = Arc::new(keys);
            }
            changed
        });
    }
}

async fn load(secrets: &Api<Secret>, trust_domain: &str) -> Result<SigningKeys, AuthorityError> {
    if let Some(secret) = get(secrets, PLUGGED_IN).await? {
        info!(secret = PLUGGED_IN, "signing with the keys that were brought in");
        return keys(PLUGGED_IN, &secret);
    }
    if let Some(secret) = get(secrets, SELF_SIGNED).await? {
        return keys(SELF_SIGNED, &secret);
    }
    let files = SigningKeys::self_signed(trust_domain, SystemTime::now())
        .map_err(|source| AuthorityError::Keys { secret: SELF_SIGNED, source })?;
    match secrets.create(&PostParams::default(), &to_secret(&files)).await {
        Ok(_) => info!(secret = SELF_SIGNED, "no keys were brought in; made a self-signed root"),
        // Another istiod was faster; its root is everybody's.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(source) => return Err(AuthorityError::Kubernetes { secret: SELF_SIGNED, source: Box::new(source) }),
    }
    match get(secrets, SELF_SIGNED).await? {
        Some(secret) => keys(SELF_SIGNED, &secret),
        None => SigningKeys::load(files).map_err(|source| AuthorityError::Keys { secret: SELF_SIGNED, source }),
    }
}

async fn get(secrets: &Api<Secret>, name: &'static str) -> Result<Option<Secret>, AuthorityError> {
    secrets.get_opt(name).await.map_err(|source| AuthorityError::Kubernetes { secret: name, source: Box::new(source) })
}

fn keys(name: &'static str, secret: &Secret) -> Result<SigningKeys, AuthorityError> {
    SigningKeys::load(from_secret(secret)).map_err(|source| AuthorityError::Keys { secret: name, source })
}

/// The files of a secret. One that istiod made itself may leave out the root, which is then the signing certificate.
fn from_secret(secret: &Secret) -> KeyFiles {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.map(|ByteString(bytes)| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    };
    let mut files = KeyFiles {
        ca_cert: text("ca-cert.pem"),
        ca_key: text("ca-key.pem"),
        root_cert: text("root-cert.pem"),
        cert_chain: text("cert-chain.pem"),
    };
    if files.root_cert.is_empty() && secret.metadata.name.as_deref() == Some(SELF_SIGNED) {
        files.root_cert.clone_from(&files.ca_cert);
    }
    files
}

fn to_secret(files: &KeyFiles) -> Secret {
    let entry = |key: &str, text: &str| (key.to_owned(), ByteString(text.as_bytes().to_vec()));
    let data = BTreeMap::from([
        entry("ca-cert.pem", &files.ca_cert),
        entry("ca-key.pem", &files.ca_key),
        entry("root-cert.pem", &files.root_cert),
        entry("cert-chain.pem", &files.cert_chain),
    ]);
    Secret {
        metadata: ObjectMeta { name: Some(SELF_SIGNED.to_owned()), ..ObjectMeta::default() },
        type_: Some("istio.io/ca-root".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

async fn follow(secrets: &Api<Secret>, authority: &Authority) {
    let config = watcher::Config::default().fields(&format!("metadata.name={PLUGGED_IN}"));
    let mut events = watcher(secrets.clone(), config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret)) => take_up(authority, &secret),
            Ok(watcher::Event::Delete(_)) => warn!(secret = PLUGGED_IN, "deleted; signing goes on with its keys"),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => warn!(secret = PLUGGED_IN, %error, "cannot be watched at the moment"),
        }
    }
}

fn take_up(authority: &Authority, secret: &Secret) {
    match keys(PLUGGED_IN, secret) {
        Ok(keys) => authority.replace(keys),
        Err(error) => error!(%error, "the changed keys are not used"),
    }
}
