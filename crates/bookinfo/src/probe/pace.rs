//! When each request is to start: at once in a closed loop, on a fixed schedule in an open one.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::timer::Timer;

/// More than there are connections: what every one of them gets at the end of a schedule, so that it learns of it.
const LAST_CALL: usize = 1 << 16;

/// Hands out the requests of a run to its connections.
#[derive(Debug)]
pub(super) struct Pacer {
    start: Instant,
    total: Option<u64>,
    end: Option<Instant>,
    rate: Option<f64>,
    taken: AtomicU64,
    /// Open loop: requests whose time has come and that no connection has taken.
    due: Semaphore,
    /// Open loop: connections that wait for a request.
    idle: AtomicUsize,
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
        let (due, idle) = (Semaphore::new(0), AtomicUsize::new(0));
        Self { start, total, end, rate, taken: AtomicU64::new(0), due, idle, stop }
    }

    /// The moment that the schedule counts from.
    pub(super) fn start(&self) -> Instant {
        self.start
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
        if self.rate.is_some() {
            self.idle.fetch_add(1, Ordering::Relaxed);
            let due = self.due.acquire().await;
            self.idle.fetch_sub(1, Ordering::Relaxed);
            due.ok()?.forget();
        }
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        if self.stop.is_cancelled() || index >= self.planned().unwrap_or(u64::MAX) {
            return None;
        }
        let intended = match self.rate {
            Some(rate) => self.moment(index, rate)?,
            None => Instant::now(),
        };
        self.end.is_none_or(|end| intended < end).then_some(intended)
    }

    /// Open loop: releases each request at its time until the schedule ends or the run is stopped. Where fewer
    /// connections wait than requests are due, says how many are lacking.
    pub(super) async fn release(&self, mut lacking: impl FnMut(usize)) -> io::Result<()> {
        let Some(rate) = self.rate else { return Ok(()) };
        let timer = Timer::new()?;
        let planned = self.planned().unwrap_or(u64::MAX);
        let mut released = 0;
        while released < planned {
            let Some(moment) = self.moment(released, rate) else { break };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.due.close();
                    return Ok(());
                }
                waited = timer.wait_until(moment) => waited?,
            }
            let now = Instant::now();
            let before = released;
            while released < planned && self.moment(released, rate).is_some_and(|moment| moment <= now) {
                released += 1;
            }
            let due = usize::try_from(released - before).unwrap_or(LAST_CALL);
            let waiting = self.due.available_permits() + due;
            lacking(waiting.saturating_sub(self.idle.load(Ordering::Relaxed)));
            self.due.add_permits(due);
        }
        self.due.add_permits(LAST_CALL);
        Ok(())
    }

    fn moment(&self, index: u64, rate: f64) -> Option<Instant> {
        self.start.checked_add(Duration::try_from_secs_f64(index as f64 / rate).ok()?)
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
        let taking = async {
            let mut offsets = Vec::new();
            while let Some(intended) = pacer.next().await {
                offsets.push((intended - pacer.start).as_millis());
            }
            offsets
        };
        let (released, offsets) = tokio::join!(pacer.release(|_| {}), taking);
        released.unwrap();
        assert_eq!(offsets, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[tokio::test]
    async fn it_says_when_too_few_connections_wait() {
        let pacer = pacer(Some(3), None, Some(1_000.0));
        let mut lacking = 0;
        pacer.release(|more| lacking += more).await.unwrap();
        assert!(lacking >= 3, "nobody waited for three requests: {lacking}");
    }

    #[tokio::test]
    async fn a_cancelled_run_hands_out_nothing_more() {
        let closed = pacer(Some(10), None, None);
        assert!(closed.next().await.is_some());
        closed.stop.cancel();
        assert!(closed.next().await.is_none());

        let open = pacer(None, None, Some(10.0));
        let stop = async {
            assert!(open.next().await.is_some());
            open.stop.cancel();
            open.next().await
        };
        let (released, next) = tokio::join!(open.release(|_| {}), stop);
        released.unwrap();
        assert!(next.is_none());
    }
}
