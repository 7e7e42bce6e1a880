//! For comparison: a tolerance in counts, tried again until it passes, as other harnesses do it. It promises nothing.

use statrs::distribution::{Binomial, Discrete as _};

use crate::case::{Case, Trial, Wrong, exactly};

/// Requests of a try.
const N: u64 = 100;
/// How far each count may be off.
const TOLERANCE: u64 = 10;
/// Tries within 30 s.
const TRIES: u64 = 20;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case([50, 25, 25], "as the weights", [0.50, 0.25, 0.25], 1, Wrong::Fail),
        case([50, 25, 25], "1/3 each: weights ignored", [1.0 / 3.0; 3], 1, Wrong::Pass),
        case([50, 25, 25], "1/3 each: weights ignored", [1.0 / 3.0; 3], TRIES, Wrong::Pass),
        case([80, 10, 10], "80/20/0: the last one dead", [0.8, 0.2, 0.0], TRIES, Wrong::Pass),
    ]
}

fn case(weights: [u64; 3], truth: &str, shares: [f64; 3], tries: u64, wrong: Wrong) -> Case {
    let [first, second, third] = weights;
    let retried = if tries == 1 { "once".to_owned() } else { format!("up to {tries} tries") };
    Case {
        check: format!("other harnesses: {first}/{second}/{third} ± {TOLERANCE} of {N}, {retried}"),
        truth: truth.to_owned(),
        wrong,
        promise: None,
        trial: Box::new(move |random| {
            let passed = (1..=tries).find(|_| passes(&weights, &random.multinomial(N, &shares)));
            Trial { wrong: passed.is_some() == (wrong == Wrong::Pass), samples: N * passed.unwrap_or(tries) }
        }),
        known: None,
    }
    .knowing(move |_, _| {
        let exponent = i32::try_from(tries).expect("invariant: few tries");
        let never = (1.0 - pass_probability(&weights, &shares)).powi(exponent);
        exactly(if wrong == Wrong::Pass { 1.0 - never } else { never })
    })
}

fn passes(weights: &[u64; 3], counts: &[u64]) -> bool {
    weights.iter().zip(counts).all(|(weight, count)| weight.abs_diff(*count) <= TOLERANCE)
}

/// Of a single try: the first count is binomial, and so is the second in what is left.
fn pass_probability(weights: &[u64; 3], shares: &[f64; 3]) -> f64 {
    let pmf = |n: u64, p: f64, count: u64| Binomial::new(p, n).expect("invariant: a probability").pmf(count);
    let all = (0..=N).flat_map(|first| (0..=N - first).map(move |second| [first, second, N - first - second]));
    let conditional = (shares[1] / (1.0 - shares[0])).min(1.0);
    all.filter(|counts| passes(weights, counts))
        .map(|[first, second, _]| pmf(N, shares[0], first) * pmf(N - first, conditional, second))
        .sum()
}
