//! When each request is to start: at once in a closed loop, on a fixed schedule in an open one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Hands out the requests of a run to its connections.
#[derive(Debug)]
pub(super) struct Pacer {
    start: Instant,
    total: Option<u64>,
    end: Option<Instant>,
    rate: Option<f64>,
    taken: AtomicU64,
    stop: CancellationToken,
}

impl Pacer {
    pub(super) fn new(
        total: Option<u64>,
        duration: Option<Duration>,
        rate: Option<f64>,
        stop: CancellationToken,
    ) -> Self {
        let start = Instant::now();
        let end = duration.and_then(|duration| start.checked_add(duration));
        Self { start, total, end, rate, taken: AtomicU64::new(0), stop }
    }

    /// How many requests were intended, when that is known beforehand.
    pub(super) fn planned(&self) -> Option<u64> {
        let scheduled = self.rate.zip(self.end).map(|(rate, end)| {
            let seconds = end.duration_since(self.start).as_secs_f64();
            // Saturating: a schedule of more requests than u64 holds will not be finished anyway.
            (seconds * rate).ceil() as u64
        });
        match (self.total, scheduled) {
            (Some(total), Some(scheduled)) => Some(total.min(scheduled)),
            (total, scheduled) => total.or(scheduled),
        }
    }

    /// Waits for the next request's time and gives it, the intended one: latency counts from there, so that a server
    /// that stalls cannot hide the requests that should have been sent meanwhile. `None` when the run is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        if self.stop.is_cancelled() {
            return None;
        }
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        if self.total.is_some_and(|total| index >= total) {
            return None;
        }
        let intended = match self.rate {
            Some(rate) => self.start + Duration::try_from_secs_f64(index as f64 / rate).ok()?,
            None => Instant::now(),
        };
        if self.end.is_some_and(|end| intended >= end) {
            return None;
        }
        tokio::select! {
            // This is pacing, not waiting for a condition: the schedule is what the user asked for.
            () = tokio::time::sleep_until(intended) => Some(intended),
            () = self.stop.cancelled() => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(total: Option<u64>, duration: Option<u64>, rate: Option<f64>) -> Pacer {
        Pacer::new(total, duration.map(Duration::from_millis), rate, CancellationToken::new())
    }

    #[test]
    fn the_plan_is_the_smaller_of_number_and_schedule() {
        assert_eq!(pacer(Some(10), None, None).planned(), Some(10));
        assert_eq!(pacer(None, Some(500), None).planned(), None);
        assert_eq!(pacer(None, Some(500), Some(100.0)).planned(), Some(50));
        assert_eq!(pacer(Some(10), Some(500), Some(100.0)).planned(), Some(10));
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_schedule_however_late_it_is_asked() {
        let mut pacer = pacer(None, Some(100), Some(100.0));
        let late = Duration::from_millis(75);
        (pacer.start, pacer.end) = (pacer.start - late, pacer.end.map(|end| end - late));
        let mut offsets = Vec::new();
        while let Some(intended) = pacer.next().await {
            offsets.push((intended - pacer.start).as_millis());
        }
        assert_eq!(offsets, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[tokio::test]
    async fn a_cancelled_run_hands_out_nothing_more() {
        let pacer = pacer(Some(10), None, None);
        assert!(pacer.next().await.is_some());
        pacer.stop.cancel();
        assert!(pacer.next().await.is_none());
    }
}
