//! Pauses between attempts, such as those to reach the control plane: doubling from 100 ms to a limit, each shortened by chance.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(100);

/// State of one series of attempts.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    /// A series whose pauses do not exceed `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { next: FIRST, limit }
    }

    /// The next pause: between half of and the full current step.
    pub fn step(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.limit);
        pause
    }

    /// Waits for the next pause.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.step()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(300));
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.step()).collect();
        assert!(pauses[0] <= FIRST && pauses[0] >= FIRST / 2);
        assert!(pauses[19] <= Duration::from_millis(300) && pauses[19] >= Duration::from_millis(150));
    }
}
