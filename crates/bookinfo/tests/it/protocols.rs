//! `echo` and the probe in every protocol, and others' clients against `echo`.

use std::path::Path;
use std::sync::Arc;

use bookinfo::grpc::{ECHO, EchoRequest, EchoResponse, HealthCheckResponse, STREAM};
use bookinfo::streams::{self, First, Kind};
use bookinfo::{line, server, services};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::uri::PathAndQuery;

use crate::support::{Server, World, probe, run, serve};

async fn echo() -> Server {
    serve(services::echo::router(World::default().app("echo", "v2", "cluster2"))).await
}

/// Serves streams; stops at the end of the test's runtime.
async fn serve_streams(kind: Kind) -> String {
    let listener = server::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = World::default().app("echo", "v2", "cluster2");
    let name: Arc<str> = line::server(&app.served_by).into();
    tokio::spawn(streams::serve(listener, kind, name, CancellationToken::new()));
    address
}

/// A server of TLS with a certificate for `localhost`, and the file of its authority.
async fn serve_tls(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (file("tls.crt", made.cert.pem()), file("tls.key", made.signing_key.serialize_pem()));
    let router = services::echo::router(World::default().app("echo", "v2", "cluster2"));
    let acceptor = streams::acceptor(&certificate, &key).unwrap();
    (serve_streams(Kind::Tls(acceptor, router)).await, certificate)
}

