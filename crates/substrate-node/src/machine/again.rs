//! When a program that has ended is started again. Pure.

use std::time::Duration;

/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A program that ran for so long has worked: the next pause is the first again.
const WORKED: Duration = Duration::from_secs(10);
/// How often a port is tried.
pub(super) const STEP: Duration = Duration::from_millis(20);

/// The pauses of one program.
#[derive(Debug)]
pub(super) struct Again {
    next: Duration,
}

impl Default for Again {
    fn default() -> Self {
        Self { next: PAUSES.0 }
    }
}

impl Again {
    /// The pause after the program has run for so long.
    pub(super) fn pause(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= WORKED { PAUSES.0 } else { self.next };
        self.next = (pause * 2).min(PAUSES.1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_program_has_worked() {
        let mut again = Again::default();
        let pauses: Vec<u128> = (0..8).map(|_| again.pause(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(again.pause(WORKED).as_millis(), 100);
        assert_eq!(again.pause(Duration::ZERO).as_millis(), 200);
    }
}
