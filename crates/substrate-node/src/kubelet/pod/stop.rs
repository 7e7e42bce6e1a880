//! The order to stop, and the time until which it may take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A handle on the order; clones share it.
#[derive(Clone)]
pub(super) struct Stop {
    token: CancellationToken,
    deadline: Arc<watch::Sender<Option<Instant>>>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self { token: CancellationToken::new(), deadline: Arc::new(watch::Sender::new(None)) }
    }

    /// Gives the order. A deadline that was set before only ever becomes shorter.
    pub(super) fn request(&self, deadline: Instant) {
        self.deadline.send_modify(|known| *known = Some(known.map_or(deadline, |known| known.min(deadline))));
        self.token.cancel();
    }

    /// Gives the order with so much time.
    pub(super) fn request_within(&self, grace: Duration) {
        // An absurd grace period is as good as a very long one.
        let longest = Duration::from_secs(365 * 24 * 3600);
        self.request(Instant::now() + grace.min(longest));
    }

    pub(super) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for the order.
    pub(super) async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// The time until which it may take; now, if nobody said.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline.borrow().unwrap_or_else(Instant::now)
    }

    /// Whether it was to be done by now: nothing is left to be polite with.
    pub(super) fn is_over(&self) -> bool {
        self.deadline.borrow().is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Runs `work` until it is done or the deadline, which may come closer meanwhile, has passed.
    pub(super) async fn until_deadline<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        let mut changes = self.deadline.subscribe();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                result = &mut work => return Some(result),
                () = tokio::time::sleep_until(deadline) => return None,
                // The sender lives in `self`, so this is a change and not the end of changes.
                _ = changes.changed() => {}
            }
        }
    }

    /// Runs `work` unless the order comes first.
    pub(super) async fn unless_requested<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.token.run_until_cancelled(work).await
    }

    /// Waits for `pause`; whether the order came meanwhile.
    pub(super) async fn within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.token.cancelled()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_that_comes_closer_holds() {
        let stop = Stop::new();
        stop.request_within(Duration::from_secs(3600));
        let waiting = stop.until_deadline(std::future::pending::<()>());
        let (result, ()) = tokio::join!(waiting, async { stop.request_within(Duration::from_millis(20)) });
        assert!(result.is_none());
        let shortened = stop.deadline();
        stop.request_within(Duration::from_secs(3600));
        assert_eq!(stop.deadline(), shortened, "a later deadline does not extend an earlier one");
    }
}
