//! Was traffic split as promised? Judged by equivalence, with the sample size planned beforehand.
//!
//! # The rule
//!
//! Each category (a version, a cluster) has a target share `w` and all share one margin `d`. A category is *proved*
//! when its exact (Clopper-Pearson) interval, with one-sided error `false_pass` at each end, lies inside
//! `[w - d, w + d]`. The split passes when every category is proved. A target of zero is proved by no hit at all in a
//! sample that rules out a share of `d`; a single hit, like a hit of a category without a target, refutes it.
//!
//! # Why its error rates hold
//!
//! *False pass.* If some category's true share is off by `d` or more, proving it needs the interval to miss the truth
//! on one particular side, which happens with probability at most `false_pass`, whatever the other categories do.
//! Passing needs every category proved, so no correction for their number is needed (intersection-union).
//!
//! *False fail.* The counts of a category that prove it are one run of integers. Under the right split the probability
//! of leaving it is an exact sum of two binomial tails; the sum of those over the categories bounds the probability
//! that the split is not proved (the counts of a multinomial are each binomial, and a union bound needs no
//! independence). [`SplitPlan::new`] takes an `n` for which that sum is at most `false_fail`.
//!
//! # Three outcomes
//!
//! A sample for which the sum above is at most `false_fail` always decides: not proved means refuted. A smaller one
//! refutes only when an exact binomial test of a category against its target does, at `false_fail` shared over all
//! tails; else it is inconclusive. Either way a right split fails with probability at most `false_fail`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::binomial::{Interval, clopper_pearson, lower_tail, upper_tail};
use crate::outcome::Outcome;
use crate::region::Region;
use crate::text;

/// Samples beyond this are refused: no traffic run of a scenario is that long.
const LARGEST_SAMPLE: u64 = 10_000_000;

/// What a category should get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Name of the category, such as `v3`.
    pub category: String,
    /// Percent of all samples; all targets of a plan sum to 100.
    pub weight: f64,
}

/// How often a verdict may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRates {
    /// Largest probability that a right split fails.
    pub false_fail: f64,
    /// Largest probability that a split which is off by the margin in some category passes.
    pub false_pass: f64,
}

impl Default for ErrorRates {
    /// A right split fails at most once in a million runs; a wrong one passes at most once in a hundred.
    fn default() -> Self {
        Self { false_fail: 1e-6, false_pass: 1e-2 }
    }
}

/// Why no sample could decide a split.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to tell apart.
    #[error("a split needs at least one category")]
    NoCategories,
    /// The same name twice.
    #[error("category {category} is named twice")]
    Duplicate {
        /// The name.
        category: String,
    },
    /// A weight that is negative, above 100, or not a number.
    #[error("weight {weight} of {category} is not between 0 and 100")]
    WeightOutOfRange {
        /// The category.
        category: String,
        /// Its weight, percent.
        weight: f64,
    },
    /// Weights must share out everything.
    #[error("weights sum to {}, not 100", text::points(*sum))]
    Sum {
        /// Their sum, percent.
        sum: f64,
    },
    /// A margin that is not positive, or too wide to mean anything.
    #[error("margin {margin} is not between 0 and 50 points")]
    MarginOutOfRange {
        /// The margin, points.
        margin: f64,
    },
    /// A target that gets nothing at all would be within the margin.
    #[error("with a margin of {} points {category} would pass at weight {} without getting a single request", text::points(*margin), text::points(*weight))]
    MarginHidesTarget {
        /// The category.
        category: String,
        /// Its weight, percent.
        weight: f64,
        /// The margin, points.
        margin: f64,
    },
    /// An error rate outside 1e-12..0.5.
    #[error("error rate {rate} is not between 1e-12 and 0.5")]
    RateOutOfRange {
        /// The rate.
        rate: f64,
    },
    /// The margin asks for more samples than any run can take.
    #[error("a margin of {} points needs more than {} samples", text::points(*margin), text::thousands(LARGEST_SAMPLE))]
    TooManySamples {
        /// The margin, points.
        margin: f64,
    },
}

/// A split to be proved, and the number of samples that decides it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SplitPlan {
    /// What each category should get; weights sum to 100.
    pub targets: Vec<Target>,
    /// How far a share may be from its target, in points.
    pub margin: f64,
    /// The promised error rates.
    pub rates: ErrorRates,
    /// The planned number of samples.
    pub n: u64,
}

/// The verdict on one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CategoryVerdict {
    /// Name of the category.
    pub category: String,
    /// Whether it is proved, refuted, or neither.
    pub outcome: Outcome,
    /// Samples counted.
    pub count: u64,
    /// Share of all samples, 0..=1.
    pub share: f64,
    /// Exact interval of the true share, 0..=1.
    pub interval: Interval,
    /// Target, percent; zero for a category that has none.
    pub target: f64,
    /// Margin, points.
    pub margin: f64,
    /// Why, as a sentence that names the figures.
    pub reason: String,
}

