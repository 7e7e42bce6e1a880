//! The control socket: faults and taps for a client, each for as long as the client's connection lives.
//!
//! Requests and answers are those of [`substrate_config::control`]. What a fault does to packets is `substrate-node`'s,
//! what a pause does to requests is `substrate-api`'s; here is who has which for how long.

mod attached;
mod capabilities;
mod fault;
mod session;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use camino::Utf8Path;
use substrate_api::ApiServer;
use substrate_node::fabric::Links;
use substrate_node::machine::Machine;
use tokio::net::UnixListener;

use session::Session;

/// Name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";

/// What clients of the socket can change.
pub struct Control {
    links: Arc<Links>,
    servers: BTreeMap<String, Arc<ApiServer>>,
    machines: BTreeMap<String, Arc<Machine>>,
}

impl Control {
    /// `servers` by the name of their cluster, `machines` by their own.
    #[must_use]
    pub fn new(
        links: Arc<Links>,
        servers: BTreeMap<String, Arc<ApiServer>>,
        machines: BTreeMap<String, Arc<Machine>>,
    ) -> Self {
        Self { links, servers, machines }
    }

    /// Serves clients until the listener fails or the future is dropped.
    pub async fn serve(self, listener: UnixListener) {
        let control = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(Session::new(control.clone()).run(stream))),
                Err(error) => {
                    tracing::error!(%error, "the control socket takes no more connections");
                    return;
                }
            }
        }
    }
}

/// Binds the socket; only its owner can connect.
///
/// # Errors
/// Those of bind.
pub fn listen(path: &Utf8Path) -> io::Result<UnixListener> {
    // A supervisor that was killed leaves its socket behind; the lock of the directory says that none runs now.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Through the folder's descriptor: the address of a Unix socket has room for 107 bytes, a path may be longer.
    let folder = std::fs::File::open(path.parent().unwrap_or(Utf8Path::new("/")))?;
    let name = path.file_name().unwrap_or(SOCKET);
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
