//! A split that may be decided before its last sample, however often one looks.
//!
//! Looking at a test of fixed size again and again, and stopping when it likes what it sees, makes its errors many times
//! as frequent. The test here may be looked at after every sample, and still keeps the error rates that it promises.
//!
//! # The rule
//!
//! For each category, shares are drawn from a beta distribution around its target `w`. The probability of the counts
//! under that mixture, divided by their probability under a share `p`, is `e(p)`. If `p` is the true share then `e(p)`
//! is a martingale that begins at 1, so it ever reaches `1 / alpha` with probability at most `alpha`
//! (Ville's inequality; Robbins 1970, "Statistical methods related to the law of the iterated logarithm"). The shares
//! with `e(p)` below `1 / alpha` are an interval that holds the truth at every look at once.
//!
//! - *Fail* when the interval of some category at `false_fail / (2 k)`, with `k` categories, lies beside `[w - d, w + d]`; a
//!   category of zero with a hit. A share that is off by less than the margin is left to the last look.
//! - *Pass* when every category's interval at `false_pass / 2` lies inside `[w - d, w + d]`.
//! - Otherwise go on; the last look, after a planned number of samples, is that of [`SplitPlan`].
//!
//! # Why its error rates hold
//!
//! Half of each error rate is spent on the looks and half on the last look, which is planned for that half. *False
//! fail:* by Ville's inequality and a union bound over the categories. *False pass:* where a category's share is off by
//! the margin or more, passing early needs its interval to miss the truth. How often and when one looks does not matter,
//! as long as the counts of a look are the first samples of the measurement, all of them.
//!
//! A leak to a target of zero that is smaller than the margin is seen less often by fewer samples.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::function::beta::ln_beta;

use crate::binomial::{Interval, bisect};
use crate::bisection::first_where;
use crate::outcome::Outcome;
use crate::region::Region;
use crate::split::{ErrorRates, PlanError, SplitPlan, SplitVerdict, Target};

/// Samples before the first look.
const FIRST: u64 = 100;
/// A look is worth so much of what is known that as much again is taken, divided by this. Each chunk costs something by
/// itself, so chunks grow.
const GROWTH: u64 = 4;

/// How many samples to take after so many, before the next look; never more than `most` in all. Any other schedule would
/// keep the error rates, too.
#[must_use]
pub fn next_chunk(taken: u64, most: u64) -> u64 {
    (taken / GROWTH).max(FIRST).min(most.saturating_sub(taken))
}

/// The plan of a split that may be decided early.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarlySplit {
    /// The last look: half of each error rate, and the largest number of samples.
    pub last: SplitPlan,
    /// At least half of all runs against a right split pass within so many samples.
    pub typical: u64,
    /// How many samples the belief in the weights is worth: so many that shares drawn lie about a margin away.
    concentration: f64,
}

impl EarlySplit {
    /// Plans the looks of a split: the same targets, margin and error rates.
    ///
    /// # Errors
    /// Where no reasonable number of samples decides with half of each error rate.
    pub fn new(split: &SplitPlan) -> Result<Self, PlanError> {
        let half = ErrorRates { false_fail: split.rates.false_fail / 2.0, false_pass: split.rates.false_pass / 2.0 };
        let last = SplitPlan::new(split.targets.clone(), split.margin, half)?;
        let margin = split.margin / 100.0;
        let variances = last.targets.iter().map(|target| share(target) * (1.0 - share(target)));
        let concentration = (variances.fold(0.0, f64::max) / (margin * margin)).max(1.0);
        let mut plan = Self { typical: last.n, last, concentration };
        plan.typical = plan.half_passed();
        Ok(plan)
    }

