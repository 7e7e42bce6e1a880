//! A pause of the API server: requests wait, watches stall, nothing is lost. What a frozen or overloaded server does to
//! its clients, controllers and node agent included.
//!
//! Streams that were handed over to their connection before (`exec`, `port-forward`) go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::server::ApiServer;

/// What every request and every event of a watch passes.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: watch::Sender<bool>,
    held: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { closed: watch::Sender::new(false), held: AtomicU64::new(0) }
    }
}

impl Gate {
    /// Returns at once unless the server is paused, else with the end of the pause.
    pub(crate) async fn pass(&self) {
        if !*self.closed.borrow() {
            return;
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        // The sender lives as long as the server, which is borrowed here.
        let mut closed = self.closed.subscribe();
        let _open = closed.wait_for(|closed| !closed).await;
    }
}

/// A pause that is in force; the server goes on when this is dropped.
pub struct Pause {
    server: Arc<ApiServer>,
    held_before: u64,
}

impl Pause {
    /// How many requests and watch events it has held up so far.
    pub fn held(&self) -> u64 {
        self.server.gate.held.load(Ordering::Relaxed) - self.held_before
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.server.gate.closed.send_replace(false);
    }
}

impl ApiServer {
    /// Pauses the server; `None` where it is paused already.
    #[must_use]
    pub fn pause(self: &Arc<Self>) -> Option<Pause> {
        let held_before = self.gate.held.load(Ordering::Relaxed);
        let closed = self.gate.closed.send_if_modified(|closed| !std::mem::replace(closed, true));
        closed.then(|| Pause { server: Arc::clone(self), held_before })
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        *self.gate.closed.borrow()
    }
}
