//! Splits by weight.

use std::collections::BTreeMap;

use statrs::function::gamma::ln_gamma;
use verdict::{ErrorRates, Outcome, SplitPlan, Target};

use crate::case::{Case, Trial, Wrong, exactly, remembered};
use crate::draw::Random;
use crate::table::{Estimate, Method};

/// The most runs for an estimate by importance sampling: that is not what is counted, and so many make it sure enough.
const WEIGHTED_RUNS: u64 = 20_000;
/// How far the truths that importance sampling draws lie from the weights: for a share of 3/4 by a margin of 5 points.
const CONCENTRATION: f64 = 75.0;

/// Promises that can be seen to be kept in some thousand runs.
pub(crate) const SEEN: ErrorRates = ErrorRates { false_fail: 1e-2, false_pass: 1e-2 };

pub(crate) fn cases() -> Vec<Case> {
    [shift(), seen_promises(), zero_weight(), weights_of_a_peer()].into_iter().flatten().collect()
}

fn shift() -> Vec<Case> {
    let split = Split::new(&[75.0, 15.0, 10.0], 5.0, ErrorRates::default());
    let mut cases = vec![split.false_fail("as the weights")];
    let wrong: [(&str, [f64; 3]); 7] = [
        ("70/18/12: off by the margin", [0.70, 0.18, 0.12]),
        ("80/12/8: off by the margin", [0.80, 0.12, 0.08]),
        ("75/20/5: off by the margin", [0.75, 0.20, 0.05]),
        ("68/19/13: beyond the margin", [0.68, 0.19, 0.13]),
        ("75/25/0: the last one dead", [0.75, 0.25, 0.0]),
        ("1/3 each: weights ignored", [1.0 / 3.0; 3]),
        ("10/15/75: weights permuted", [0.10, 0.15, 0.75]),
    ];
    cases.extend(wrong.into_iter().map(|(truth, shares)| split.false_pass(truth, &shares)));
    cases
}

fn seen_promises() -> Vec<Case> {
    let split = Split::new(&[75.0, 15.0, 10.0], 5.0, SEEN);
    let few = Split { n: 300, ..split.clone() };
    vec![
        split.false_fail("as the weights"),
        split.false_pass("70/18/12: off by the margin", &[0.70, 0.18, 0.12]),
        few.false_fail("as the weights"),
        few.false_pass("70/18/12: off by the margin", &[0.70, 0.18, 0.12]),
    ]
}

fn zero_weight() -> Vec<Case> {
    let split = Split::new(&[50.0, 50.0, 0.0], 5.0, ErrorRates::default());
    // The promise for less than the margin is what independent requests leave over: none of n hits.
    let leak = Case {
        promise: Some(0.999_f64.powf(split.n as f64)),
        ..split.false_pass("0.1 % leak to the target of zero", &[0.4995, 0.4995, 0.001])
    };
    vec![
        split.false_fail("as the weights"),
        split.false_pass("5 % leak to the target of zero", &[0.475, 0.475, 0.05]),
        leak,
    ]
}

/// What [`crate::peers`] are asked, too.
fn weights_of_a_peer() -> Vec<Case> {
    let split = Split::new(&[50.0, 25.0, 25.0], 10.0, ErrorRates::default());
    vec![split.false_fail("as the weights"), split.false_pass("1/3 each: weights ignored", &[1.0 / 3.0; 3])]
}

/// A split and the number of samples that it is judged from.
#[derive(Clone)]
pub(crate) struct Split {
    pub(crate) plan: SplitPlan,
    /// Samples judged.
    n: u64,
}

impl Split {
    pub(crate) fn new(weights: &[f64], margin: f64, rates: ErrorRates) -> Self {
        let plan = SplitPlan::new(targets(weights), margin, rates).expect("invariant: weights and margin make a split");
        Self { n: plan.n, plan }
    }

    fn false_pass(&self, truth: &str, shares: &[f64]) -> Case {
        let (split, known) = (self.clone(), shares.to_vec());
        self.case(truth, shares, Wrong::Pass, self.plan.rates.false_pass)
            .knowing(move |_, _| exactly(split.plan.pass_probability_of(split.n, &known)))
    }