/// The verdict on a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SplitVerdict {
    /// Pass when every category is proved.
    pub outcome: Outcome,
    /// Samples judged.
    pub n: u64,
    /// Samples planned.
    pub planned: u64,
    /// One verdict a category: targets in their order, then unexpected ones by name.
    pub categories: Vec<CategoryVerdict>,
}

impl SplitPlan {
    /// Plans a split: `targets` in percent, `margin` in points.
    ///
    /// The `n` found fulfils both error rates exactly. It is within one tooth of the saw that discrete counts cut
    /// into the power curve of the smallest such number, not necessarily the very smallest.
    ///
    /// # Errors
    /// When the targets are no split, or no reasonable sample can decide it.
    pub fn new(targets: Vec<Target>, margin: f64, rates: ErrorRates) -> Result<Self, PlanError> {
        check_targets(&targets)?;
        check_margin(&targets, margin)?;
        for rate in [rates.false_fail, rates.false_pass] {
            if !(1e-12..=0.5).contains(&rate) {
                return Err(PlanError::RateOutOfRange { rate });
            }
        }
        let mut plan = Self { targets, margin, rates, n: 0 };
        plan.n = plan.smallest_sample().ok_or(PlanError::TooManySamples { margin })?;
        Ok(plan)
    }

    /// Bound on the probability that a right split is not proved by `n` samples: an exact tail sum over the categories.
    pub fn miss_bound(&self, n: u64) -> f64 {
        self.targets.iter().map(|target| self.region(target, n).miss(n, target.weight / 100.0)).sum()
    }

    /// Exact probability that a split with the given true `shares` (0..=1, in the order of the targets, summing to 1)
    /// passes with the planned number of samples.
    pub fn pass_probability(&self, shares: &[f64]) -> f64 {
        self.pass_probability_of(self.n, shares)
    }

    /// As [`Self::pass_probability`], for another number of samples.
    pub fn pass_probability_of(&self, n: u64, shares: &[f64]) -> f64 {
        let regions: Vec<Region> = self.targets.iter().map(|target| self.region(target, n)).collect();
        box_probability(n, &regions, shares)
    }

    /// Judges counts by category. Categories without a target count as targets of zero.
    pub fn judge(&self, counts: &BTreeMap<String, u64>) -> SplitVerdict {
        let (n, outcomes) = self.outcomes(counts);
        let categories: Vec<CategoryVerdict> =
            outcomes.into_iter().map(|(target, count, outcome)| self.explain(target, count, n, outcome)).collect();
        let outcome = Outcome::all(categories.iter().map(|category| category.outcome));
        SplitVerdict { outcome, n, planned: self.n, categories }
    }

    /// The outcome alone of [`Self::judge`], which is found much faster than the words and intervals.
    pub fn outcome(&self, counts: &BTreeMap<String, u64>) -> Outcome {
        Outcome::all(self.outcomes(counts).1.into_iter().map(|(_, _, outcome)| outcome))
    }

    /// How many samples there are, and for each category its target, its count, and whether it is proved.
    fn outcomes(&self, counts: &BTreeMap<String, u64>) -> (u64, Vec<(Target, u64, Outcome)>) {
        let n: u64 = counts.values().sum();
        let decides = n > 0 && self.miss_bound(n) <= self.rates.false_fail;
        let unexpected = counts
            .iter()
            .filter(|(category, count)| **count > 0 && !self.targets.iter().any(|target| target.category == **category))
            .map(|(category, _)| Target { category: category.clone(), weight: 0.0 });
        let all = self.targets.iter().cloned().chain(unexpected).map(|target| {
            let count = counts.get(&target.category).copied().unwrap_or(0);
            let outcome = self.outcome_of(&target, count, n, decides);
            (target, count, outcome)
        });
        (n, all.collect())
    }

    fn outcome_of(&self, target: &Target, count: u64, n: u64, decides: bool) -> Outcome {
        if n > 0 && self.region(target, n).contains(count) {
            Outcome::Pass
        } else if decides || self.refutes(target, count, n) {
            Outcome::Fail
        } else {
            Outcome::Inconclusive
        }
    }

    fn explain(&self, target: Target, count: u64, n: u64, outcome: Outcome) -> CategoryVerdict {
        let interval = clopper_pearson(count, n, self.rates.false_pass);
        let reason = self.reason(&target, count, n, "exact", interval, outcome);
        CategoryVerdict {
            category: target.category,
            outcome,
            count,
            share: if n == 0 { 0.0 } else { count as f64 / n as f64 },
            interval,
            target: target.weight,
            margin: self.margin,
            reason,
        }
    }

    /// The exact test that lets a sample smaller than planned refute a target.
    fn refutes(&self, target: &Target, count: u64, n: u64) -> bool {
        if n == 0 {
            return false;
        }
        let level = self.rates.false_fail / (2 * self.targets.len()) as f64;
        let share = target.weight / 100.0;
        lower_tail(count, n, share) <= level || upper_tail(count, n, share) <= level
    }

