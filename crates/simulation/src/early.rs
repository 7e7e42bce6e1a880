//! Splits that may be decided before their last sample.

use verdict::early::next_chunk;
use verdict::{EarlySplit, ErrorRates, Outcome};

use crate::case::{Case, Trial, Wrong};
use crate::draw::Random;
use crate::split::{SEEN, Split, importance, is_wrong, log_mixture_ratio, named};

/// When a measurement is looked at.
#[derive(Clone, Copy)]
enum Looks {
    /// As the harness does: after each chunk.
    Growing,
    /// After every fifty samples.
    Often,
}

pub(crate) fn cases() -> Vec<Case> {
    let shift = |rates| Split::new(&[75.0, 15.0, 10.0], 5.0, rates);
    let (rare, seen) = (Early::new(&shift(ErrorRates::default())), Early::new(&shift(SEEN)));
    let zero = Early::new(&Split::new(&[50.0, 50.0, 0.0], 5.0, ErrorRates::default()));
    vec![
        rare.false_fail(Looks::Growing),
        rare.false_pass("70/18/12: off by the margin", &[0.70, 0.18, 0.12], Looks::Growing),
        rare.false_pass("80/12/8: off by the margin", &[0.80, 0.12, 0.08], Looks::Growing),
        rare.false_pass("1/3 each: weights ignored", &[1.0 / 3.0; 3], Looks::Growing),
        rare.false_pass("10/15/75: weights permuted", &[0.10, 0.15, 0.75], Looks::Growing),
        seen.false_fail(Looks::Growing),
        seen.false_fail(Looks::Often),
        seen.false_pass("70/18/12: off by the margin", &[0.70, 0.18, 0.12], Looks::Often),
        zero.false_fail(Looks::Growing),
        zero.false_pass("5 % leak to the target of zero", &[0.475, 0.475, 0.05], Looks::Growing),
    ]
}

struct Early {
    split: Split,
    plan: EarlySplit,
}

impl Early {
    fn new(split: &Split) -> Self {
        let plan = EarlySplit::new(&split.plan).expect("invariant: half of the rates can be planned for");
        Self { split: split.clone(), plan }
    }

    fn false_pass(&self, truth: &str, shares: &[f64], looks: Looks) -> Case {
        self.case(truth, shares, Wrong::Pass, self.split.plan.rates.false_pass, looks)
    }

    fn false_fail(&self, looks: Looks) -> Case {
        let (shares, plan) = (self.split.shares(), self.plan.clone());
        self.case("as the weights", &shares.clone(), Wrong::Fail, self.split.plan.rates.false_fail, looks).knowing(
            move |random, runs| {
                importance(&shares, random, runs, |random, drawn| {
                    let (outcome, counts) = measure(&plan, drawn, looks, random);
                    if outcome == Outcome::Fail { (-log_mixture_ratio(&counts, &shares)).exp() } else { 0.0 }
                })
            },
        )
    }

    fn case(&self, truth: &str, shares: &[f64], wrong: Wrong, promise: f64, looks: Looks) -> Case {
        let (plan, shares) = (self.plan.clone(), shares.to_vec());
        let looked = match looks {
            Looks::Growing => "",
            Looks::Often => ", a look after every 50",
        };
        Case {
            check: format!("early {}{looked}, at most {}", self.split.words(), plan.most()),
            truth: truth.to_owned(),
            wrong,
            promise: Some(promise),
            trial: Box::new(move |random| {
                let (outcome, counts) = measure(&plan, &shares, looks, random);
                Trial { wrong: is_wrong(wrong, outcome), samples: counts.iter().sum() }
            }),
            known: None,
        }
    }
}

/// Samples until a look decides, or to the last look; the counts then.
fn measure(plan: &EarlySplit, shares: &[f64], looks: Looks, random: &mut Random) -> (Outcome, Vec<u64>) {
    let mut counts = vec![0; shares.len()];
    let mut n = 0;
    loop {
        let more = match looks {
            Looks::Growing => next_chunk(n, plan.most()),
            Looks::Often => (plan.most() - n).min(50),
        };
        n += more;
        counts.iter_mut().zip(random.multinomial(more, shares)).for_each(|(count, more)| *count += more);
        let named = named(&plan.last, &counts);
        if n == plan.most() {
            return (plan.outcome(&named), counts);
        }
        match plan.look(&named) {
            Outcome::Inconclusive => {}
            decided => return (decided, counts),
        }
    }
}
