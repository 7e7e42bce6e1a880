//! An API server without controllers or a node, to try clients against: `serve KUBECONFIG` writes a kubeconfig there
//! and serves on a loopback port until it is interrupted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use substrate_api::{
    ApiServer, ApiServerConfig, Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

struct Host;

impl Dialer for Host {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

fn no_node<T>() -> BoxFuture<'static, Result<T, NodeError>> {
    Box::pin(async { Err(NodeError::NotFound("this server has no node".to_owned())) })
}

impl NodeBackend for Host {
    fn logs(
        &self,
        _: PodRef,
        _: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, io::Error>>, NodeError>> {
        no_node()
    }

    fn exec(&self, _: PodRef, _: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        no_node()
    }

    fn dial_pod(&self, _: PodRef, _: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        no_node()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: serve KUBECONFIG")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let config = ApiServerConfig {
        cluster_name: "example".to_owned(),
        service_subnet: "10.96.0.0/16".to_owned(),
        subject_alt_names: Vec::new(),
        state_directory: std::env::temp_dir(),
        dialer: Arc::new(Host),
        node: Arc::new(Host),
    };
    let server = ApiServer::start(config).await?;
    std::fs::write(path, server.admin_kubeconfig(&format!("https://{}", listener.local_addr()?)))?;
    let cancel = CancellationToken::new();
    let serving = {
        let (server, cancel) = (server.clone(), cancel.clone());
        async move { server.serve(listener, cancel).await }
    };
    tokio::select! {
        () = serving => {}
        _ = tokio::signal::ctrl_c() => cancel.cancel(),
    }
    Ok(())
}
