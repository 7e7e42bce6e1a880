//! The secret service for Envoy on a Unix socket: `default` (certificate and key) and `ROOTCA` (trusted roots), each
//! sent when asked for and again whenever it changes. Also certificates from files beside the proxy. Streams stay open until the secrets exist.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryService;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use crate::certificate::Secrets;
use crate::identity::SecretsWatch;

/// Resource name of the workload's certificate and key.
pub const WORKLOAD: &str = "default";
/// Resource name of the trusted roots.
pub const ROOTS: &str = "ROOTCA";
/// In the place of a file with authorities: those of the system, as in Istio.
const SYSTEM_AUTHORITIES: &str = "system";
/// Where distributions of Linux keep the authorities that they trust: Debian and Alpine, Fedora, openSUSE, and others.
const AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];
const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// The service.
#[derive(Clone)]
pub struct SecretService {
    secrets: SecretsWatch,
}

impl SecretService {
    /// Serves what `secrets` holds.
    #[must_use]
    pub fn new(secrets: SecretsWatch) -> Self {
        Self { secrets }
    }
}

/// The named secret as an Envoy resource; `None` for names that this agent does not serve.
fn resource(name: &str, secrets: &Secrets) -> Option<Any> {
    let kind = match name {
        WORKLOAD => secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(&secrets.chain_pem)),
            private_key: Some(inline(&secrets.key_pem)),
            ..TlsCertificate::default()
        }),
        ROOTS => secret::Type::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(inline(&secrets.roots_pem)),
            ..CertificateValidationContext::default()
        }),
        _ => file(name)?,
    };
    Some(pack_any(Secret { name: name.to_owned(), r#type: Some(kind) }))
}

/// Certificate and key (`file-cert:<certificate>~<key>`) or authorities (`file-root:<file>`, `file-root:system`) from files
/// beside the proxy, by Istio's names; nothing where a file cannot be read. They are read when they are asked for, and again whenever the
/// workload's own certificate is renewed.
fn file(name: &str) -> Option<secret::Type> {
    let read = |path: &str| {
        let text = std::fs::read_to_string(path);
        text.inspect_err(|error| warn!(path, %error, "a file with a certificate cannot be read")).ok()
    };
    if let Some(path) = name.strip_prefix("file-root:") {
        let path = if path == SYSTEM_AUTHORITIES { of_system(&AUTHORITIES)? } else { path };
        let trusted_ca = Some(inline(&read(path)?));
        return Some(secret::Type::ValidationContext(CertificateValidationContext {
            trusted_ca,
            ..CertificateValidationContext::default()
        }));
    }
    let (certificate, key) = name.strip_prefix("file-cert:")?.split_once('~')?;
    Some(secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: Some(inline(&read(certificate)?)),
        private_key: Some(inline(&read(key)?)),
        ..TlsCertificate::default()
    }))
}

/// The file with the authorities of the system. Without one nothing is trusted, and no connection that needs them comes
/// about.
fn of_system<'path>(paths: &[&'path str]) -> Option<&'path str> {
    let found = paths.iter().find(|path| std::path::Path::new(path).is_file());
    if found.is_none() {
        warn!("this system has no file with certificate authorities: install ca-certificates, or set caCertificates");
    }
    found.copied()
}

fn inline(text: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(text.as_bytes().to_vec())), ..DataSource::default() }
}

/// The names a stream asks for, and what it was last given, so that only differences are sent.
#[derive(Default)]
struct Subscription {
    names: BTreeSet<String>,
    sent: BTreeMap<String, Any>,
    responses: u64,
}

impl Subscription {
    /// Replaces the names, as every request of this form does.
    fn replace(&mut self, names: impl IntoIterator<Item = String>) {
        self.names = names.into_iter().collect();
        self.sent.retain(|name, _| self.names.contains(name));
    }

