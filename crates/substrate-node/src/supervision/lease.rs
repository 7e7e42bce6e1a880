//! The lease: a world that belongs to a runner ends with the runner, until the runner says that it may stay.

use std::io::{self, BufRead as _};

/// What a runner writes to let the world outlive it.
const KEEP: &str = "keep";

/// Returns when standard input ends without having said `keep`; never returns after it was said.
pub async fn lease_ended() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own: nothing can interrupt a blocking read, and a pool would wait for it at shutdown.
    let thread = std::thread::Builder::new().name("lease".to_owned()).spawn(move || {
        let kept = io::stdin().lock().lines().map_while(Result::ok).any(|line| line == KEEP);
        // Nobody listens any more where the world ends for another reason.
        let _unheard = sender.send(kept);
    });
    // Without a thread the sender is gone, and the world ends: better than one that nobody can end.
    drop(thread);
    if receiver.await == Ok(true) {
        std::future::pending::<()>().await;
    }
}
