//! SIGINT and SIGTERM: the first asks a run to end in order, and says with which exit code; the second spares it all
//! but the tear-down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::report::RunOutcome;

const NONE: u8 = 0;
const INTERRUPT: u8 = 1;
const TERMINATE: u8 = 2;

/// Whether the user wants the run to end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interruption {
    token: CancellationToken,
    insisted: CancellationToken,
    signal: Arc<AtomicU8>,
}

impl Interruption {
    /// Listens for the two signals.
    ///
    /// # Errors
    /// Where the system refuses the handlers.
    pub fn listen() -> io::Result<Self> {
        let this = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let listener = this.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => INTERRUPT,
                    _ = terminate.recv() => TERMINATE,
                }
            };
            listener.signal.store(next().await, Ordering::SeqCst);
            listener.token.cancel();
            next().await;
            listener.insisted.cancel();
        });
        Ok(this)
    }

    /// Cancelled by the first signal.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Cancelled by the second signal: nothing is waited for any more but the end of the environment.
    #[must_use]
    pub fn insisted(&self) -> &CancellationToken {
        &self.insisted
    }

    /// The outcome of a run that was interrupted, or `None` of one that was not.
    #[must_use]
    pub fn outcome(&self) -> Option<RunOutcome> {
        match self.signal.load(Ordering::SeqCst) {
            NONE => None,
            TERMINATE => Some(RunOutcome::Terminated),
            _ => Some(RunOutcome::Interrupted),
        }
    }
}
