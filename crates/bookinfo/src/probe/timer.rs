//! A timer with the precision of the kernel's clock: the runtime's own counts in whole milliseconds, which is longer than
//! the time between two requests at a thousand a second.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Waits for moments, one after the other.
#[derive(Debug)]
pub(super) struct Timer(AsyncFd<Descriptor>);

/// The kernel's timer as something to wait for.
#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer; fails where the process may open no more files.
    pub(super) fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        #[expect(deprecated, reason = "its successor is unsafe; this descriptor is owned and stays the same")]
        let timer = AsyncFd::with_interest(Descriptor(timer), Interest::READABLE)?;
        Ok(Self(timer))
    }

    /// Waits until the moment. One that has passed is there at once.
    pub(super) async fn wait_until(&self, moment: Instant) -> io::Result<()> {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        self.arm(left)?;
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| match timer.get_ref().0.wait() {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::from(error)),
            });
            match read {
                Ok(result) => return result,
                // Readiness left over from an earlier moment that was not waited for to its end.
                Err(_would_block) => {}
            }
        }
    }

    fn arm(&self, left: Duration) -> io::Result<()> {
        let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
        self.0.get_ref().0.set(expiration, TimerSetTimeFlags::empty()).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_at_least_as_long_as_it_should_and_not_a_millisecond_by_rounding() {
        let timer = Timer::new().unwrap();
        let begun = Instant::now();
        let mut moment = begun;
        // Two hundred waits of 100 µs: a timer of whole milliseconds would need 200 ms and more.
        for _ in 0..200 {
            moment += Duration::from_micros(100);
            timer.wait_until(moment).await.unwrap();
            assert!(Instant::now() >= moment);
        }
        assert!(begun.elapsed() < Duration::from_millis(150), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_shorten_the_next() {
        let timer = Timer::new().unwrap();
        let first = Instant::now() + Duration::from_millis(2);
        let _ = tokio::time::timeout(Duration::ZERO, timer.wait_until(first)).await;
        let second = Instant::now() + Duration::from_millis(30);
        timer.wait_until(second).await.unwrap();
        assert!(Instant::now() >= second);
    }
}
