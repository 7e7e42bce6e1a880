//! How an API server reaches what runs in its cluster.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use substrate_api::Dialer;
use substrate_node::fabric::ClusterNetwork;
use tokio::net::TcpStream;

/// Dials from the namespace of a cluster's node.
pub(crate) struct NodeDialer(pub(crate) Arc<ClusterNetwork>);

impl Dialer for NodeDialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(self.0.dial(address))
    }
}
