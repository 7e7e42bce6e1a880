//! Rates that must stay small, and the intervals that everything else stands on.

use statrs::distribution::{Binomial, Discrete as _};
use verdict::{Outcome, RatePlan, clopper_pearson};

use crate::case::{Case, Trial, Wrong, exactly, remembered};

/// The promise of all checks here.
const ALPHA: f64 = 0.01;

pub(crate) fn cases() -> Vec<Case> {
    let errors = RatePlan { limit: 0.01, alpha: ALPHA };
    let never = RatePlan { limit: 0.0, alpha: ALPHA };
    let clean = |n: i32, leak: f64| (1.0 - leak).powi(n);
    vec![
        rate("errors at most 1 %", errors, 2_000, 0.01, Outcome::Pass, ALPHA),
        rate("errors at most 1 %", errors, 2_000, 0.01, Outcome::Fail, ALPHA),
        rate("errors at most 1 %", errors, 2_000, 0.015, Outcome::Pass, ALPHA),
        rate("errors at most 1 %", errors, 2_000, 0.005, Outcome::Fail, ALPHA),
        rate("errors at most 1 %, without one in 459", errors, 459, 0.01, Outcome::Pass, ALPHA),
        rate("answered: all", never, 1_000, 0.001, Outcome::Pass, clean(1_000, 0.001)),
        rate("answered: all", never, 1_000, 0.0, Outcome::Fail, 0.0),
        interval("answered: all, its bound is below the truth", 1_000, 0.005, move |events, n, truth| {
            never.judge("errors", events, n).interval.high < truth
        }),
        interval("exact interval lies above the truth", 500, 0.1, |events, n, truth| {
            clopper_pearson(events, n, ALPHA).low > truth
        }),
        interval("exact interval lies below the truth", 500, 0.1, |events, n, truth| {
            clopper_pearson(events, n, ALPHA).high < truth
        }),
    ]
}

fn rate(check: &str, plan: RatePlan, n: u64, truth: f64, wrong: Outcome, promise: f64) -> Case {
    let word = if wrong == Outcome::Pass { Wrong::Pass } else { Wrong::Fail };
    counted(check, word, n, truth, promise, move |events| plan.judge("errors", events, n).outcome == wrong)
}

fn interval(check: &str, n: u64, truth: f64, misses: impl Fn(u64, u64, f64) -> bool + 'static) -> Case {
    counted(check, Wrong::Bound, n, truth, ALPHA, move |events| misses(events, n, truth))
}

/// `n` independent trials, each an event with probability `truth`; `is_wrong` judges their number.
fn counted(
    check: &str,
    wrong: Wrong,
    n: u64,
    truth: f64,
    promise: f64,
    is_wrong: impl Fn(u64) -> bool + 'static,
) -> Case {
    let is_wrong = std::rc::Rc::new(is_wrong);
    let of_count = is_wrong.clone();
    let verdict = remembered(move |events: &u64| is_wrong(*events));
    Case {
        check: check.to_owned(),
        truth: format!("{} % of the requests", (truth * 1e5).round() / 1e3),
        wrong,
        promise: Some(promise),
        trial: Box::new(move |random| Trial { wrong: verdict(&random.binomial(n, truth)), samples: n }),
        known: None,
    }
    .knowing(move |_, _| {
        let binomial = Binomial::new(truth, n).expect("invariant: a probability");
        exactly((0..=n).filter(|events| of_count(*events)).map(|events| binomial.pmf(events)).sum())
    })
}
