//! Quantiles with exact intervals from order statistics: no assumption about the distribution.
//!
//! Of n independent samples, the number that lie below the true q-quantile is binomial with n and q. So the interval
//! between two order statistics holds the quantile with a probability that is computed exactly. A claim "the q-quantile
//! is at most x" passes when the upper end is at most x, fails when the lower end is above x, else it is open.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::binomial::{lower_tail, upper_tail};
use crate::bisection::first_where;
use crate::outcome::Outcome;

/// A quantile to be bounded, with the probability `alpha` of being wrong on either side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuantilePlan {
    /// Which quantile, between 0 and 1 without either.
    pub quantile: f64,
    /// Probability of a wrong pass and, separately, of a wrong fail.
    pub alpha: f64,
}

/// A quantile as sorted samples show it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuantileEstimate {
    /// The sample at the quantile.
    pub value: f64,
    /// Lower end of the exact interval; `None` where the samples do not bound it.
    pub low: Option<f64>,
    /// Upper end; `None` where the samples do not bound it.
    pub high: Option<f64>,
}

impl QuantilePlan {
    /// The least number of samples whose largest bounds the quantile from above.
    #[must_use]
    pub fn samples_needed(self) -> u64 {
        // The largest of n is below the quantile with probability q^n.
        (self.alpha.ln() / self.quantile.ln()).ceil().max(1.0) as u64
    }

    /// The quantile with its interval, or `None` without samples. The samples are in rising order.
    #[must_use]
    pub fn estimate(self, sorted: &[f64]) -> Option<QuantileEstimate> {
        let n = sorted.len() as u64;
        let nearest = ((self.quantile * n as f64).ceil() as usize).max(1);
        let value = *sorted.get(nearest.min(sorted.len()).checked_sub(1)?)?;
        let at =
            |rank: Option<u64>| rank.and_then(|rank| sorted.get(usize::try_from(rank).ok()?.checked_sub(1)?).copied());
        Some(QuantileEstimate { value, low: at(self.lower_rank(n)), high: at(self.upper_rank(n)) })
    }

    /// Judges "the quantile is at most `limit`".
    #[must_use]
    pub fn judge(self, estimate: &QuantileEstimate, limit: f64) -> Outcome {
        match (estimate.low, estimate.high) {
            (_, Some(high)) if high <= limit => Outcome::Pass,
            (Some(low), _) if low > limit => Outcome::Fail,
            _ => Outcome::Inconclusive,
        }
    }

    /// The smallest rank whose sample is below the quantile with probability at most `alpha`.
    fn upper_rank(self, n: u64) -> Option<u64> {
        // The sample of rank r is below the quantile when at least r samples are.
        let misses = |rank: u64| upper_tail(rank, n, self.quantile) > self.alpha;
        let rank = first_where(1, n + 1, |rank| !misses(rank));
        (rank <= n).then_some(rank)
    }

    /// The largest rank whose sample is above the quantile with probability at most `alpha`.
    fn lower_rank(self, n: u64) -> Option<u64> {
        // The sample of rank r is above the quantile when fewer than r samples are below.
        let misses = |rank: u64| lower_tail(rank - 1, n, self.quantile) > self.alpha;
        let rank = first_where(1, n + 1, misses) - 1;
        (rank > 0).then_some(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P99: QuantilePlan = QuantilePlan { quantile: 0.99, alpha: 0.01 };
    const MEDIAN: QuantilePlan = QuantilePlan { quantile: 0.5, alpha: 0.05 };

    fn numbers(n: u32) -> Vec<f64> {
        (1..=n).map(f64::from).collect()
    }

    #[test]
    fn the_median_of_twenty_has_the_interval_of_the_tables() {
        // One-sided 5 % each: ranks 6 and 15 for n = 20, as tables of the sign test have them.
        let estimate = MEDIAN.estimate(&numbers(20)).expect("samples");
        assert_eq!((estimate.low, estimate.value, estimate.high), (Some(6.0), 10.0, Some(15.0)));
    }

    #[test]
    fn few_samples_do_not_bound_a_high_quantile() {
        assert_eq!(P99.samples_needed(), 459);
        assert_eq!(P99.estimate(&numbers(458)).expect("samples").high, None);
        assert_eq!(P99.estimate(&numbers(459)).expect("samples").high, Some(459.0));
        assert_eq!(P99.estimate(&[]), None);
    }

    #[test]
    fn claims_pass_fail_or_stay_open() {
        let estimate = MEDIAN.estimate(&numbers(20)).expect("samples");
        assert_eq!(MEDIAN.judge(&estimate, 15.0), Outcome::Pass);
        assert_eq!(MEDIAN.judge(&estimate, 5.9), Outcome::Fail);
        assert_eq!(MEDIAN.judge(&estimate, 10.0), Outcome::Inconclusive);
        let open = QuantileEstimate { value: 1.0, low: None, high: None };
        assert_eq!(MEDIAN.judge(&open, 100.0), Outcome::Inconclusive);
    }

    proptest::proptest! {
        #[test]
        fn both_ends_miss_with_at_most_alpha(n in 1_u64..3000, quantile in 0.01_f64..0.999) {
            let plan = QuantilePlan { quantile, alpha: 0.01 };
            if let Some(rank) = plan.upper_rank(n) {
                proptest::prop_assert!(upper_tail(rank, n, quantile) <= 0.01);
                proptest::prop_assert!(rank == 1 || upper_tail(rank - 1, n, quantile) > 0.01);
            }
            if let Some(rank) = plan.lower_rank(n) {
                proptest::prop_assert!(lower_tail(rank - 1, n, quantile) <= 0.01);
            }
        }
    }
}
