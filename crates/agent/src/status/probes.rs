//! The application's own probes, performed by the agent: under STRICT mutual TLS the kubelet cannot reach the
//! application, but it can reach the agent. Paths are `/app-health/<container>/{readyz,livez,startupz}`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};

use super::{Reply, text};
use crate::http_client::{self, CallError};
use crate::insecure_tls;
use crate::proto::{HEALTH_CHECK, HealthCheckRequest, HealthCheckResponse};

/// Connections from this address to the pod's own address pass capture and reach the application as it listens.
const PROBE_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const SERVING: i32 = 1;

/// The environment names probes that cannot be performed.
#[derive(Debug, thiserror::Error)]
#[error("ISTIO_KUBE_APP_PROBERS: {0}")]
pub struct ProbeConfigError(String);

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prober {
    #[serde(flatten)]
    action: Action,
    #[serde(default = "one")]
    timeout_seconds: u64,
}

fn one() -> u64 {
    1
}

/// What is asked over the network.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Action {
    HttpGet(HttpGet),
    TcpSocket(TcpSocketAction),
    Grpc(Grpc),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpGet {
    #[serde(default)]
    path: String,
    port: u16,
    #[serde(default)]
    host: String,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TcpSocketAction {
    port: u16,
    #[serde(default)]
    host: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Grpc {
    port: u16,
    #[serde(default)]
    service: Option<String>,
}

/// The probes by path.
#[derive(Debug, Default)]
pub struct AppProbers(BTreeMap<String, Prober>);

impl AppProbers {
    /// Parses the value of `ISTIO_KUBE_APP_PROBERS`.
    ///
    /// # Errors
    /// [`ProbeConfigError`].
    pub fn parse(text: Option<&str>) -> Result<Self, ProbeConfigError> {
        let Some(text) = text else { return Ok(Self::default()) };
        serde_json::from_str(text).map(Self).map_err(|error| ProbeConfigError(error.to_string()))
    }

    /// Performs the probe at `path` against the application at `pod`.
    pub(super) async fn answer(&self, path: &str, headers: &HeaderMap, pod: IpAddr) -> Reply {
        let Some(prober) = self.0.get(path) else {
            return text(StatusCode::NOT_FOUND, format!("no probe is configured at {path}"));
        };
        let deadline = Duration::from_secs(prober.timeout_seconds.max(1));
        match http_client::within(deadline, perform(&prober.action, headers, pod)).await {
            Ok(status) => text(status, ""),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

/// Asks the application at `pod`; the answer of anything but HTTP is put as a status.
pub(crate) async fn perform(action: &Action, headers: &HeaderMap, pod: IpAddr) -> Result<StatusCode, CallError> {
    match action {
        Action::HttpGet(get) => http_get(get, headers, pod).await,
        Action::TcpSocket(tcp) => connect(host(&tcp.host, pod), tcp.port).await.map(|_| StatusCode::OK),
        Action::Grpc(grpc) => grpc_check(grpc, pod).await,
    }
}

/// The probe's own host where it gives an address, else the pod.
fn host(given: &str, pod: IpAddr) -> IpAddr {
    if given == "localhost" { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { given.parse().unwrap_or(pod) }
}

async fn connect(host: IpAddr, port: u16) -> Result<TcpStream, CallError> {
    let address = SocketAddr::new(host, port);
    let refused = |source: io::Error| CallError::Connect { address, source };
    if address.is_ipv6() {
        return TcpStream::connect(address).await.map_err(refused);
    }
    let socket = TcpSocket::new_v4().map_err(refused)?;
    socket.bind(SocketAddr::new(IpAddr::V4(PROBE_SOURCE), 0)).map_err(refused)?;
    socket.connect(address).await.map_err(refused)
}

async fn http_get(get: &HttpGet, headers: &HeaderMap, pod: IpAddr) -> Result<StatusCode, CallError> {
    let host = host(&get.host, pod);
    let request = http_request(get, headers, host)?;
    let stream = connect(host, get.port).await?;
    if !get.scheme.eq_ignore_ascii_case("https") {
        return http_client::exchange(stream, request).await.map(|answer| answer.status());
    }
    let address = SocketAddr::new(host, get.port);
    let tls = insecure_tls::connector().connect(ServerName::from(host), stream).await;
    let tls = tls.map_err(|source| CallError::Connect { address, source })?;
    http_client::exchange(tls, request).await.map(|answer| answer.status())
}

fn http_request(get: &HttpGet, headers: &HeaderMap, host: IpAddr) -> Result<Request<Empty<Bytes>>, CallError> {
    let path = if get.path.starts_with('/') { get.path.clone() } else { format!("/{}", get.path) };
    let mut request = Request::builder().uri(path).body(Empty::new())?;
    let own = request.headers_mut();
    *own = headers.clone();
    for hop in [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        own.remove(hop);
    }
    let authority = SocketAddr::new(host, get.port).to_string();
    own.insert(header::HOST, HeaderValue::try_from(authority).map_err(http::Error::from)?);
    own.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for Header { name, value } in &get.http_headers {
        let name = HeaderName::try_from(name).map_err(http::Error::from)?;
        own.insert(name, HeaderValue::try_from(value).map_err(http::Error::from)?);
    }
    Ok(request)
}

async fn grpc_check(grpc: &Grpc, pod: IpAddr) -> Result<StatusCode, CallError> {
    let port = grpc.port;
    let connector =
        tower::service_fn(move |_| async move { connect(pod, port).await.map(TokioIo::new).map_err(io::Error::other) });
    let broken = |problem: String| CallError::Body(problem);
    let channel = tonic::transport::Endpoint::from_static("http://application.invalid")
        .connect_with_connector(connector)
        .await
        .map_err(|error| broken(format!("{error}: {:?}", std::error::Error::source(&error))))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| broken(error.to_string()))?;
    let codec: tonic_prost::ProstCodec<HealthCheckRequest, HealthCheckResponse> = tonic_prost::ProstCodec::default();
    let request = tonic::Request::new(HealthCheckRequest { service: grpc.service.clone().unwrap_or_default() });
    let answer = client.unary(request, http::uri::PathAndQuery::from_static(HEALTH_CHECK), codec).await;
    let answer = answer.map_err(|status| broken(status.to_string()))?.into_inner();
    Ok(if answer.status == SERVING { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const POD: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn application(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, peer) = listener.accept().await.unwrap();
            let mut buffer = [0; 2048];
            let read = stream.read(&mut buffer).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            format!("{} {}", peer.ip(), String::from_utf8_lossy(&buffer[..read]))
        });
        (port, served)
    }

    async fn ask(probe: &str, path: &str) -> StatusCode {
        let probers = AppProbers::parse(Some(&format!(r#"{{"/app-health/app/readyz":{probe}}}"#))).unwrap();
        probers.answer(path, &HeaderMap::new(), POD).await.status()
    }

    #[tokio::test]
    async fn the_application_sees_its_own_probe() {
        let (port, served) = application("HTTP/1.1 418 x\r\ncontent-length: 0\r\n\r\n").await;
        let probe = format!(
            r#"{{"httpGet":{{"path":"/health?x=1","port":{port},"httpHeaders":[{{"name":"X-A","value":"b"}}]}},"timeoutSeconds":5}}"#
        );
        assert_eq!(ask(&probe, "/app-health/app/readyz").await.as_u16(), 418);
        let seen = served.await.unwrap().to_lowercase();
        assert!(seen.starts_with("127.0.0.6 get /health?x=1 ") && seen.contains("x-a: b"), "{seen}");
    }

    #[tokio::test]
    async fn tcp_probes_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = format!(r#"{{"tcpSocket":{{"port":{}}}}}"#, listener.local_addr().unwrap().port());
        assert_eq!(ask(&probe, "/app-health/app/readyz").await, StatusCode::OK);
        drop(listener);
        assert_eq!(ask(&probe, "/app-health/app/readyz").await, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn what_is_not_configured_is_not_found() {
        assert_eq!(ask(r#"{"tcpSocket":{"port":1}}"#, "/app-health/app/livez").await, StatusCode::NOT_FOUND);
        assert!(AppProbers::parse(Some(r#"{"/x":{"exec":{}}}"#)).is_err());
    }
}
