//! Waiting. This package may not use `crates/eventually`, because it depends on nothing here; so this is its counterpart,
//! and the only other place with a sleep.

use std::time::{Duration, Instant};

/// Lets time pass: for moments that are chosen at random, not for conditions.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
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
