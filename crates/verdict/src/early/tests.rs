//! The promised error rates, summed exactly over all measurements that are looked at after every sample.

use statrs::function::factorial::ln_binomial;

use super::*;
use crate::binomial::{lower_tail, upper_tail};

fn plan(weights: &[(&str, f64)], margin: f64, rates: ErrorRates) -> EarlySplit {
    let target = |(category, weight): &(&str, f64)| Target { category: (*category).to_owned(), weight: *weight };
    let split = SplitPlan::new(weights.iter().map(target).collect(), margin, rates).expect("a split");
    EarlySplit::new(&split).expect("a plan")
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(category, count)| ((*category).to_owned(), *count)).collect()
}

const SHIFT: [(&str, f64); 3] = [("v3", 75.0), ("v1", 15.0), ("v2", 10.0)];

/// Probabilities that a split in two is found right or wrong, with a look after each sample, and how many samples that
/// takes in the mean. `share` is the true share of `a`.
struct Course {
    passes: f64,
    fails: f64,
    mean: f64,
}

fn course(plan: &EarlySplit, share: f64) -> Course {
    let mut course = Course { passes: 0.0, fails: 0.0, mean: 0.0 };
    // Probability of each count of `a` among measurements that no look has decided.
    let mut open = vec![1.0_f64];
    for n in 1..=plan.most() {
        let mut next = vec![0.0; open.len() + 1];
        for (count, probability) in open.iter().enumerate() {
            next[count] += probability * (1.0 - share);
            next[count + 1] += probability * share;
        }
        for (count, probability) in next.iter_mut().enumerate().filter(|(_, probability)| **probability > 0.0) {
            let count = count as u64;
            let counts = counts(&[("a", count), ("b", n - count)]);
            let outcome = if n == plan.most() { plan.judge(&counts).outcome } else { plan.look(&counts) };
            match outcome {
                Outcome::Pass => course.passes += *probability,
                Outcome::Fail => course.fails += *probability,
                Outcome::Inconclusive => continue,
            }
            course.mean += *probability * n as f64;
            *probability = 0.0;
        }
        open = next;
    }
    assert!(open.iter().sum::<f64>() < 1e-12, "the last look decides");
    course
}

#[test]
fn looking_after_every_sample_keeps_both_promises_exactly() {
    let rates = ErrorRates { false_fail: 1e-2, false_pass: 1e-2 };
    let plan = plan(&[("a", 60.0), ("b", 40.0)], 15.0, rates);
    let right = course(&plan, 0.60);
    assert!(right.fails <= 1e-2, "a right split fails with {}", right.fails);
    assert!(right.mean < 0.7 * plan.most() as f64, "{} of {} samples", right.mean, plan.most());
    for share in [0.75, 0.45] {
        let off = course(&plan, share);
        assert!(off.passes <= 1e-2, "{share} passes with {}", off.passes);
    }
    let ignored = course(&plan, 0.10);
    assert!(ignored.passes < 1e-9 && ignored.mean < 60.0, "{} in {} samples", ignored.passes, ignored.mean);
}

#[test]
fn rare_errors_are_promised_exactly_too() {
    let plan = plan(&[("a", 50.0), ("b", 50.0)], 20.0, ErrorRates::default());
    let fails = course(&plan, 0.50).fails;
    assert!((1e-9..=1e-6).contains(&fails), "{fails:e}");
}

#[test]
fn the_fixed_rule_at_every_look_would_break_its_promise() {
    // Why all this: the same rule without a price for looking.
    let rates = ErrorRates { false_fail: 1e-2, false_pass: 1e-2 };
    let peeked = plan(&[("a", 60.0), ("b", 40.0)], 15.0, rates).last;
    let (mut open, mut passes) = (vec![1.0_f64], 0.0);
    for n in 1..=peeked.n {
        let mut next = vec![0.0; open.len() + 1];
        for (count, probability) in open.iter().enumerate() {
            next[count] += probability * 0.25;
            next[count + 1] += probability * 0.75;
        }
        for (count, probability) in next.iter_mut().enumerate() {
            let count = count as u64;
            if peeked.outcome(&counts(&[("a", count), ("b", n - count)])) == Outcome::Pass {
                passes += std::mem::take(probability);
            }
        }
        open = next;
    }
    assert!(passes > 3.0 * peeked.rates.false_pass, "{passes}");
}

#[test]
fn planned_sizes_are_stable() {
    // A change of these numbers is a change of how long scenarios take, and must be meant.
    let size = |weights: &[(&str, f64)], margin| {
        let plan = plan(weights, margin, ErrorRates::default());
        (plan.typical, plan.most())
    };
    let halves = [("v1", 50.0), ("v2", 50.0)];
    let only = [("v2", 100.0), ("v1", 0.0)];
    insta::assert_debug_snapshot!([size(&SHIFT, 5.0), size(&SHIFT, 3.0), size(&halves, 10.0), size(&only, 5.0)]);
}

