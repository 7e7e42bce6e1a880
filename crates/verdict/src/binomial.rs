//! Exact binomial tails and Clopper-Pearson intervals.
//!
//! Both tails are computed directly from the regularised incomplete beta function, never as one minus the other:
//! the probabilities of interest are as small as 1e-7, where a subtraction would leave mostly rounding error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// An interval of probabilities, both ends in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Smallest probability that the data do not rule out.
    pub low: f64,
    /// Largest probability that the data do not rule out.
    pub high: f64,
}

/// P(X >= count) for X ~ Binomial(n, p).
pub fn upper_tail(count: u64, n: u64, p: f64) -> f64 {
    match () {
        () if count == 0 => 1.0,
        () if count > n || p <= 0.0 => 0.0,
        () if p >= 1.0 => 1.0,
        () => beta_reg(count as f64, (n - count) as f64 + 1.0, p),
    }
}

/// P(X <= count) for X ~ Binomial(n, p).
pub fn lower_tail(count: u64, n: u64, p: f64) -> f64 {
    match () {
        () if count >= n => 1.0,
        () if p <= 0.0 => 1.0,
        () if p >= 1.0 => 0.0,
        () => beta_reg((n - count) as f64, count as f64 + 1.0, 1.0 - p),
    }
}

/// The smallest probability p with P(X >= count | p) >= `alpha`: the one-sided exact lower bound.
pub fn lower_bound(count: u64, n: u64, alpha: f64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    bisect(|p| upper_tail(count, n, p) < alpha)
}

/// The largest probability p with P(X <= count | p) >= `alpha`: the one-sided exact upper bound.
pub fn upper_bound(count: u64, n: u64, alpha: f64) -> f64 {
    if count >= n {
        return 1.0;
    }
    bisect(|p| lower_tail(count, n, p) >= alpha)
}

/// The exact (Clopper-Pearson) interval whose two ends each miss the truth with probability at most `alpha`.
///
/// `count` successes in `n` trials. With `alpha` = 0.005 it is the usual 99 % interval. No trials give 0..=1.
pub fn clopper_pearson(count: u64, n: u64, alpha: f64) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let count = count.min(n);
    Interval { low: lower_bound(count, n, alpha), high: upper_bound(count, n, alpha) }
}

/// The point of 0..=1 where `below` turns from true to false, to the last bit that matters.
pub(crate) fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums the probability mass term by term, which is slow and obviously right.
    fn naive_lower_tail(count: u64, n: u64, p: f64) -> f64 {
        let mut mass = (1.0 - p).powi(i32::try_from(n).expect("a small n"));
        let mut sum = mass;
        for k in 0..count {
            mass *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            sum += mass;
        }
        sum
    }

    #[test]
    fn tails_agree_with_the_summed_mass() {
        for n in [1_u64, 2, 7, 40, 200] {
            for p in [0.01, 0.1, 0.5, 0.75, 0.9] {
                for count in 0..n {
                    let expected = naive_lower_tail(count, n, p);
                    let found = lower_tail(count, n, p);
                    assert!((expected - found).abs() < 1e-10, "n {n} p {p} count {count}: {expected} {found}");
                    let upper = upper_tail(count + 1, n, p);
                    assert!((1.0 - expected - upper).abs() < 1e-10, "n {n} p {p} count {count}: upper {upper}");
                }
            }
        }
    }

    #[test]
    fn small_tails_keep_their_digits() {
        // All of 20 at p = 0.1 has probability 1e-20; one minus the other tail would give 0.
        let tail = upper_tail(20, 20, 0.1);
        assert!((tail / 1e-20 - 1.0).abs() < 1e-6, "{tail:e}");
    }

    #[test]
    fn ninety_three_of_a_hundred() {
        // Reference value from an independent implementation.
        let interval = clopper_pearson(93, 100, 0.005);
        assert!((interval.low - 0.837_197).abs() < 1e-6, "{interval:?}");
        assert!((interval.high - 0.979_210).abs() < 1e-6, "{interval:?}");
    }

    #[test]
    fn nothing_seen_gives_the_rule_of_three() {
        for (n, bound) in [(300_u64, 0.009_936), (1000, 0.002_991), (3000, 0.000_998), (10_000, 0.000_299_5)] {
            let found = clopper_pearson(0, n, 0.05).high;
            assert!((found - bound).abs() / bound < 1e-3, "n {n}: {found}");
        }
    }

    #[test]
    fn ends_are_closed_and_no_trials_say_nothing() {
        assert_eq!(clopper_pearson(0, 10, 0.01).low, 0.0);
        assert_eq!(clopper_pearson(10, 10, 0.01).high, 1.0);
        assert_eq!(clopper_pearson(0, 0, 0.01), Interval { low: 0.0, high: 1.0 });
    }

    proptest::proptest! {
        #[test]
        fn the_interval_holds_the_share_and_narrows_with_alpha(n in 1_u64..20_000, share in 0.0_f64..=1.0) {
            let count = ((n as f64 * share) as u64).min(n);
            let wide = clopper_pearson(count, n, 1e-6);
            let narrow = clopper_pearson(count, n, 1e-2);
            let point = count as f64 / n as f64;
            proptest::prop_assert!(wide.low <= narrow.low + 1e-12 && narrow.high <= wide.high + 1e-12);
            proptest::prop_assert!(narrow.low <= point + 1e-9 && point <= narrow.high + 1e-9);
        }

        #[test]
        fn the_bound_is_where_the_tail_crosses_alpha(n in 2_u64..5_000, share in 0.01_f64..0.99) {
            let count = ((n as f64 * share) as u64).clamp(1, n - 1);
            let interval = clopper_pearson(count, n, 0.01);
            proptest::prop_assert!((upper_tail(count, n, interval.low) - 0.01).abs() < 1e-6);
            proptest::prop_assert!((lower_tail(count, n, interval.high) - 0.01).abs() < 1e-6);
        }
    }
}
