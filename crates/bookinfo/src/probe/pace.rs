//! When each request is to start: at once in a closed loop, on a fixed schedule in an open one.
//!
//! In an open loop the connections that have nothing to do wait for the next moment themselves: on each thread one of
//! them, the rest behind it. Whichever wakes first takes the request and sends it. So no request has to be handed from
//! one task to another, and one that is due leaves in time although a thread is held up: the other thread takes it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::timer::Timer;

/// Hands out the requests of a run to its connections, whatever thread they are on.
#[derive(Debug)]
pub(super) struct Pacer {
    start: Instant,
    total: Option<u64>,
    end: Option<Instant>,
    rate: Option<f64>,
    taken: AtomicU64,
    /// Open loop: connections that wait for a request.
    idle: AtomicU64,
    stop: CancellationToken,
}

/// Where the connections of one thread wait for the next moment.
#[derive(Debug)]
pub(super) struct Lane(Mutex<Timer>);

impl Lane {
    /// A lane for the runtime that this is called in; fails where the process may open no more files.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Mutex::new(Timer::new()?)))
    }
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
        Self { start, total, end, rate, taken: AtomicU64::new(0), idle: AtomicU64::new(0), stop }
    }

    /// The same schedule, later.
    pub(super) fn delayed(self, by: Duration) -> Self {
        let end = self.end.and_then(|end| end.checked_add(by));
        Self { start: self.start.checked_add(by).unwrap_or(self.start), end, ..self }
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
    pub(super) async fn next(&self, lane: &Lane) -> io::Result<Option<Instant>> {
        let Some(rate) = self.rate else { return Ok(self.at_once()) };
        self.idle.fetch_add(1, Ordering::Relaxed);
        let taken = self.in_time(rate, lane).await;
        self.idle.fetch_sub(1, Ordering::Relaxed);
        taken
    }

    fn at_once(&self) -> Option<Instant> {
        let (index, now) = (self.taken.fetch_add(1, Ordering::Relaxed), Instant::now());
        let over = self.stop.is_cancelled() || self.end.is_some_and(|end| now >= end);
        (!over && index < self.total.unwrap_or(u64::MAX)).then_some(now)
    }

    async fn in_time(&self, rate: f64, lane: &Lane) -> io::Result<Option<Instant>> {
        let timer = lane.0.lock().await;
        loop {
            let index = self.taken.load(Ordering::Relaxed);
            if !self.reached(&timer, index, rate).await? {
                return Ok(None);
            }
            // Another thread may have taken it meanwhile.
            if self.taken.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(self.moment(index, rate));
            }
        }
    }

    /// Open loop: says at each request's time when fewer connections wait than requests are due.
    pub(super) async fn watch(&self, mut lacking: impl FnMut()) -> io::Result<()> {
        let Some(rate) = self.rate else { return Ok(()) };
        let (timer, mut index) = (Timer::new()?, 0);
        while self.reached(&timer, index, rate).await? {
            let due = (index + 1).saturating_sub(self.taken.load(Ordering::Relaxed));
            if due > self.idle.load(Ordering::Relaxed) {
                lacking();
            }
            index += 1;
        }
        Ok(())
    }

    /// Waits for the moment of a request; `false` when the run is over before.
    async fn reached(&self, timer: &Timer, index: u64, rate: f64) -> io::Result<bool> {
        let Some(moment) = self.moment(index, rate) else { return Ok(false) };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(false),
            waited = timer.wait_until(moment) => waited.map(|()| true),
        }
    }

    /// The moment of a request; `None` for one that is not a part of the schedule.
    fn moment(&self, index: u64, rate: f64) -> Option<Instant> {
        if self.planned().is_some_and(|planned| index >= planned) {
            return None;
        }
        let moment = self.start.checked_add(Duration::try_from_secs_f64(index as f64 / rate).ok()?)?;
        self.end.is_none_or(|end| moment < end).then_some(moment)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

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
        let (lane, mut offsets) = (Lane::new().unwrap(), Vec::new());
        while let Some(intended) = pacer.next(&lane).await.unwrap() {
            offsets.push((intended - pacer.start).as_millis());
        }
        assert_eq!(offsets, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    }

    #[tokio::test]
    async fn a_schedule_that_begins_later_is_the_same_otherwise() {
        let late = Duration::from_millis(20);
        let begun = Instant::now();
        let pacer = pacer(None, Some(30), Some(100.0)).delayed(late);
        assert_eq!(pacer.planned(), Some(3));
        let (lane, mut offsets) = (Lane::new().unwrap(), Vec::new());
        while let Some(intended) = pacer.next(&lane).await.unwrap() {
            assert!(intended >= begun + late && Instant::now() >= intended);
            offsets.push((intended - pacer.start()).as_millis());
        }
        assert_eq!(offsets, [0, 10, 20]);
    }

    #[test]
    fn a_thread_that_is_held_up_leaves_the_requests_to_the_other() {
        let pacer = Arc::new(pacer(Some(50), None, Some(1_000.0)));
        let (end, ended) = mpsc::channel::<()>();
        let (stuck, is_stuck) = mpsc::channel();
        let one = Arc::clone(&pacer);
        let held_up = std::thread::spawn(move || {
            on_a_runtime(async {
                let lane = Lane::new().unwrap();
                // One connection waits for the next moment while the other holds the thread up.
                let hold = async {
                    one.next(&lane).await.unwrap().unwrap();
                    stuck.send(()).unwrap();
                    let _ = ended.recv_timeout(Duration::from_secs(20));
                };
                tokio::join!(hold, one.next(&lane)).1.unwrap()
            })
        });
        is_stuck.recv().unwrap();
        let taken = on_a_runtime(async {
            let (lane, mut taken) = (Lane::new().unwrap(), 0);
            while pacer.next(&lane).await.unwrap().is_some() {
                taken += 1;
            }
            taken
        });
        drop(end);
        assert_eq!((taken, held_up.join().unwrap()), (49, None));
    }

    fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[tokio::test]
    async fn it_says_when_too_few_connections_wait() {
        let nobody = pacer(Some(3), None, Some(1_000.0));
        let mut lacking = 0;
        nobody.watch(|| lacking += 1).await.unwrap();
        assert_eq!(lacking, 3);

        let one_each_time = pacer(Some(2), None, Some(1_000.0));
        let (lane, mut lacking) = (Lane::new().unwrap(), 0);
        let waiting = async { while one_each_time.next(&lane).await.unwrap().is_some() {} };
        let (_, watched) = tokio::join!(waiting, one_each_time.watch(|| lacking += 1));
        watched.unwrap();
        assert_eq!(lacking, 0);
    }

    #[tokio::test]
    async fn a_cancelled_run_hands_out_nothing_more() {
        for rate in [None, Some(10.0)] {
            let (pacer, lane) = (pacer(Some(10), None, rate), Lane::new().unwrap());
            assert!(pacer.next(&lane).await.unwrap().is_some());
            pacer.stop.cancel();
            assert!(pacer.next(&lane).await.unwrap().is_none());
        }
    }
}
