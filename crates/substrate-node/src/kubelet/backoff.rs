//! How long a container that keeps ending waits before it is started again. Pure.

use std::time::Duration;

/// Kubernetes' figures: the first restart is immediate, then 10 s, doubled up to 5 minutes; a container that ran
/// for 10 minutes begins anew.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The back-off of one container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackOff {
    ended: u32,
}

impl BackOff {
    /// Books that the container ended after running for `ran`, and says how long to wait before the next start.
    pub(super) fn after_end(&mut self, ran: Duration) -> Duration {
        if ran >= FORGIVEN_AFTER {
            self.ended = 0;
        }
        self.ended += 1;
        self.pause(self.ended - 1)
    }

    /// Books a start that failed, after which there is always a pause.
    pub(super) fn after_failed_start(&mut self) -> Duration {
        self.ended = self.ended.max(1) + 1;
        self.pause(self.ended - 1)
    }

    fn pause(self, ends: u32) -> Duration {
        match ends {
            0 => Duration::ZERO,
            ends => FIRST.saturating_mul(1 << (ends - 1).min(16)).min(LONGEST),
        }
    }
}

/// A pause that grows from `first` to `longest`, for attempts whose success depends on something else appearing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The pause that is due; the next one is twice as long.
    pub(super) fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_ten_seconds_to_five_minutes_and_are_forgiven() {
        let mut back_off = BackOff::default();
        let seconds: Vec<_> = (0..8).map(|_| back_off.after_end(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(back_off.after_end(FORGIVEN_AFTER), Duration::ZERO);
        assert_eq!(BackOff::default().after_failed_start(), FIRST);
    }
}
