//! Keeps the workload's certificate valid and tells the secret service about every change: requests it from the control
//! plane, renews it before it expires, and takes up new roots from the mounted bundle.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::RngExt as _;
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::certificate::{self, CertificateError, Secrets};
use crate::directory_watch::DirectoryWatch;
use crate::proto::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use crate::settings::Settings;
use crate::stored_certificate;
use crate::upstream::{self, UpstreamError};

/// What the secret service serves: nothing until the first certificate is there.
pub type SecretsWatch = watch::Receiver<Option<Arc<Secrets>>>;

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Key, request or answer are unusable.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The control plane is out of reach.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The control plane refused.
    #[error("the certificate service answered {:?}: {}", .0.code(), .0.message())]
    Refused(#[from] tonic::Status),
    /// A file of the pod cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// Runs for ever; publishes into `secrets`.
pub async fn run(settings: Arc<Settings>, secrets: watch::Sender<Option<Arc<Secrets>>>) {
    let mut roots = DirectoryWatch::new(parent(&settings.paths.root_certificate));
    if let Some((kept, renewal)) = kept(&settings) {
        info!(renewal_in = ?renewal, "the certificate of before is still good");
        publish(&secrets, kept);
        wait_for_renewal(&settings, &secrets, &mut roots, renewal).await;
    }
    loop {
        let current = secrets.borrow().clone();
        let issued = issue_until_success(&settings, current.as_deref()).await;
        let renewal = renewal_in(&settings, SystemTime::now(), &issued);
        info!(renewal_in = ?renewal, "workload certificate issued");
        keep(&settings, &issued);
        publish(&secrets, issued);
        wait_for_renewal(&settings, &secrets, &mut roots, renewal).await;
    }
}

fn renewal_in(settings: &Settings, issued: SystemTime, secrets: &Secrets) -> Duration {
    let jitter = rand::rng().random_range(-1.0..=1.0);
    certificate::renewal_delay(issued, secrets.not_after, settings.renewal_ratio, jitter)
}

/// The certificate that an earlier run has left on the machine, and when it has to be renewed.
fn kept(settings: &Settings) -> Option<(Secrets, Duration)> {
    let directory = settings.paths.provisioned.as_deref()?;
    let now = SystemTime::now();
    let loaded = read_roots(settings)
        .map_err(|error| error.to_string())
        .and_then(|roots| stored_certificate::load(directory, &roots, now).map_err(|error| error.to_string()));
    match loaded {
        Ok(secrets) => {
            let age = now.duration_since(secrets.not_before).unwrap_or_default();
            let renewal = renewal_in(settings, secrets.not_before, &secrets).saturating_sub(age);
            Some((secrets, renewal))
        }
        Err(reason) => {
            info!(directory = %directory.display(), reason, "no certificate of before; the token has to do");
            None
        }
    }
}

fn keep(settings: &Settings, secrets: &Secrets) {
    let Some(directory) = settings.paths.output.as_deref() else { return };
    if let Err(error) = stored_certificate::store(directory, secrets) {
        // The proxy works without; the machine needs a fresh token after its next start.
        warn!(directory = %directory.display(), %error, "the certificate cannot be kept");
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

async fn issue_until_success(settings: &Settings, current: Option<&Secrets>) -> Secrets {
    let mut backoff = Backoff::new(Duration::from_secs(5));
    loop {
        match issue(settings, current).await {
            Ok(secrets) => return secrets,
            Err(error) => warn!(%error, "no workload certificate yet"),
        }
        backoff.pause().await;
    }
}

/// Asks once for a certificate for a fresh key.
///
/// # Errors
/// [`IdentityError`].
pub async fn issue(settings: &Settings, current: Option<&Secrets>) -> Result<Secrets, IdentityError> {
    let id =
        format!("spiffe://{}/ns/{}/sa/{}", settings.trust_domain, settings.pod_namespace, settings.service_account);
    let request = certificate::signing_request(&id)?;
    let by_certificate = upstream::certificate_suffices(settings, current);
    // A certificate of an authority that was replaced would be refused, and then never be renewed; a token is not.
    let presented = current.filter(|_| by_certificate || !settings.paths.token.exists());
    let channel = upstream::connect(settings, &settings.ca_address, presented).await?;
    let mut message = tonic::Request::new(IstioCertificateRequest {
        csr: request.csr_pem,
        validity_duration: settings.certificate_lifetime.as_secs().try_into().unwrap_or(i64::MAX),
    });
    authenticate(settings, by_certificate, message.metadata_mut());
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let codec: tonic_prost::ProstCodec<IstioCertificateRequest, IstioCertificateResponse> =
        tonic_prost::ProstCodec::default();
    let answer =
        client.unary(message, http::uri::PathAndQuery::from_static(CREATE_CERTIFICATE), codec).await?.into_inner();
    Ok(certificate::secrets(request.key_pem, &answer.cert_chain, &read_roots(settings)?)?)
}

/// Adds the token, where there is one and the certificate does not do without, and the cluster to the metadata of a
/// call. The token is read anew for every call, because the kubelet replaces it.
pub fn authenticate(settings: &Settings, by_certificate: bool, metadata: &mut tonic::metadata::MetadataMap) {
    if !by_certificate
        && let Ok(token) = std::fs::read_to_string(&settings.paths.token)
        && let Ok(value) = MetadataValue::try_from(format!("Bearer {}", token.trim()))
    {
        metadata.insert("authorization", value);
    }
    if let Ok(value) = MetadataValue::try_from(settings.cluster_id()) {
        metadata.insert("clusterid", value);
    }
}

fn read_roots(settings: &Settings) -> Result<String, IdentityError> {
    let path = &settings.paths.root_certificate;
    std::fs::read_to_string(path).map_err(|source| IdentityError::File { path: path.display().to_string(), source })
}

fn publish(secrets: &watch::Sender<Option<Arc<Secrets>>>, mut next: Secrets) {
    secrets.send_modify(|current| {
        next.version = current.as_ref().map_or(0, |current| current.version) + 1;
        *current = Some(Arc::new(next));
    });
}

/// Returns when the certificate is due, or at once when the mounted bundle no longer holds the root that issued it.
async fn wait_for_renewal(
    settings: &Settings,
    secrets: &watch::Sender<Option<Arc<Secrets>>>,
    roots: &mut DirectoryWatch,
    renewal: Duration,
) {
    let due = tokio::time::sleep(renewal);
    tokio::pin!(due);
    loop {
        tokio::select! {
            () = &mut due => return,
            () = roots.changed() => {
                if take_up_roots(settings, secrets) == RootChange::IssuerGone {
                    info!("the root of the workload certificate has left the mesh's bundle; renewing now");
                    return;
                }
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum RootChange {
    None,
    Published,
    IssuerGone,
}

fn take_up_roots(settings: &Settings, secrets: &watch::Sender<Option<Arc<Secrets>>>) -> RootChange {
    let Some(current) = secrets.borrow().clone() else { return RootChange::None };
    let merged = read_roots(settings).and_then(|bundle| Ok((merge(&current, &bundle)?, bundle)));
    let (merged, bundle) = match merged {
        Ok(both) => both,
        Err(error) => {
            warn!(%error, "the changed bundle of roots is not used");
            return RootChange::None;
        }
    };
    let gone = !certificate::bundle_holds(&bundle, &current.issuer_root_pem);
    if merged != current.roots_pem {
        info!("new roots taken up");
        publish(secrets, Secrets { roots_pem: merged, ..(*current).clone() });
        return if gone { RootChange::IssuerGone } else { RootChange::Published };
    }
    if gone { RootChange::IssuerGone } else { RootChange::None }
}

fn merge(current: &Secrets, bundle: &str) -> Result<String, CertificateError> {
    certificate::merge_roots(&current.issuer_root_pem, bundle)
}
