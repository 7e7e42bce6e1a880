//! A pod for tests of traffic: a network namespace with addresses and capture, a certificate authority, applications
//! and a client.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::running::Secrets;

const PATIENCE: Duration = Duration::from_secs(10);
const INSIDE: &str = "PILOT_TEST_INSIDE";
/// A name in every certificate, for a client that does not know about identities.
const DNS_NAME: &str = "workload.test";

/// Runs the rest of a test as root of fresh user and network namespaces, by starting this test binary there for the
/// one test. True inside, false outside when the inner run has passed.
pub(crate) fn in_network_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip link set lo up");
        return true;
    }
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its namespaces");
    false
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives this namespace an address.
pub(crate) fn own(address: &str) {
    run(&format!("ip addr add {address}/32 dev lo"));
}

/// Leads connections to an address to a port of the proxy; the proxy's own, which are marked, pass.
pub(crate) fn capture(address: &str, proxy: u16) {
    run(&format!(
        "nft add table ip capture; nft 'add chain ip capture out {{ type nat hook output priority -100; }}'; \
         nft 'add rule ip capture out meta mark != 1337 ip daddr {address} meta l4proto tcp redirect to :{proxy}'"
    ));
}

/// A certificate authority of a mesh.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        // Unlike the names of what it signs, which would else look self-signed.
        parameters.distinguished_name.push(DnType::CommonName, "root of the mesh");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    /// What the agent of a workload has.
    pub(crate) fn secrets(&self, principal: &str) -> Secrets {
        let parameters = CertificateParams::new(vec![DNS_NAME.to_owned()]).unwrap();
        self.signed(principal, parameters)
    }

    /// The same with a certificate that is good within this time.
    pub(crate) fn secrets_within(&self, principal: &str, from: SystemTime, until: SystemTime) -> Secrets {
        let at = |time: SystemTime| {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        let mut parameters = CertificateParams::new(vec![DNS_NAME.to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (at(from), at(until));
        self.signed(principal, parameters)
    }

    fn signed(&self, principal: &str, mut parameters: CertificateParams) -> Secrets {
        let key = KeyPair::generate().unwrap();
        parameters.subject_alt_names.push(SanType::URI(format!("spiffe://{principal}").try_into().unwrap()));
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Secrets { certificate: certificate.pem(), key: key.serialize_pem(), root: self.0.pem() }
    }
}

/// Answers every connection to an address with a status and a name, once it has sent something.
pub(crate) async fn application(address: &str, port: u16, answer: Arc<dyn Fn() -> (u16, String) + Send + Sync>) {
    let listener = TcpListener::bind((address.parse::<Ipv4Addr>().unwrap(), port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let (status, body) = answer();
                    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    // A caller that is gone needs no answer.
                    let _gone = stream.write_all(text.as_bytes()).await;
                }
            });
        }
    });
}

/// What came back: the status and the body, or nothing where the connection was closed.
pub(crate) type Answer = Option<(u16, String)>;

/// A request in plain text.
pub(crate) async fn plain(address: &str, port: u16, host: &str) -> Answer {
    let stream = TcpStream::connect((address, port)).await.ok()?;
    exchange(stream, host, "GET", "/").await
}

/// A client with a certificate of the mesh. It resumes its sessions where the server lets it.
pub(crate) struct Client(Arc<ClientConfig>);

impl Client {
    pub(crate) fn new(secrets: &Secrets) -> Self {
        // The first test wins; all install the same.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let certificates =
            |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect::<Vec<_>>();
        let mut roots = RootCertStore::empty();
        certificates(&secrets.root).into_iter().for_each(|root| roots.add(root).unwrap());
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                certificates(&secrets.certificate),
                PrivateKeyDer::from_pem_slice(secrets.key.as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"istio".to_vec()];
        Self(Arc::new(config))
    }

    /// A request over a connection of its own.
    pub(crate) async fn call(&self, address: &str, port: u16, method: &str, path: &str) -> Answer {
        let stream = TcpStream::connect((address, port)).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
        let stream = connector.connect(ServerName::try_from(DNS_NAME).unwrap(), stream).await.ok()?;
        exchange(stream, DNS_NAME, method, path).await
    }
}

/// A request over the mesh's mutual TLS.
pub(crate) async fn mutual(secrets: &Secrets, address: &str, port: u16, method: &str, path: &str) -> Answer {
    Client::new(secrets).call(address, port, method, path).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, method: &str, path: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("an answer in time").ok()?;
        if read == 0 {
            return None;
        }
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some(answer) = complete(&text) {
            return Some(answer);
        }
    }
}

/// Status and body, once the body is as long as its header says.
fn complete(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (length.parse() == Ok(body.len())).then(|| (status, body.to_owned()))
}