/// Every request was answered by this server, and the report says so.
fn is_answered(report: &Value, requests: u64) {
    assert_eq!((&report["requests"], &report["answered"]), (&json!(requests), &json!(requests)), "{report}");
    let group = &report["groups"][0];
    assert_eq!((&group["status"], &group["count"]), (&json!(200), &json!(requests)), "{report}");
    assert_eq!(
        (&group["service"], &group["version"], &group["cluster"]),
        (&json!("echo"), &json!("v2"), &json!("cluster2"))
    );
    assert_eq!(group["pod"], "echo-v2-pod");
    assert!(report["latencyMs"]["max"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn http_and_grpc_and_websockets_share_a_port() {
    let echo = echo().await;
    let peer = "x-forwarded-client-cert=By=spiffe://b;URI=spiffe://a";
    for (url, more) in [
        ("http://ADDRESS/", &[][..]),
        ("http://ADDRESS/", &["--http2"]),
        ("http://ADDRESS/", &["--method", "POST", "--body", "text"]),
        ("grpc://ADDRESS", &[]),
        ("grpc://ADDRESS", &["--stream"]),
        ("ws://ADDRESS/ws", &[]),
    ] {
        let url = url.replace("ADDRESS", &echo.address.to_string());
        let args = [&["run", "--url", &url, "--requests", "20", "--header", peer, "--samples", "20"], more].concat();
        let report = probe(&args).await;
        is_answered(&report, 20);
        assert_eq!(report["groups"][0]["peer"], "spiffe://a", "{url} {more:?}");
        assert_eq!(report["connectionsOpened"], 1, "{url} {more:?}");
        for row in report["samples"]["rows"].as_array().unwrap() {
            assert!(row[1].as_u64() <= row[2].as_u64() && row[2].as_u64() <= row[3].as_u64(), "{url}: {row}");
        }
        let again = [&args[..], &["--new-connection-per-request"]].concat();
        let report = probe(&again).await;
        is_answered(&report, 20);
        assert_eq!(report["connectionsOpened"], 20, "{url} {more:?}");
    }
}

#[tokio::test]
async fn lines_go_over_tcp() {
    let address = serve_streams(Kind::Lines(First::Client)).await;
    let url = format!("tcp://{address}");
    let report = probe(&["run", "--url", &url, "--requests", "20", "--connections", "2", "--body", "a text"]).await;
    is_answered(&report, 20);
    assert_eq!((&report["connectionsOpened"], &report["groups"][0]["peer"]), (&json!(2), &Value::Null));
}

#[tokio::test]
async fn a_server_that_speaks_first_is_waited_for() {
    let address = serve_streams(Kind::Lines(First::Server)).await;
    let url = format!("tcp://{address}");
    is_answered(&probe(&["run", "--url", &url, "--requests", "5", "--server-first"]).await, 5);
    // Who does not wait takes the greeting for the answer.
    let report = probe(&["run", "--url", &url, "--requests", "1"]).await;
    assert_eq!(report["errors"]["protocol"], 1, "{report}");
    // And who waits for a server that waits, waits until the time is over.
    let silent = format!("tcp://{}", serve_streams(Kind::Lines(First::Client)).await);
    let report = probe(&["run", "--url", &silent, "--requests", "1", "--server-first", "--timeout", "200ms"]).await;
    assert_eq!(report["errors"]["connect-timeout"], 1, "{report}");
}

#[tokio::test]
async fn the_client_chooses_what_goes_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (address, authority) = serve_tls(folder.path()).await;
    for (scheme, more) in [("tls", &[][..]), ("https", &[]), ("https", &["--http2"])] {
        let url = format!("{scheme}://{address}");
        let args = [&["run", "--url", &url, "--requests", "5"], more].concat();
        is_answered(&probe(&args).await, 5);
        let named = [&args[..], &["--tls-ca", &authority, "--tls-server-name", "localhost"]].concat();
        is_answered(&probe(&named).await, 5);
        // The certificate is for another name.
        let wrong = [&args[..], &["--tls-ca", &authority, "--tls-server-name", "other"]].concat();
        let report = probe(&wrong).await;
        assert_eq!((&report["errors"]["tls"], &report["answered"]), (&json!(5), &json!(0)), "{report}");
    }
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart() {
    let url = format!("tls://{}", serve_streams(Kind::Lines(First::Client)).await);
    let report = probe(&["run", "--url", &url, "--requests", "1"]).await;
    assert_eq!(report["errors"]["tls"], 1, "{report}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said() {
    let output = run(&["probe", "run", "--url", "tls://127.0.0.1:1", "--tls-ca", "/no/such/file"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/file"), "{output:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_is_lost_and_a_new_one_opened() {
    // A server of lines that answers two of them and goes away.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut lines = BufReader::new(stream).lines();
            for _ in 0..2 {
                let Ok(Some(text)) = lines.next_line().await else { break };
                let answer = format!("service=echo;version=v2 unknown {text}\n");
                let _ = lines.get_mut().get_mut().write_all(answer.as_bytes()).await;
            }
        }
    });
    let report = probe(&["run", "--url", &url, "--requests", "6"]).await;
    assert_eq!((&report["answered"], &report["errors"]["reset"]), (&json!(4), &json!(2)), "{report}");
    assert_eq!(report["connectionsOpened"], 2);
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer() {
    let echo = echo().await;
    // The path answers, but does not upgrade.
    let url = format!("ws://{}/?status=503", echo.address);
    let report = probe(&["run", "--url", &url, "--requests", "2"]).await;
    assert_eq!((&report["answered"], &report["byStatus"]["503"]), (&json!(2), &json!(2)), "{report}");
}

#[tokio::test]
async fn a_call_that_nobody_has_is_unimplemented() {
    let echo = serve(services::ratings::router(World::default().app("ratings", "v1", "c"))).await;
    let report = probe(&["run", "--url", &format!("grpc://{}", echo.address), "--requests", "2"]).await;
    // ratings speaks no gRPC: HTTP says so.
    assert_eq!(report["byStatus"]["404"], 2, "{report}");
}

/// tonic knows nothing of ours but the messages.
struct Foreign(tonic::client::Grpc<tonic::transport::Channel>);

impl Foreign {
    async fn to(server: &Server) -> Self {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        Self(tonic::client::Grpc::new(channel.connect().await.unwrap()))
    }

    async fn unary<A, B>(&mut self, path: &'static str, message: A) -> Result<tonic::Response<B>, tonic::Status>
    where
        A: prost::Message + Send + Sync + 'static,
        B: prost::Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<A, B>::default();
        self.0.unary(tonic::Request::new(message), PathAndQuery::from_static(path), codec).await
    }
}

fn request(message: &str, status: u32) -> EchoRequest {
    EchoRequest { message: message.to_owned(), status }
}

#[tokio::test]
async fn another_grpc_client_understands_the_server() {
    let echo = echo().await;
    let mut client = Foreign::to(&echo).await;
    let answer = client.unary::<_, EchoResponse>(ECHO, request("hello", 0)).await.unwrap();
    assert!(answer.metadata().contains_key("x-served-by"));
    let answer = answer.into_inner();
    assert_eq!((answer.message.as_str(), answer.peer.as_str()), ("hello", "none"));
    assert!(answer.served_by.contains("version=v2;pod=echo-v2-pod"), "{}", answer.served_by);

    let refused = client.unary::<_, EchoResponse>(ECHO, request("hello", 14)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let unknown = client.unary::<_, EchoResponse>("/no.such.Service/Method", request("", 0)).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::Unimplemented);
    let path = "/grpc.health.v1.Health/Check";
    let health = client.unary::<_, HealthCheckResponse>(path, request("", 0)).await.unwrap();
    assert_eq!(health.into_inner().status, 1);
}

#[tokio::test]
async fn another_grpc_client_can_stream() {
    let echo = echo().await;
    let mut client = Foreign::to(&echo).await;
    client.0.ready().await.unwrap();
    let messages = tokio_stream::iter(["a", "b", "c"].map(|text| request(text, 0)));
    let codec = tonic_prost::ProstCodec::<EchoRequest, EchoResponse>::default();
    let path = PathAndQuery::from_static(STREAM);
    let answers = client.0.streaming(tonic::Request::new(messages), path, codec).await.unwrap().into_inner();
    let texts: Vec<_> = answers.map(|answer| answer.unwrap().message).collect().await;
    assert_eq!(texts, ["a", "b", "c"]);
}

#[tokio::test]
async fn lines_that_come_in_pieces_are_put_together() {
    let address = serve_streams(Kind::Lines(First::Client)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"one").await.unwrap();
    stream.write_all(b" line\nand").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let lines: Vec<_> = text.lines().map(|text| line::read(text).unwrap().text).collect();
    assert_eq!(lines, ["one line", "and"]);
}