#[test]
fn a_clear_measurement_is_decided_early_and_says_so() {
    let plan = plan(&SHIFT, 5.0, ErrorRates::default());
    let right = plan.judge(&counts(&[("v3", 1_500), ("v1", 300), ("v2", 200)]));
    assert_eq!((right.outcome, right.n), (Outcome::Pass, 2_000));
    let wrong = plan.judge(&counts(&[("v3", 35), ("v1", 33), ("v2", 32)]));
    assert_eq!(wrong.outcome, Outcome::Fail);
    assert!(wrong.n < plan.most() / 10);
    insta::assert_snapshot!([right.sentence(), wrong.sentence()].join("\n"));
}

#[test]
fn a_share_that_is_off_by_less_than_the_margin_is_never_refuted_early() {
    let plan = plan(&[("a", 100.0 / 3.0), ("b", 100.0 / 3.0), ("c", 100.0 / 3.0)], 15.0, ErrorRates::default());
    let (a, b) = (plan.most() * 43 / 100, plan.most() * 28 / 100);
    let seen = counts(&[("a", a), ("b", b), ("c", plan.most() - a - b)]);
    assert_ne!(plan.look(&seen), Outcome::Fail);
    assert_ne!(plan.look(&counts(&[("a", 4_300), ("b", 2_850), ("c", 2_850)])), Outcome::Fail);
    assert_eq!(plan.look(&counts(&[("a", 6_000), ("b", 2_000), ("c", 2_000)])), Outcome::Fail);
}

#[test]
fn what_no_look_decides_is_left_to_the_last() {
    let plan = plan(&SHIFT, 5.0, ErrorRates::default());
    let open = counts(&[("v3", 75), ("v1", 15), ("v2", 10)]);
    assert_eq!(plan.look(&open), Outcome::Inconclusive);
    assert_eq!(plan.judge(&open).outcome, Outcome::Inconclusive);
    assert_eq!(plan.look(&BTreeMap::new()), Outcome::Inconclusive);
    // Two points off: nothing to be said early, and nothing against it at the end.
    let (v3, v1) = (plan.most() * 77 / 100, plan.most() * 14 / 100);
    let last = counts(&[("v3", v3), ("v1", v1), ("v2", plan.most() - v3 - v1)]);
    assert_eq!(plan.judge(&last).outcome, plan.last.judge(&last).outcome);
}

#[test]
fn a_single_hit_refutes_a_target_of_zero_at_once() {
    let plan = plan(&[("v1", 50.0), ("v2", 50.0), ("v3", 0.0)], 5.0, ErrorRates::default());
    assert_eq!(plan.look(&counts(&[("v1", 5), ("v2", 5), ("v3", 1)])), Outcome::Fail);
    assert_eq!(plan.look(&counts(&[("v1", 5), ("v2", 5), ("v9", 1)])), Outcome::Fail);
    let stranger = plan.judge(&counts(&[("v1", 5), ("v2", 5), ("v9", 1)]));
    assert_eq!(stranger.categories.last().expect("a category").outcome, Outcome::Fail);
    assert_eq!(plan.look(&counts(&[("v1", 2_000), ("v2", 2_000)])), Outcome::Pass);
}

proptest::proptest! {
    #[test]
    fn the_evidence_against_the_truth_is_a_fair_game(n in 1_u64..60, weight in 1_u32..100, truth in 0.01_f64..0.99) {
        // The mean of `e(truth)` over all counts is 1, whatever the target: what Ville's inequality needs.
        let weight = f64::from(weight);
        let rates = ErrorRates { false_fail: 1e-2, false_pass: 1e-2 };
        proptest::prop_assume!(weight > 4.0 && weight < 96.0);
        let plan = plan(&[("a", weight), ("b", 100.0 - weight)], 4.0, rates);
        let target = &plan.last.targets[0];
        let log_mass = |count: u64| {
            ln_binomial(n, count) + count as f64 * truth.ln() + (n - count) as f64 * (-truth).ln_1p()
        };
        let mean: f64 =
            (0..=n).map(|count| (log_mass(count) + plan.log_evidence(target, count, n, truth)).exp()).sum();
        proptest::prop_assert!((mean - 1.0).abs() < 1e-6, "{}", mean);
    }

    #[test]
    fn a_category_is_proved_where_its_interval_lies_in_the_band(n in 1_u64..5_000, share in 0.5_f64..0.9) {
        let plan = plan(&SHIFT, 5.0, ErrorRates::default());
        let target = &plan.last.targets[0];
        let count = (n as f64 * share) as u64;
        let interval = plan.interval(target, count, n);
        let seen = count as f64 / n as f64;
        proptest::prop_assert!(interval.low <= seen + 1e-9 && seen <= interval.high + 1e-9);
        proptest::prop_assert_eq!(plan.proves(target, count, n), interval.low >= 0.70 && interval.high <= 0.80);
        // Wider than the interval of a single look; a count at an end says nothing about the share beyond.
        let at_most = plan.last.rates.false_pass + 1e-9;
        proptest::prop_assert!(count == n || lower_tail(count, n, interval.high) <= at_most);
        proptest::prop_assert!(count == 0 || upper_tail(count, n, interval.low) <= at_most);
    }
}
