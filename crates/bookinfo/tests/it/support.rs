//! Servers inside the test process, and the program itself as a child process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use axum::Router;
use bookinfo::identity::ServedBy;
use bookinfo::services::App;
use bookinfo::services::reviews::ReviewsVersion;
use bookinfo::{server, services};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A server that stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _stop: DropGuard,
}

/// Addresses that a service finds the others at.
#[derive(Clone, Default)]
pub(crate) struct World(Vec<(String, String)>);

impl World {
    pub(crate) fn with(mut self, service: &str, address: SocketAddr) -> Self {
        self.0.push((format!("{service}_HOSTNAME"), address.ip().to_string()));
        self.0.push((format!("{service}_SERVICE_PORT"), address.port().to_string()));
        self
    }

    pub(crate) fn app(&self, service: &str, version: &str, cluster: &str) -> App {
        let lookup = |name: &str| match name {
            "POD_NAME" => Some(format!("{service}-{version}-pod")),
            "CLUSTER_NAME" => Some(cluster.to_owned()),
            _ => self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()),
        };
        App::new(ServedBy::from_environment(service, version, lookup), lookup, false)
    }
}

pub(crate) async fn serve(router: Router) -> Server {
    let listener = server::listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move { server::serve(listener, router, token).await.unwrap() });
    Server { address, _stop: stop.drop_guard() }
}

/// All services: reviews of one version on `cluster2`, the rest on `cluster1`.
pub(crate) struct Shop {
    pub(crate) page: Server,
    _others: Vec<Server>,
}

impl Shop {
    pub(crate) async fn open(version: ReviewsVersion, name: &str) -> Self {
        let ratings = serve(services::ratings::router(World::default().app("ratings", "v1", "cluster2"))).await;
        let world = World::default().with("RATINGS", ratings.address);
        let reviews = serve(services::reviews::router(world.app("reviews", name, "cluster2"), version)).await;
        let details = serve(services::details::router(World::default().app("details", "v1", "cluster1"))).await;
        let world = world.with("REVIEWS", reviews.address).with("DETAILS", details.address);
        let page = serve(services::productpage::router(world.app("productpage", "v1", "cluster1"))).await;
        Self { page, _others: vec![ratings, reviews, details] }
    }
}

/// An address at which nobody listens.
pub(crate) async fn closed_port() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub(crate) async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
    let mut request = Request::get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(Full::default()).unwrap()).await
}

pub(crate) async fn send(request: Request<Full<Bytes>>) -> Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

pub(crate) fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

pub(crate) fn bookinfo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bookinfo"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs the program to its end without blocking the servers of the test.
pub(crate) async fn run(args: &[&str]) -> Output {
    let mut command = bookinfo(args);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Runs the probe and reads its document.
pub(crate) async fn probe(args: &[&str]) -> Value {
    let args: Vec<_> = ["probe"].iter().chain(args).copied().collect();
    let output = run(&args).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A started service and the address it says it serves on. Killed when dropped.
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Started {
    pub(crate) fn new(service: &str) -> Self {
        let mut child =
            bookinfo(&[service, "--address", "127.0.0.1", "--port", "0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("address=").unwrap().1.parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
