//! Random moments that can be repeated: a small generator with a seed. Nothing here needs to be unpredictable.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The generator xorshift64*.
#[derive(Debug)]
pub(super) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// A seed from the clock.
    pub(super) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos());
        Self::of(u64::try_from(now & u128::from(u64::MAX)).unwrap_or(1))
    }

    /// A seed of choice.
    pub(super) fn of(seed: u64) -> Self {
        // The generator stays at zero for ever.
        Self { seed, state: if seed == 0 { 0x9E37_79B9_7F4A_7C15 } else { seed } }
    }

    /// What to give to [`Chance::of`] for the same sequence.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A time shorter than the limit.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        limit.mul_f64((self.next() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// One of two, equally often.
    pub(super) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_values_spread() {
        let draw = |seed| {
            let mut chance = Chance::of(seed);
            (0..1000).map(|_| chance.below(Duration::from_secs(10)).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        for second in 0..10 {
            let hits = draw(0).into_iter().filter(|value| *value == second).count();
            assert!((50..200).contains(&hits), "{second}: {hits}");
        }
        let mut chance = Chance::of(3);
        let heads = (0..1000).filter(|_| chance.coin()).count();
        assert!((400..600).contains(&heads), "{heads}");
    }
}
