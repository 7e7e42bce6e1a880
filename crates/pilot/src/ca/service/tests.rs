//! The service over TLS, with an API server that knows one token.

use std::time::SystemTime;

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Server};

use super::*;
use kube_support::https::incoming;

use crate::ca::{LocalCluster, ServingTls, SigningKeys};

const GOOD: &str = "good-token";

/// A cluster whose API server answers token reviews, and says no to anything but the one token.
fn cluster() -> LocalCluster {
    let service = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
        assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
        let body = request.into_body().collect_bytes().await.unwrap();
        let mut review: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(review["spec"]["audiences"], json!(["istio-ca"]));
        let good = review["spec"]["token"] == GOOD;
        review["status"] = if good {
            json!({"authenticated": true, "audiences": ["istio-ca"], "user": {"username": "system:serviceaccount:bookinfo:reviews"}})
        } else {
            json!({"authenticated": false, "error": "expired"})
        };
        Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
            review.to_string().into_bytes(),
        )))
    });
    LocalCluster { id: "cluster1".to_owned(), client: kube::Client::new(service, "default") }
}

struct Mesh {
    authority: Arc<Authority>,
    address: std::net::SocketAddr,
}

async fn mesh() -> Mesh {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let keys = SigningKeys::load(SigningKeys::self_signed("cluster.local", SystemTime::now()).unwrap()).unwrap();
    let authority = Arc::new(Authority::new(keys));
    let names = super::super::serving::names("istiod", "istio-system");
    let tls = ServingTls::start(&authority, names, CancellationToken::new()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let authenticator = Authenticator::new(Arc::new(cluster()), "cluster.local");
    let service = CertificateService::new(Arc::clone(&authority), authenticator);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming(listener, tls.grpc)));
    Mesh { authority, address }
}

type Presented = Option<(Vec<CertificateDer<'static>>, Vec<u8>)>;

async fn channel(mesh: &Mesh, presented: Presented) -> Channel {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(mesh.authority.keys().root_pem.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let mut config = match presented {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key))).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (tls, address) = (tokio_rustls::TlsConnector::from(Arc::new(config)), mesh.address);
    let connector = tower::service_fn(move |_: http::Uri| {
        let tls = tls.clone();
        async move {
            let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
            tls.connect(name, TcpStream::connect(address).await?).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://istiod.invalid").connect_with_connector(connector).await.unwrap()
}

async fn ask(
    channel: Channel,
    csr: &str,
    seconds: i64,
    headers: &[(&'static str, String)],
) -> Result<Vec<String>, Status> {
    let mut request = Request::new(IstioCertificateRequest { csr: csr.to_owned(), validity_duration: seconds });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec: ProstCodec<IstioCertificateRequest, IstioCertificateResponse> = ProstCodec::default();
    let path = http::uri::PathAndQuery::from_static(CREATE_CERTIFICATE);
    client.unary(request, path, codec).await.map(|answer| answer.into_inner().cert_chain)
}

fn csr(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

fn token(token: &str, cluster: &str) -> [(&'static str, String); 2] {
    [("authorization", format!("Bearer {token}")), ("clusterid", cluster.to_owned())]
}

fn identity(chain: &[String]) -> String {
    let leaf = CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    format!("{:?}", leaf.subject_alternative_name().unwrap().unwrap().value.general_names)
}

const REVIEWS: &str = "[URI(\"spiffe://cluster.local/ns/bookinfo/sa/reviews\")]";

#[tokio::test]
async fn a_token_buys_a_certificate_and_the_certificate_the_next() {
    let mesh = mesh().await;
    let key = KeyPair::generate().unwrap();
    let chain = ask(channel(&mesh, None).await, &csr(&key), 3600, &token(GOOD, "cluster1")).await.unwrap();
    assert_eq!(identity(&chain), REVIEWS);
    let presented = Some((vec![CertificateDer::from_pem_slice(chain[0].as_bytes()).unwrap()], key.serialize_der()));
    let chain = ask(channel(&mesh, presented).await, &csr(&key), 0, &[]).await.unwrap();
    assert_eq!(identity(&chain), REVIEWS, "no token is needed any more");
}

#[tokio::test]
async fn refusals_say_why() {
    let mesh = mesh().await;
    let key = KeyPair::generate().unwrap();
    let csr = csr(&key);
    for (headers, csr, seconds, code, words) in [
        (vec![], csr.as_str(), 60, Code::Unauthenticated, "bearer token"),
        (token("bad", "cluster1").to_vec(), &csr, 60, Code::Unauthenticated, "expired"),
        (token(GOOD, "cluster9").to_vec(), &csr, 60, Code::Unauthenticated, "cluster9"),
        (token(GOOD, "cluster1").to_vec(), "nonsense", 60, Code::InvalidArgument, "signing request"),
        (token(GOOD, "cluster1").to_vec(), &csr, -1, Code::InvalidArgument, "negative"),
        (token(GOOD, "cluster1").to_vec(), &csr, 91 * 24 * 3600, Code::InvalidArgument, "lifetime"),
    ] {
        let status = ask(channel(&mesh, None).await, csr, seconds, &headers).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused() {
    let mesh = mesh().await;
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    let id = "spiffe://cluster.local/ns/istio-system/sa/istiod";
    parameters.subject_alt_names = vec![rcgen::SanType::URI(id.try_into().unwrap())];
    let forged = parameters.self_signed(&key).unwrap().der().clone();
    let channel = channel(&mesh, Some((vec![forged], key.serialize_der()))).await;
    assert!(ask(channel, &csr(&key), 60, &token(GOOD, "cluster1")).await.is_err());
}

/// A certificate that the mesh itself has issued, valid from and until so many seconds from now.
fn issued(mesh: &Mesh, key: &KeyPair, from: i64, until: i64) -> CertificateDer<'static> {
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names =
        vec![rcgen::SanType::URI("spiffe://cluster.local/ns/bookinfo/sa/reviews".try_into().unwrap())];
    let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let at = |offset: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((now + offset).try_into().unwrap());
    (parameters.not_before, parameters.not_after) = (at(from), at(until));
    parameters.signed_by(key, &mesh.authority.keys().issuer).unwrap().der().clone()
}

/// Neither the dates nor another identity can be got around: who presents a certificate is who it says, or nobody.
#[tokio::test]
async fn only_a_certificate_of_the_moment_is_renewed() {
    let mesh = mesh().await;
    let key = KeyPair::generate().unwrap();
    let renewed = async |from: i64, until: i64| {
        let presented = Some((vec![issued(&mesh, &key, from, until)], key.serialize_der()));
        // A token beside it buys nothing else.
        ask(channel(&mesh, presented).await, &csr(&key), 60, &token("bad", "cluster1")).await
    };
    assert_eq!(identity(&renewed(-60, 3600).await.unwrap()), REVIEWS);
    assert!(renewed(-3600, -60).await.is_err(), "an expired one");
    assert!(renewed(3600, 7200).await.is_err(), "one that is not valid yet");
}
