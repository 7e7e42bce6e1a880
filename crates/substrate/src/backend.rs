//! What an API server needs of its node, while the node agent itself needs a client of that API server to start.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use substrate_api::{Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef};
use substrate_node::fabric::ClusterNetwork;
use tokio::net::TcpStream;

/// Dials from the namespace of a cluster's node.
pub(crate) struct NodeDialer(pub(crate) Arc<ClusterNetwork>);

impl Dialer for NodeDialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(self.0.dial(address))
    }
}

/// Passes requests on to a node agent that is started after the API server.
#[derive(Default)]
pub(crate) struct LateNode(OnceLock<Arc<dyn NodeBackend>>);

impl LateNode {
    /// Names the node agent, once.
    pub(crate) fn set(&self, node: Arc<dyn NodeBackend>) {
        let first = self.0.set(node);
        debug_assert!(first.is_ok(), "a cluster has one node agent");
    }

    fn get(&self) -> Result<&Arc<dyn NodeBackend>, NodeError> {
        self.0.get().ok_or_else(|| NodeError::Internal("the node is still starting".to_owned()))
    }
}

impl NodeBackend for LateNode {
    fn logs(
        &self,
        pod: PodRef,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Bytes, io::Error>>, NodeError>> {
        Box::pin(async move { self.get()?.logs(pod, options).await })
    }

    fn exec(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<ExecSession, NodeError>> {
        Box::pin(async move { self.get()?.exec(pod, options).await })
    }

    fn dial_pod(&self, pod: PodRef, port: u16) -> BoxFuture<'_, Result<TcpStream, NodeError>> {
        Box::pin(async move { self.get()?.dial_pod(pod, port).await })
    }
}
