//! A check, a truth, and the verdict that would be wrong.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF as _};

use crate::draw::Random;
use crate::table::{Estimate, Interval, Method, Row};

/// The one-sided error of each end of an interval in the table: a 99 % interval.
const END: f64 = 0.005;

/// What would be wrong to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// The check passes.
    Pass,
    /// The check fails.
    Fail,
    /// The interval does not hold the truth.
    Bound,
}

impl Wrong {
    /// As the table says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Bound => "interval beside the truth",
        }
    }
}

/// What came of one run.
pub(crate) struct Trial {
    pub(crate) wrong: bool,
    /// Samples it took.
    pub(crate) samples: u64,
}

/// Finds a probability from random numbers and a number of runs.
pub(crate) type Known = Box<dyn Fn(&mut Random, u64) -> Estimate>;

/// A check against a truth.
pub(crate) struct Case {
    pub(crate) check: String,
    pub(crate) truth: String,
    pub(crate) wrong: Wrong,
    /// The largest probability of the wrong verdict that the check promises; `None` where it promises nothing.
    pub(crate) promise: Option<f64>,
    pub(crate) trial: Box<dyn Fn(&mut Random) -> Trial>,
    /// The probability by another way than counting wrong verdicts, where that is cheap.
    pub(crate) known: Option<Known>,
}

impl Case {
    pub(crate) fn run(&self, runs: u64, mut random: Random) -> Row {
        let (mut wrong, mut samples) = (0_u64, 0_u64);
        for _ in 0..runs {
            let trial = (self.trial)(&mut random);
            wrong += u64::from(trial.wrong);
            samples += trial.samples;
        }
        Row {
            check: self.check.clone(),
            truth: self.truth.clone(),
            wrong_verdict: self.wrong,
            promised: self.promise,
            runs,
            wrong,
            interval: interval(wrong, runs),
            known: self.known.as_ref().map(|known| known(&mut random, runs)),
            mean_samples: samples as f64 / runs as f64,
        }
    }

    pub(crate) fn knowing(mut self, known: impl Fn(&mut Random, u64) -> Estimate + 'static) -> Self {
        self.known = Some(Box::new(known));
        self
    }
}

pub(crate) fn exactly(probability: f64) -> Estimate {
    Estimate { probability, error: 0.0, method: Method::Sum }
}

/// The exact interval of a rate. Not that of `verdict`: what is measured is no ruler.
fn interval(events: u64, trials: u64) -> Interval {
    let quantile = |first: u64, second: u64, p: f64| {
        Beta::new(first as f64, second as f64).expect("invariant: positive parameters").inverse_cdf(p)
    };
    Interval {
        low: if events == 0 { 0.0 } else { quantile(events, trials - events + 1, END) },
        high: if events == trials { 1.0 } else { quantile(events + 1, trials - events, 1.0 - END) },
    }
}

/// Computes what an input gives only once: runs repeat themselves, and tails of distributions are slow.
pub(crate) fn remembered<Key: Eq + Hash + Clone, Value: Copy>(
    compute: impl Fn(&Key) -> Value,
) -> impl Fn(&Key) -> Value {
    let known: RefCell<HashMap<Key, Value>> = RefCell::default();
    move |key| {
        if let Some(value) = known.borrow().get(key) {
            return *value;
        }
        let value = compute(key);
        known.borrow_mut().insert(key.clone(), value);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // 99 % of 93 in 100, and the bound of none in 1,000, as independent implementations have them.
        let Interval { low, high } = interval(93, 100);
        assert!((low - 0.837_197).abs() < 1e-5 && (high - 0.979_210).abs() < 1e-5, "{low} {high}");
        let none = interval(0, 1_000);
        assert!(none.low == 0.0 && (none.high - 0.005_284).abs() < 1e-5, "{none:?}");
    }
}
