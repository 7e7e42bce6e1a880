//! The promised error rates, checked exactly and against figures computed elsewhere.

use super::*;

fn plan(weights: &[(&str, f64)], margin: f64) -> SplitPlan {
    SplitPlan::new(targets(weights), margin, ErrorRates::default()).expect("a plan")
}

fn targets(weights: &[(&str, f64)]) -> Vec<Target> {
    weights.iter().map(|(category, weight)| Target { category: (*category).to_owned(), weight: *weight }).collect()
}

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(category, count)| ((*category).to_owned(), *count)).collect()
}

const SHIFT: [(&str, f64); 3] = [("v3", 75.0), ("v1", 15.0), ("v2", 10.0)];

#[test]
fn the_planned_sample_keeps_both_promises_exactly() {
    let plan = plan(&SHIFT, 5.0);
    let right = plan.pass_probability(&[0.75, 0.15, 0.10]);
    assert!(1.0 - right <= 1e-6, "a right split fails with {:e} at n {}", 1.0 - right, plan.n);
    for wrong in [
        [0.70, 0.18, 0.12],
        [0.80, 0.12, 0.08],
        [0.75, 0.20, 0.05],
        [0.70, 0.20, 0.10],
        [0.80, 0.15, 0.05],
        [0.75, 0.10, 0.15],
    ] {
        let passes = plan.pass_probability(&wrong);
        assert!(passes <= 1e-2, "{wrong:?} passes with {passes:e}");
    }
    for grossly_wrong in [[1.0 / 3.0; 3], [0.10, 0.15, 0.75], [0.75, 0.25, 0.0]] {
        assert!(plan.pass_probability(&grossly_wrong) < 1e-12, "{grossly_wrong:?}");
    }
}

#[test]
fn planned_sizes_are_stable() {
    // A change of these numbers is a change of how long scenarios take, and must be meant.
    let thirds = [("v1", 100.0 / 3.0), ("v2", 100.0 / 3.0), ("v3", 100.0 / 3.0)];
    let only = [("v2", 100.0), ("v1", 0.0), ("v3", 0.0)];
    let sizes =
        [plan(&SHIFT, 5.0).n, plan(&SHIFT, 3.0).n, plan(&thirds, 5.0).n, plan(&thirds, 10.0).n, plan(&only, 5.0).n];
    insta::assert_debug_snapshot!(sizes);
}

#[test]
fn the_equivalence_rule_has_the_published_operating_curve() {
    // n, margin, P(pass) of the right split, from an independent simulation with 4,000 runs each.
    for (n, margin, expected) in [(1000, 7.0, 0.994), (1000, 5.0, 0.79), (2000, 5.0, 0.996), (2500, 5.0, 0.999)] {
        let plan = plan(&SHIFT, margin);
        let passes = plan.pass_probability_of(n, &[0.75, 0.15, 0.10]);
        assert!((passes - expected).abs() < 0.02, "n {n} margin {margin}: {passes}");
        let off = margin / 100.0;
        let wrong = plan.pass_probability_of(n, &[0.75 + off, 0.15 - off * 0.6, 0.10 - off * 0.4]);
        assert!(wrong <= 0.01, "n {n} margin {margin}: a wrong split passes with {wrong}");
    }
}

#[test]
fn a_right_measurement_passes_and_says_so() {
    let plan = plan(&SHIFT, 5.0);
    let verdict = plan.judge(&counts(&[("v3", 3015), ("v1", 590), ("v2", plan.n - 3605)]));
    assert_eq!(verdict.outcome, Outcome::Pass);
    insta::assert_snapshot!(verdict.sentence());
}

#[test]
fn a_split_off_by_the_margin_fails() {
    let plan = plan(&SHIFT, 5.0);
    let v3 = plan.n * 70 / 100;
    let v1 = plan.n * 18 / 100;
    let verdict = plan.judge(&counts(&[("v3", v3), ("v1", v1), ("v2", plan.n - v3 - v1)]));
    assert_eq!(verdict.outcome, Outcome::Fail);
    assert_eq!(verdict.categories[0].outcome, Outcome::Fail, "{}", verdict.sentence());
}