    /// Why, in words; `holds` says of what kind the interval is.
    pub(crate) fn reason(
        &self,
        target: &Target,
        count: u64,
        n: u64,
        holds: &str,
        interval: Interval,
        outcome: Outcome,
    ) -> String {
        let Target { category, weight } = target;
        if n == 0 {
            return format!("{category}: nothing was measured");
        }
        let found = format!(
            "{category}: {} of {} = {}, {holds} interval {}",
            text::thousands(count),
            text::thousands(n),
            text::percent(count as f64 / n as f64),
            text::interval(interval)
        );
        let band = if *weight == 0.0 {
            "none".to_owned()
        } else {
            format!("{} % ± {}", text::points(*weight), text::points(self.margin))
        };
        match outcome {
            Outcome::Pass => format!("{found} lies within {band}"),
            Outcome::Fail => format!("{found} does not lie within {band}"),
            Outcome::Inconclusive => {
                format!("{found} does not decide {band}; {} samples would", text::thousands(self.n))
            }
        }
    }

    fn region(&self, target: &Target, n: u64) -> Region {
        let (share, margin) = (target.weight / 100.0, self.margin / 100.0);
        if target.weight == 0.0 {
            Region::nothing(margin, n, self.rates.false_pass)
        } else {
            Region::within(share - margin, share + margin, n, self.rates.false_pass)
        }
    }

    fn smallest_sample(&self) -> Option<u64> {
        let decides = |n: u64| self.miss_bound(n) <= self.rates.false_fail;
        let mut high = 1_u64;
        while !decides(high) {
            high = high.checked_mul(2).filter(|high| *high <= LARGEST_SAMPLE)?;
        }
        let mut low = high / 2;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if decides(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }
}

impl SplitVerdict {
    /// The verdict in one line: every category with count, share, interval and target.
    pub fn sentence(&self) -> String {
        let parts: Vec<&str> = self.categories.iter().map(|category| category.reason.as_str()).collect();
        parts.join("; ")
    }
}

fn check_targets(targets: &[Target]) -> Result<(), PlanError> {
    if targets.is_empty() {
        return Err(PlanError::NoCategories);
    }
    for (index, Target { category, weight }) in targets.iter().enumerate() {
        if !(0.0..=100.0).contains(weight) {
            return Err(PlanError::WeightOutOfRange { category: category.clone(), weight: *weight });
        }
        if targets[..index].iter().any(|earlier| earlier.category == *category) {
            return Err(PlanError::Duplicate { category: category.clone() });
        }
    }
    let sum: f64 = targets.iter().map(|target| target.weight).sum();
    if (sum - 100.0).abs() > 1e-6 {
        return Err(PlanError::Sum { sum });
    }
    Ok(())
}

fn check_margin(targets: &[Target], margin: f64) -> Result<(), PlanError> {
    if !(margin > 0.0 && margin < 50.0) {
        return Err(PlanError::MarginOutOfRange { margin });
    }
    match targets.iter().find(|target| target.weight > 0.0 && target.weight <= margin) {
        Some(Target { category, weight }) => {
            Err(PlanError::MarginHidesTarget { category: category.clone(), weight: *weight, margin })
        }
        None => Ok(()),
    }
}

/// Probability that multinomial counts fall into every category's region at once.
///
/// Category by category, given how many samples are left: the next count is binomial with the category's share of
/// what remains. Exact up to rounding, and quadratic only in the widths of the regions.
fn box_probability(n: u64, regions: &[Region], shares: &[f64]) -> f64 {
    let mut left: BTreeMap<u64, f64> = BTreeMap::from([(n, 1.0)]);
    let mut rest = 1.0_f64;
    for (region, share) in regions.iter().zip(shares) {
        let conditional = if rest <= 1e-15 { 1.0 } else { (share / rest).clamp(0.0, 1.0) };
        let mut next: BTreeMap<u64, f64> = BTreeMap::new();
        for (samples, probability) in &left {
            for count in region.first..=region.last.min(*samples) {
                let mass = point_mass(count, *samples, conditional);
                *next.entry(samples - count).or_default() += probability * mass;
            }
        }
        left = next;
        rest -= share;
    }
    left.get(&0).copied().unwrap_or(0.0)
}

/// P(X = count) for X ~ Binomial(n, p).
fn point_mass(count: u64, n: u64, p: f64) -> f64 {
    use statrs::function::factorial::ln_binomial;
    if p <= 0.0 {
        return if count == 0 { 1.0 } else { 0.0 };
    }
    if p >= 1.0 {
        return if count == n { 1.0 } else { 0.0 };
    }
    (ln_binomial(n, count) + count as f64 * p.ln() + (n - count) as f64 * (-p).ln_1p()).exp()
}

#[cfg(test)]
mod tests;