    fn subscribe(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.sent.remove(&name);
            self.names.insert(name);
        }
    }

    fn unsubscribe(&mut self, names: &[String]) {
        for name in names {
            self.names.remove(name);
            self.sent.remove(name);
        }
    }

    /// Resources that differ from what the stream has, and names that nobody serves; both count as sent.
    fn due(&mut self, secrets: &Secrets) -> (Vec<(String, Any)>, Vec<String>) {
        let (mut resources, mut unknown) = (Vec::new(), Vec::new());
        for name in &self.names {
            let Some(resource) = resource(name, secrets) else {
                if self.sent.insert(name.clone(), Any::default()).is_none() {
                    warn!(name, "Envoy asks for a secret that the agent does not serve");
                    unknown.push(name.clone());
                }
                continue;
            };
            if self.sent.get(name) != Some(&resource) {
                self.sent.insert(name.clone(), resource.clone());
                resources.push((name.clone(), resource));
            }
        }
        (resources, unknown)
    }

    fn nonce(&mut self) -> String {
        self.responses += 1;
        self.responses.to_string()
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SecretDiscoveryService for SecretService {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Ok(Response::new(serve(request.into_inner(), self.secrets.clone(), Delta)))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        Ok(Response::new(serve(request.into_inner(), self.secrets.clone(), StateOfTheWorld)))
    }

    async fn fetch_secrets(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("secrets are only streamed"))
    }
}

/// What differs between the two forms of the protocol.
trait Protocol: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    /// Changes the subscription; complains in the log about secrets that Envoy refused.
    fn update(&self, subscription: &mut Subscription, request: Self::Request);
    /// The next response, where one is due.
    fn response(&self, subscription: &mut Subscription, secrets: &Secrets) -> Option<Self::Response>;
}

struct Delta;

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn update(&self, subscription: &mut Subscription, request: DeltaDiscoveryRequest) {
        log_refusal(request.error_detail.as_ref().map(|detail| detail.message.as_str()));
        subscription.unsubscribe(&request.resource_names_unsubscribe);
        subscription.subscribe(request.resource_names_subscribe);
    }

    fn response(&self, subscription: &mut Subscription, secrets: &Secrets) -> Option<DeltaDiscoveryResponse> {
        let (resources, removed_resources) = subscription.due(secrets);
        if resources.is_empty() && removed_resources.is_empty() {
            return None;
        }
        let version = secrets.version.to_string();
        let wrap = |(name, resource)| Resource {
            name,
            version: version.clone(),
            resource: Some(resource),
            ..Resource::default()
        };
        Some(DeltaDiscoveryResponse {
            system_version_info: version.clone(),
            resources: resources.into_iter().map(wrap).collect(),
            type_url: TYPE_URL.to_owned(),
            removed_resources,
            nonce: subscription.nonce(),
            ..DeltaDiscoveryResponse::default()
        })
    }
}

struct StateOfTheWorld;

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn update(&self, subscription: &mut Subscription, request: DiscoveryRequest) {
        log_refusal(request.error_detail.as_ref().map(|detail| detail.message.as_str()));
        subscription.replace(request.resource_names);
    }

    fn response(&self, subscription: &mut Subscription, secrets: &Secrets) -> Option<DiscoveryResponse> {
        let (resources, _unknown) = subscription.due(secrets);
        if resources.is_empty() {
            return None;
        }
        Some(DiscoveryResponse {
            version_info: secrets.version.to_string(),
            resources: resources.into_iter().map(|(_, resource)| resource).collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: subscription.nonce(),
            ..DiscoveryResponse::default()
        })
    }
}

fn log_refusal(message: Option<&str>) {
    if let Some(message) = message {
        warn!(message, "Envoy refused a secret");
    }
}

fn serve<P: Protocol>(requests: Streaming<P::Request>, secrets: SecretsWatch, protocol: P) -> Answers<P::Response> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(answer(requests, secrets, protocol, sender));
    Box::pin(ReceiverStream::new(receiver))
}

