//! The counts of one category that prove its share to be within the margin.
//!
//! The exact interval of a count lies inside the band `low..=high` exactly when both tails are small:
//! `P(X <= count | high) <= alpha` and `P(X >= count | low) <= alpha`. Both conditions are monotone in the
//! count, so the counts that pass are one run of integers and its ends are found by bisection.

use crate::binomial::{lower_tail, upper_tail};
use crate::bisection::first_where;

/// The inclusive run of counts that pass; empty when `first > last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Region {
    /// Counts of `n` whose exact interval at `alpha` a side lies within `low..=high` (shares).
    ///
    /// A band that starts at or below 0, or ends at or above 1, has no condition on that side.
    pub(crate) fn within(low: f64, high: f64, n: u64, alpha: f64) -> Self {
        let first = if low <= 0.0 { 0 } else { first_where(0, n + 1, |count| upper_tail(count, n, low) <= alpha) };
        let beyond =
            if high >= 1.0 { n + 1 } else { first_where(0, n + 1, |count| lower_tail(count, n, high) > alpha) };
        Self::of(first, beyond)
    }

    /// From the first count to the one before `beyond`.
    pub(crate) fn of(first: u64, beyond: u64) -> Self {
        match beyond.checked_sub(1) {
            Some(last) => Self { first, last },
            None => Self { first: 1, last: 0 },
        }
    }

    /// A region that only no hits at all satisfy, provided that `n` hits of nothing prove a share below `high`.
    pub(crate) fn nothing(high: f64, n: u64, alpha: f64) -> Self {
        if lower_tail(0, n, high) <= alpha { Self { first: 0, last: 0 } } else { Self { first: 1, last: 0 } }
    }

    pub(crate) fn contains(self, count: u64) -> bool {
        self.first <= count && count <= self.last
    }

    /// The probability that a category whose true share is `share` falls outside the region.
    pub(crate) fn miss(self, n: u64, share: f64) -> f64 {
        if self.first > self.last {
            return 1.0;
        }
        let below = if self.first == 0 { 0.0 } else { lower_tail(self.first - 1, n, share) };
        let above = if self.last >= n { 0.0 } else { upper_tail(self.last + 1, n, share) };
        (below + above).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binomial::clopper_pearson;

    #[test]
    fn the_region_is_the_counts_whose_interval_lies_in_the_band() {
        for (low, high) in [(0.70, 0.80), (0.10, 0.20), (0.05, 0.15), (-0.02, 0.08), (0.95, 1.05)] {
            for n in [50_u64, 600, 1500] {
                let region = Region::within(low, high, n, 0.01);
                for count in 0..=n {
                    let interval = clopper_pearson(count, n, 0.01);
                    let inside = (low <= 0.0 || interval.low >= low) && (high >= 1.0 || interval.high <= high);
                    assert_eq!(region.contains(count), inside, "band {low}..{high} n {n} count {count}");
                }
            }
        }
    }
}
