//! Calling a webhook: address, TLS, one POST, within its time limit. Says in Kubernetes' words what went wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::webhook::Webhook;
use crate::server::ApiServer;
use crate::store::Key;

/// The largest answer that is read, in bytes.
const LIMIT: usize = 3 * 1024 * 1024;

/// Where a webhook is, and whom it must prove to be.
pub(super) struct Endpoint {
    place: Place,
    tls: Arc<rustls::ClientConfig>,
}

enum Place {
    Service { namespace: String, name: String, port: u16, path: String },
    Url { host: String, port: u16, path: String },
}

impl Endpoint {
    /// Reads a `clientConfig`; `None` where it cannot be read.
    pub(super) fn read(client: &Value) -> Option<Endpoint> {
        Some(Endpoint { place: place(client)?, tls: tls(client["caBundle"].as_str().unwrap_or_default())? })
    }

    fn host(&self) -> String {
        match &self.place {
            Place::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
            Place::Url { host, .. } => host.clone(),
        }
    }

    fn port(&self) -> u16 {
        match &self.place {
            Place::Service { port, .. } | Place::Url { port, .. } => *port,
        }
    }

    fn path(&self) -> &str {
        match &self.place {
            Place::Service { path, .. } | Place::Url { path, .. } => path,
        }
    }
}

fn place(client: &Value) -> Option<Place> {
    let service = &client["service"];
    if service.is_object() {
        let text = |key: &str| service[key].as_str().map(str::to_owned);
        return Some(Place::Service {
            namespace: text("namespace")?,
            name: text("name")?,
            port: service["port"].as_u64().unwrap_or(443).try_into().ok()?,
            path: text("path").filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned()),
        });
    }
    let uri: http::Uri = client["url"].as_str()?.parse().ok()?;
    Some(Place::Url {
        host: uri.host()?.trim_matches(['[', ']']).to_owned(),
        port: uri.port_u16().unwrap_or(443),
        path: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
    })
}

/// TLS that trusts exactly the given bundle (base64 of PEM).
fn tls(bundle: &str) -> Option<Arc<rustls::ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let pem = STANDARD.decode(bundle).unwrap_or_default();
    for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
        // A certificate that is unfit as a root is left out; the handshake then names the problem.
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Sends a review and answers with the body of a 200.
pub(super) async fn post(server: &ApiServer, webhook: &Webhook, body: &str) -> Result<Bytes, String> {
    let endpoint = &webhook.endpoint;
    let separator = if endpoint.path().contains('?') { '&' } else { '?' };
    let target = format!("{}{separator}timeout={}s", endpoint.path(), webhook.timeout.as_secs());
    let url = format!("https://{}:{}{target}", endpoint.host(), endpoint.port());
    let outcome = tokio::time::timeout(webhook.timeout, exchange(server, endpoint, &target, body)).await;
    match outcome {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(problem)) => Err(format!("Post \"{url}\": {problem}")),
        Err(_) => Err(format!("Post \"{url}\": context deadline exceeded")),
    }
}

async fn exchange(server: &ApiServer, endpoint: &Endpoint, target: &str, body: &str) -> Result<Bytes, String> {
    let stream = connect(server, endpoint).await?;
    let name = ServerName::try_from(endpoint.host()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(Arc::clone(&endpoint.tls));
    let stream =
        connector.connect(name, stream).await.map_err(|error| format!("tls: failed to verify certificate: {error}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to a webhook ended early");
        }
    });
    let request = http::Request::post(target)
        .header(HOST, format!("{}:{}", endpoint.host(), endpoint.port()))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(Bytes::from(body.to_owned())))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(|error| error.to_string())?.to_bytes();
    if !status.is_success() {
        let text = String::from_utf8_lossy(&body[..body.len().min(512)]).trim().to_owned();
        return Err(format!(
            "an error on the server ({text:?}) has prevented the request from succeeding: HTTP {status}"
        ));
    }
    Ok(body)
}

async fn connect(server: &ApiServer, endpoint: &Endpoint) -> Result<TcpStream, String> {
    let address = match &endpoint.place {
        Place::Service { namespace, name, port, .. } => service_address(server, namespace, name, *port)?,
        Place::Url { host, port, .. } => {
            let mut found = tokio::net::lookup_host((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
            found.next().ok_or_else(|| format!("lookup {host}: no such host"))?
        }
    };
    server.dialer.dial(address).await.map_err(|error| format!("dial tcp {address}: {}", dial_words(&error)))
}

/// The cluster address of a Service that has the port.
fn service_address(server: &ApiServer, namespace: &str, name: &str, port: u16) -> Result<SocketAddr, String> {
    let service = server.store.get("services", &Key::new(namespace, name));
    let service = service.ok_or_else(|| format!("service \"{name}\" not found"))?;
    let spec = &service.value["spec"];
    let mut ports = spec["ports"].as_array().into_iter().flatten();
    if !ports.any(|entry| entry["port"] == port) {
        return Err(format!("no service port {port} found for service \"{name}\""));
    }
    let address: Option<Ipv4Addr> = spec["clusterIP"].as_str().and_then(|text| text.parse().ok());
    let address = address.ok_or_else(|| format!("service \"{name}\" has no cluster address"))?;
    Ok(SocketAddr::from((address, port)))
}

fn dial_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}
