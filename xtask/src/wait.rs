//! Waiting. This package may not use `crates/eventually`, because it depends on nothing here; so this is its counterpart,
//! and the only other place with a sleep.

use std::time::{Duration, Instant};

/// Lets time pass: for moments that are chosen at random, not for conditions.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// How punctual this machine wakes a thread that does nothing else: the part of the wake-ups that came more than a
/// millisecond late.
pub(crate) fn late_part(rate: u32, span: Duration) -> f64 {
    let (begun, wake_ups) = (Instant::now(), (span.as_secs_f64() * f64::from(rate)) as u32);
    let late = (0..wake_ups).filter(|index| {
        let moment = begun + Duration::from_secs_f64(f64::from(*index) / f64::from(rate));
        std::thread::sleep(moment.saturating_duration_since(Instant::now()));
        moment.elapsed() > Duration::from_millis(1)
    });
    late.count() as f64 / f64::from(wake_ups.max(1))
}

/// Looks until the look succeeds, at most for a time. Fails with the last thing seen.
pub(crate) fn until<T, E>(limit: Duration, every: Duration, mut look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = Instant::now() + limit;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() + every >= end => return Err(last),
            Err(_) => std::thread::sleep(every),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_again_and_tells_what_it_saw_last() {
        let mut looks = 0;
        let found = until(Duration::from_secs(5), Duration::from_millis(1), || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        });
        assert_eq!(found, Ok(3));
        let never: Result<(), &str> = until(Duration::from_millis(3), Duration::from_millis(1), || Err("last"));
        assert_eq!(never, Err("last"));
    }
}