    fn false_fail(&self, truth: &str) -> Case {
        let (shares, split) = (self.shares(), self.clone());
        self.case(truth, &shares, Wrong::Fail, self.plan.rates.false_fail)
            .knowing(move |random, runs| split.false_fail_by_importance(random, runs))
    }

    fn case(&self, truth: &str, shares: &[f64], wrong: Wrong, promise: f64) -> Case {
        let (n, plan, shares) = (self.n, self.plan.clone(), shares.to_vec());
        let outcome = remembered(move |counts: &Vec<u64>| judge(&plan, counts));
        Case {
            check: self.words(),
            truth: truth.to_owned(),
            wrong,
            promise: Some(promise),
            trial: Box::new(move |random| {
                let outcome = outcome(&random.multinomial(n, &shares));
                Trial { wrong: is_wrong(wrong, outcome), samples: n }
            }),
            known: None,
        }
    }

    pub(crate) fn words(&self) -> String {
        let weights: Vec<String> = self.plan.targets.iter().map(|target| target.weight.to_string()).collect();
        let rates = self.plan.rates;
        let few = if self.n < self.plan.n { ", fewer than planned" } else { "" };
        format!(
            "split {} ± {}, errors {:e} and {:e}{few}",
            weights.join("/"),
            self.plan.margin,
            rates.false_fail,
            rates.false_pass
        )
    }

    pub(crate) fn shares(&self) -> Vec<f64> {
        self.plan.targets.iter().map(|target| target.weight / 100.0).collect()
    }

    fn false_fail_by_importance(&self, random: &mut Random, runs: u64) -> Estimate {
        let shares = self.shares();
        importance(&shares, random, runs, |random, drawn| {
            let counts = random.multinomial(self.n, drawn);
            let failed = judge(&self.plan, &counts) == Outcome::Fail;
            if failed { (-log_mixture_ratio(&counts, &shares)).exp() } else { 0.0 }
        })
    }
}

/// Draws shares around the true ones, where fails are frequent. `weight` measures with the drawn shares and weighs each
/// fail by how much rarer its counts are under the true ones; the mean of that is the probability of a fail.
pub(crate) fn importance(
    shares: &[f64],
    random: &mut Random,
    runs: u64,
    mut weight: impl FnMut(&mut Random, &[f64]) -> f64,
) -> Estimate {
    let parameters: Vec<f64> = shares.iter().map(|share| share * CONCENTRATION).collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    let runs = runs.min(WEIGHTED_RUNS);
    for _ in 0..runs {
        let drawn = random.dirichlet(&parameters);
        let weight = weight(random, &drawn);
        sum += weight;
        squares += weight * weight;
    }
    let runs = runs as f64;
    let mean = sum / runs;
    let variance = (squares / runs - mean * mean).max(0.0);
    Estimate { probability: mean, error: (variance / runs).sqrt(), method: Method::ImportanceSampling }
}

/// How much more probable counts are where shares are drawn around the true ones than under these, as a logarithm.
pub(crate) fn log_mixture_ratio(counts: &[u64], shares: &[f64]) -> f64 {
    let n: u64 = counts.iter().sum();
    let terms = counts.iter().zip(shares).filter(|(_, share)| **share > 0.0).map(|(count, share)| {
        let (count, parameter) = (*count as f64, share * CONCENTRATION);
        ln_gamma(count + parameter) - ln_gamma(parameter) - count * share.ln()
    });
    ln_gamma(CONCENTRATION) - ln_gamma(n as f64 + CONCENTRATION) + terms.sum::<f64>()
}

fn judge(plan: &SplitPlan, counts: &[u64]) -> Outcome {
    plan.outcome(&named(plan, counts))
}

/// Counts by the names of the categories.
pub(crate) fn named(plan: &SplitPlan, counts: &[u64]) -> BTreeMap<String, u64> {
    plan.targets.iter().map(|target| target.category.clone()).zip(counts.iter().copied()).collect()
}

pub(crate) fn is_wrong(wrong: Wrong, outcome: Outcome) -> bool {
    match wrong {
        Wrong::Pass => outcome == Outcome::Pass,
        Wrong::Fail => outcome == Outcome::Fail,
        Wrong::Bound => false,
    }
}

fn targets(weights: &[f64]) -> Vec<Target> {
    let names = (1..).map(|number| format!("v{number}"));
    names.zip(weights).map(|(category, weight)| Target { category, weight: *weight }).collect()
}
