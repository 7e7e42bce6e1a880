//! Pauses of control planes: before another attempt, and until a time at which something is due. Whoever waits for something that
//! can be watched races it with the watch.

use std::time::Duration;

use tokio::time::Instant;

/// Ends after a time.
pub async fn for_a(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Ends at a time; never, where there is none.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