    /// The number of samples after which it is decided in any case.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.last.n
    }

    /// What a look says: `Inconclusive` means that more samples are needed. Categories without a target count as
    /// targets of zero.
    #[must_use]
    pub fn look(&self, counts: &BTreeMap<String, u64>) -> Outcome {
        let n: u64 = counts.values().sum();
        let targeted: u64 = self.last.targets.iter().map(|target| count(target, counts)).sum();
        if n == 0 {
            return Outcome::Inconclusive;
        }
        if targeted < n || self.last.targets.iter().any(|target| self.refutes(target, count(target, counts), n)) {
            return Outcome::Fail;
        }
        let proved = self.last.targets.iter().all(|target| self.proves(target, count(target, counts), n));
        if proved { Outcome::Pass } else { Outcome::Inconclusive }
    }

    /// The outcome alone of [`Self::judge`].
    #[must_use]
    pub fn outcome(&self, counts: &BTreeMap<String, u64>) -> Outcome {
        match self.look(counts) {
            Outcome::Inconclusive => self.last.outcome(counts),
            decided => decided,
        }
    }

    /// Judges the counts at which a measurement ended: as a look where that decides, else as the last look.
    #[must_use]
    pub fn judge(&self, counts: &BTreeMap<String, u64>) -> SplitVerdict {
        let mut verdict = self.last.judge(counts);
        let look = self.look(counts);
        if look == Outcome::Inconclusive {
            return verdict;
        }
        verdict.outcome = look;
        for category in &mut verdict.categories {
            let target = Target { category: category.category.clone(), weight: category.target };
            let (count, n) = (category.count, verdict.n);
            category.interval = self.interval(&target, count, n);
            category.outcome = match () {
                () if self.refutes(&target, count, n) => Outcome::Fail,
                () if self.proves(&target, count, n) => Outcome::Pass,
                () => Outcome::Inconclusive,
            };
            category.reason = self.last.reason(&target, count, n, "anytime-valid", category.interval, category.outcome);
        }
        verdict
    }

    fn refutes(&self, target: &Target, count: u64, n: u64) -> bool {
        if target.weight == 0.0 {
            return count > 0;
        }
        let (seen, margin) = (count as f64 / n as f64, self.last.margin / 100.0);
        let edge = seen.clamp(share(target) - margin, share(target) + margin);
        let threshold = (self.last.targets.len() as f64 / self.last.rates.false_fail).ln();
        edge != seen && self.log_evidence(target, count, n, edge) >= threshold
    }

    fn proves(&self, target: &Target, count: u64, n: u64) -> bool {
        self.is_above(target, count, n) && self.is_below(target, count, n)
    }

    /// Whether the interval of the category begins above the lower end of its band.
    fn is_above(&self, target: &Target, count: u64, n: u64) -> bool {
        let low = share(target) - self.last.margin / 100.0;
        low <= 0.0 || (count as f64 > low * n as f64 && self.excludes(target, count, n, low))
    }

    fn is_below(&self, target: &Target, count: u64, n: u64) -> bool {
        let high = share(target) + self.last.margin / 100.0;
        let hit_of_zero = target.weight == 0.0 && count > 0;
        !hit_of_zero && (high >= 1.0 || ((count as f64) < high * n as f64 && self.excludes(target, count, n, high)))
    }

    fn excludes(&self, target: &Target, count: u64, n: u64, share: f64) -> bool {
        self.log_evidence(target, count, n, share) >= -self.last.rates.false_pass.ln()
    }

    /// The logarithm of `e(share)`.
    fn log_evidence(&self, target: &Target, count: u64, n: u64, against: f64) -> f64 {
        let log_power = |count: u64, share: f64| if count == 0 { 0.0 } else { count as f64 * share.ln() };
        let (hits, misses) = self.belief(target);
        let mixture = ln_beta(hits + count as f64, misses + (n - count) as f64) - ln_beta(hits, misses);
        mixture - log_power(count, against) - log_power(n - count, 1.0 - against)
    }

    /// Parameters of the beta distribution around a target. At least 1, so that a target of 0 or of 100 has one, too.
    fn belief(&self, target: &Target) -> (f64, f64) {
        let share = share(target);
        ((self.concentration * share).max(1.0), (self.concentration * (1.0 - share)).max(1.0))
    }

    /// The shares that no look so far excludes at half of the error rate.
    fn interval(&self, target: &Target, count: u64, n: u64) -> Interval {
        let seen = count as f64 / n as f64;
        let excluded = |share: f64| self.excludes(target, count, n, share);
        Interval {
            low: if count == 0 { 0.0 } else { bisect(|share| share < seen && excluded(share)) },
            high: if count == n { 1.0 } else { bisect(|share| share <= seen || !excluded(share)) },
        }
    }

    /// The least number of samples at which at most half of the runs against a right split are undecided.
    fn half_passed(&self) -> u64 {
        let open = |n: u64| -> f64 {
            self.last.targets.iter().map(|target| self.region(target, n).miss(n, share(target))).sum()
        };
        first_where(1, self.last.n, |n| open(n) <= 0.5)
    }

    /// The counts that prove a category after `n` samples: one run, because the evidence against either end of the band
    /// grows with the distance from it.
    fn region(&self, target: &Target, n: u64) -> Region {
        let first = first_where(0, n + 1, |count| self.is_above(target, count, n));
        let beyond = first_where(0, n + 1, |count| !self.is_below(target, count, n));
        Region::of(first, beyond)
    }
}

fn share(target: &Target) -> f64 {
    target.weight / 100.0
}

fn count(target: &Target, counts: &BTreeMap<String, u64>) -> u64 {
    counts.get(&target.category).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
