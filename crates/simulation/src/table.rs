//! The table: what was promised, what was seen, and whether the two agree.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF as _};

use crate::case::Wrong;

/// A promise counts as broken when a check that kept it would err so often with a smaller probability than this. Tables
/// have some dozen rows: one in some hundred tables of right checks would have a row that looks broken.
const SIGNIFICANT: f64 = 1e-4;

/// All rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Runs of each row.
    pub runs: u64,
    /// Seed of the first row; the next rows have the next numbers.
    pub seed: u64,
    /// A row for each check and truth.
    pub rows: Vec<Row>,
}

/// One check against one truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The check with its figures.
    pub check: String,
    /// What is true.
    pub truth: String,
    /// What would be wrong to say.
    pub wrong_verdict: Wrong,
    /// The largest probability of that which the check promises; `None` where it promises nothing.
    pub promised: Option<f64>,
    /// How often it was run.
    pub runs: u64,
    /// How often it was wrong.
    pub wrong: u64,
    /// The exact 99 % interval of the probability to be wrong.
    pub interval: Interval,
    /// The same probability by another way.
    pub known: Option<Estimate>,
    /// Samples that a run took, in the mean.
    pub mean_samples: f64,
}

/// An interval of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// A probability that was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The probability.
    pub probability: f64,
    /// Its standard error; zero for a sum.
    pub error: f64,
    /// How it was found.
    pub method: Method,
}

/// How a probability was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// By summing the probabilities of all counts with the wrong verdict.
    Sum,
    /// By importance sampling: from truths where the wrong verdict is frequent, weighted by how rare they are here.
    ImportanceSampling,
}

impl Row {
    /// The rate seen.
    #[must_use]
    pub fn observed(&self) -> f64 {
        self.wrong as f64 / self.runs as f64
    }

    /// Whether the check was wrong so often that its promise cannot hold.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.promised.is_some_and(|promised| self.too_often(promised) || self.known_above(promised))
    }

    /// Whether so few runs cannot show the promise: even without an error they bound the rate above it only.
    #[must_use]
    pub fn is_bound_only(&self) -> bool {
        self.promised.is_some_and(|promised| 3.0 / self.runs as f64 > promised)
    }

    fn too_often(&self, promised: f64) -> bool {
        let Some(others) = self.wrong.checked_sub(1) else { return false };
        // A promise of "never" is broken by a single error.
        Binomial::new(promised, self.runs).is_ok_and(|binomial| binomial.sf(others) < SIGNIFICANT)
    }

    /// Sums are exact but for rounding; samples may lie some errors beside the truth.
    fn known_above(&self, promised: f64) -> bool {
        self.known.is_some_and(|known| known.probability - 4.0 * known.error > promised * (1.0 + 1e-6))
    }
}

impl Table {
    /// Rows whose promise cannot hold.
    pub fn broken(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.is_broken())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(promised: f64, runs: u64, wrong: u64) -> Row {
        Row {
            check: String::new(),
            truth: String::new(),
            wrong_verdict: Wrong::Pass,
            promised: Some(promised),
            runs,
            wrong,
            interval: Interval { low: 0.0, high: 1.0 },
            known: None,
            mean_samples: 0.0,
        }
    }

    #[test]
    fn a_promise_is_broken_by_more_than_chance() {
        assert!(!row(0.01, 2_000, 20).is_broken());
        assert!(!row(0.01, 2_000, 33).is_broken(), "chance alone does so");
        assert!(row(0.01, 2_000, 45).is_broken());
        assert!(!row(1e-6, 2_000, 0).is_broken());
        assert!(row(1e-6, 2_000, 2).is_broken());
        assert!(row(1e-6, 100_000, 4).is_broken());
        assert!(row(0.0, 2_000, 1).is_broken());
    }

    #[test]
    fn few_runs_cannot_show_a_rare_error() {
        assert!(row(1e-6, 100_000, 0).is_bound_only());
        assert!(!row(1e-2, 2_000, 0).is_bound_only());
    }

    #[test]
    fn what_is_known_otherwise_counts_too() {
        let known = |probability, error| Row {
            known: Some(Estimate { probability, error, method: Method::ImportanceSampling }),
            ..row(1e-6, 2_000, 0)
        };
        assert!(!known(0.9e-6, 0.1e-6).is_broken());
        assert!(!known(1.3e-6, 0.1e-6).is_broken());
        assert!(known(1.5e-6, 0.1e-6).is_broken());
    }
}