async fn answer<P: Protocol>(
    mut requests: Streaming<P::Request>,
    mut secrets: SecretsWatch,
    protocol: P,
    answers: mpsc::Sender<Result<P::Response, Status>>,
) {
    let mut subscription = Subscription::default();
    loop {
        tokio::select! {
            request = requests.message() => match request {
                Ok(Some(request)) => protocol.update(&mut subscription, request),
                Ok(None) | Err(_) => return,
            },
            changed = secrets.changed() => if changed.is_err() { return },
        }
        let current: Option<Arc<Secrets>> = secrets.borrow_and_update().clone();
        let Some(response) = current.and_then(|current| protocol.response(&mut subscription, &current)) else {
            continue;
        };
        if answers.send(Ok(response)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn secrets(version: u64, key: &str, roots: &str) -> Secrets {
        Secrets {
            version,
            key_pem: key.to_owned(),
            chain_pem: "chain".to_owned(),
            issuer_root_pem: roots.to_owned(),
            roots_pem: roots.to_owned(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
        }
    }

    fn request(names: &[&str]) -> DiscoveryRequest {
        DiscoveryRequest {
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..DiscoveryRequest::default()
        }
    }

    #[test]
    fn files_are_served_by_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("own.pem"), "certificate").unwrap();
        std::fs::write(path("own.key"), "key").unwrap();
        let workload = secrets(1, "k", "r");
        let own = format!("file-cert:{}~{}", path("own.pem"), path("own.key"));
        let roots = format!("file-root:{}", path("own.pem"));
        assert!(resource(&own, &workload).is_some() && resource(&roots, &workload).is_some());
        assert_eq!(resource(&format!("file-root:{}", path("none.pem")), &workload), None);
        assert_eq!(resource("file-cert:/a", &workload), None);
    }

    #[test]
    fn the_authorities_of_the_system_are_where_its_distribution_keeps_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authorities.pem").display().to_string();
        let paths = ["/nowhere/authorities.pem", &path];
        assert_eq!(of_system(&paths), None);
        std::fs::write(&path, "authorities").unwrap();
        assert_eq!(of_system(&paths), Some(path.as_str()));
    }

    #[test]
    fn an_acknowledgement_is_not_answered() {
        let mut subscription = Subscription::default();
        StateOfTheWorld.update(&mut subscription, request(&[WORKLOAD]));
        let first = StateOfTheWorld.response(&mut subscription, &secrets(1, "k1", "r1")).unwrap();
        assert_eq!((first.version_info.as_str(), first.resources.len()), ("1", 1));
        StateOfTheWorld.update(&mut subscription, request(&[WORKLOAD]));
        assert!(StateOfTheWorld.response(&mut subscription, &secrets(1, "k1", "r1")).is_none());
    }

    #[test]
    fn only_what_changed_is_pushed() {
        let mut subscription = Subscription::default();
        StateOfTheWorld.update(&mut subscription, request(&[WORKLOAD, ROOTS]));
        assert_eq!(StateOfTheWorld.response(&mut subscription, &secrets(1, "k1", "r1")).unwrap().resources.len(), 2);
        let rotated = StateOfTheWorld.response(&mut subscription, &secrets(2, "k2", "r1")).unwrap();
        assert_eq!(rotated.resources, [resource(WORKLOAD, &secrets(2, "k2", "r1")).unwrap()]);
        let roots = StateOfTheWorld.response(&mut subscription, &secrets(3, "k2", "r2")).unwrap();
        assert_eq!(roots.resources, [resource(ROOTS, &secrets(3, "k2", "r2")).unwrap()]);
    }

    #[test]
    fn delta_answers_unknown_names_once_with_a_removal() {
        let mut subscription = Subscription::default();
        let subscribe = DeltaDiscoveryRequest {
            resource_names_subscribe: vec!["kubernetes://x".to_owned(), ROOTS.to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        Delta.update(&mut subscription, subscribe.clone());
        let response = Delta.response(&mut subscription, &secrets(1, "k", "r")).unwrap();
        assert_eq!(
            (response.resources.len(), response.removed_resources.as_slice()),
            (1, ["kubernetes://x".to_owned()].as_slice())
        );
        assert!(Delta.response(&mut subscription, &secrets(1, "k", "r")).is_none());
        Delta.update(&mut subscription, subscribe);
        assert!(
            Delta.response(&mut subscription, &secrets(1, "k", "r")).is_some(),
            "a renewed subscription is answered anew"
        );
    }
}