#[test]
fn too_few_samples_are_inconclusive_unless_they_refute() {
    let plan = plan(&SHIFT, 5.0);
    let few = plan.judge(&counts(&[("v3", 75), ("v1", 15), ("v2", 10)]));
    assert_eq!(few.outcome, Outcome::Inconclusive);
    assert!(few.categories[0].reason.contains("samples would"), "{}", few.sentence());
    let swapped = plan.judge(&counts(&[("v3", 10), ("v1", 15), ("v2", 75)]));
    assert_eq!(swapped.outcome, Outcome::Fail);
    let nothing = plan.judge(&BTreeMap::new());
    assert_eq!(nothing.outcome, Outcome::Inconclusive);
}

#[test]
fn a_single_hit_refutes_a_target_of_zero() {
    let plan = plan(&[("v1", 50.0), ("v2", 50.0), ("v3", 0.0)], 5.0);
    let half = plan.n / 2;
    let clean = plan.judge(&counts(&[("v1", half), ("v2", plan.n - half)]));
    assert_eq!(clean.outcome, Outcome::Pass, "{}", clean.sentence());
    let hit = plan.judge(&counts(&[("v1", half), ("v2", plan.n - half - 1), ("v3", 1)]));
    assert_eq!(hit.outcome, Outcome::Fail);
    let stranger = plan.judge(&counts(&[("v1", half), ("v2", plan.n - half - 1), ("v9", 1)]));
    assert_eq!(stranger.outcome, Outcome::Fail);
    assert_eq!(stranger.categories.last().expect("a category").category, "v9");
}

#[test]
fn impossible_plans_are_refused_with_the_reason() {
    let refused = |weights: &[(&str, f64)], margin: f64| {
        SplitPlan::new(targets(weights), margin, ErrorRates::default()).expect_err("an error").to_string()
    };
    insta::assert_snapshot!(
        [
            refused(&[], 5.0),
            refused(&[("v1", 60.0), ("v2", 30.0)], 5.0),
            refused(&[("v1", 160.0), ("v2", -60.0)], 5.0),
            refused(&[("v1", f64::NAN), ("v2", 60.0)], 5.0),
            refused(&[("v1", 50.0), ("v1", 50.0)], 5.0),
            refused(&[("v1", 50.0), ("v2", 50.0)], 0.0),
            refused(&[("v1", 95.0), ("v2", 5.0)], 5.0),
            refused(&[("v1", 50.0), ("v2", 50.0)], 0.02),
        ]
        .join("\n")
    );
}

#[test]
fn bands_of_other_harnesses_come_out_as_published() {
    // 100 requests, 75/15/10 with ten counts of tolerance: a dead 10 % target passes more often than not.
    let tolerance = |target: u64| Region { first: target.saturating_sub(10), last: target + 10 };
    let regions = [tolerance(75), tolerance(15), tolerance(10)];
    let dead = box_probability(100, &regions, &[0.75, 0.25, 0.0]);
    assert!((0.4..0.7).contains(&dead), "{dead}");
    // 50 calls, 40 of them within three: a right split fails one time in five.
    let locality = box_probability(50, &[Region { first: 37, last: 43 }, Region { first: 0, last: 50 }], &[0.8, 0.2]);
    assert!((1.0 - locality - 0.21).abs() < 0.01, "{locality}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn any_plan_keeps_its_promises(first in 15_u32..85, second in 5_u32..80, margin in 3_u32..12) {
        let (first, second, margin) = (f64::from(first), f64::from(second), f64::from(margin));
        let third = 100.0 - first - second;
        proptest::prop_assume!(third > margin && second > margin && first > margin);
        let plan = plan(&[("a", first), ("b", second), ("c", third)], margin);
        proptest::prop_assert!(plan.miss_bound(plan.n) <= 1e-6);
        let right = [first / 100.0, second / 100.0, third / 100.0];
        proptest::prop_assert!(1.0 - plan.pass_probability(&right) <= 1.001e-6);
        let moved = [(first - margin) / 100.0, (second + margin) / 100.0, third / 100.0];
        proptest::prop_assert!(plan.pass_probability(&moved) <= 1e-2);
    }
}
