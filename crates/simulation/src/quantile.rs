//! Quantiles of latencies.

use statrs::distribution::{Binomial, Discrete as _};
use verdict::{Outcome, QuantilePlan};

use crate::case::{Case, Trial, Wrong, exactly};

const P99: QuantilePlan = QuantilePlan { quantile: 0.99, alpha: 0.01 };
const MEDIAN: QuantilePlan = QuantilePlan { quantile: 0.5, alpha: 0.01 };
/// Samples of a run.
const N: u64 = 500;
/// Spread of the log-normal latencies: their p99 is three times their median.
const SPREAD: f64 = 0.5;
/// The standard normal distribution's quantile at 0.99.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

pub(crate) fn cases() -> Vec<Case> {
    let p99 = (SPREAD * NORMAL_P99).exp();
    vec![
        of(P99, "as good as at the limit", p99, Wrong::Pass).knowing(|_, _| at_the_limit(P99, Outcome::Pass)),
        of(P99, "at the limit", p99, Wrong::Fail).knowing(|_, _| at_the_limit(P99, Outcome::Fail)),
        of(P99, "20 % beyond the limit", p99 / 1.2, Wrong::Pass),
        of(P99, "at 80 % of the limit", p99 / 0.8, Wrong::Fail),
        of(MEDIAN, "as good as at the limit", 1.0, Wrong::Pass).knowing(|_, _| at_the_limit(MEDIAN, Outcome::Pass)),
        of(MEDIAN, "at the limit", 1.0, Wrong::Fail).knowing(|_, _| at_the_limit(MEDIAN, Outcome::Fail)),
        in_steps("above the limit, in whole steps", (2.0 * p99).ceil() - 0.5, Wrong::Pass),
        in_steps("at the limit, in whole steps", (2.0 * p99).ceil(), Wrong::Fail),
    ]
}

fn of(plan: QuantilePlan, truth: &str, limit: f64, wrong: Wrong) -> Case {
    case(plan, truth, limit, wrong, |sample| sample)
}

/// Latencies of which many are equal, as clocks that tick give them.
fn in_steps(truth: &str, limit: f64, wrong: Wrong) -> Case {
    case(P99, truth, limit, wrong, |sample| (2.0 * sample).ceil())
}

fn case(plan: QuantilePlan, truth: &str, limit: f64, wrong: Wrong, read: fn(f64) -> f64) -> Case {
    let wrong_outcome = if wrong == Wrong::Pass { Outcome::Pass } else { Outcome::Fail };
    Case {
        check: format!("{} % answered within a limit", plan.quantile * 100.0),
        truth: truth.to_owned(),
        wrong,
        promise: Some(plan.alpha),
        trial: Box::new(move |random| {
            let samples: Vec<f64> = random.log_normal(N, SPREAD).into_iter().map(read).collect();
            Trial { wrong: judge(plan, &samples, limit) == Some(wrong_outcome), samples: N }
        }),
        known: None,
    }
}

fn judge(plan: QuantilePlan, sorted: &[f64], limit: f64) -> Option<Outcome> {
    Some(plan.judge(&plan.estimate(sorted)?, limit))
}

/// At the limit, how many samples lie below it is binomial, whatever the distribution; where they lie does not matter.
fn at_the_limit(plan: QuantilePlan, wrong: Outcome) -> crate::table::Estimate {
    let binomial = Binomial::new(plan.quantile, N).expect("invariant: a probability");
    let is_wrong = |below: &u64| {
        let samples: Vec<f64> = (0..N).map(|rank| if rank < *below { 0.0 } else { 2.0 }).collect();
        judge(plan, &samples, 1.0) == Some(wrong)
    };
    exactly((0..=N).filter(is_wrong).map(|below| binomial.pmf(below)).sum())
}
