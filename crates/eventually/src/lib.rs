//! The one way to wait for a condition that nothing announces: a deadline, a step, and the last observation in the error.
//!
//! Where a watch, a notification or an exit announces the change, wait for that instead: it is faster and cheaper.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {:.1} s for {what}; last seen: {last}", waited.as_secs_f64())]
pub struct TimedOut {
    /// What was waited for, as a noun phrase ("every proxy to acknowledge snapshot 7").
    pub what: String,
    /// How long.
    pub waited: Duration,
    /// The last observation, in words.
    pub last: String,
}

/// Calls `observe` until it returns `Ok`, at most until `deadline` has passed, pausing `every` between calls.
///
/// The first call happens at once. An observation that hangs is cut off at the deadline.
///
/// # Errors
/// [`TimedOut`] with the last `Err` that `observe` returned.
pub async fn poll<T, E: fmt::Display>(
    what: impl Into<String>,
    deadline: Duration,
    every: Duration,
    mut observe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let start = Instant::now();
    let mut last = "nothing: the first look did not return".to_owned();
    loop {
        match tokio::time::timeout_at(start + deadline, observe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(observation)) => last = observation.to_string(),
            Err(_elapsed) => {}
        }
        if start.elapsed() + every >= deadline {
            return Err(TimedOut { what: what.into(), waited: start.elapsed(), last });
        }
        tokio::time::sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn returns_the_first_success() {
        let mut calls = 0;
        let value = poll("three calls", Duration::from_secs(1), Duration::from_millis(10), async || {
            calls += 1;
            if calls == 3 { Ok(calls) } else { Err("not yet") }
        })
        .await
        .expect("the third call succeeds");
        assert_eq!(value, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_carries_the_last_observation() {
        let mut calls = 0;
        let error = poll("the impossible", Duration::from_millis(25), Duration::from_millis(10), async || {
            calls += 1;
            Err::<(), _>(format!("look {calls}"))
        })
        .await
        .expect_err("it never succeeds");
        assert_eq!(error.last, "look 3");
        assert!(error.waited <= Duration::from_millis(25));
    }

    #[tokio::test(start_paused = true)]
    async fn an_observation_that_hangs_is_cut_off() {
        let error = poll("a hanging look", Duration::from_secs(2), Duration::from_secs(1), async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await
        .expect_err("it hangs");
        assert!(error.last.contains("did not return"));
    }
}
