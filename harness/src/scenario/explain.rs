//! A plan as text: what will be done, how many requests each measurement needs, how long it should take.

use std::fmt::Write as _;
use std::time::Duration;

use verdict::text::{one_in, points, thousands};

use super::keys::duration_text;
use super::plan::{Action, Capturing, Check, Expectation, Failover, Plan, Step, Traffic};

/// Requests a second that one closed loop manages on a small machine; only for the estimate that `plan` prints.
const RATE_OF_ONE: u64 = 400;
/// Requests a second of many connections at once.
const RATE_OF_MANY: u64 = 1_200;
/// Time in which pods are replaced and ready.
const ROLLOUT: Duration = Duration::from_secs(2);
/// Time that any other step takes.
const OTHER: Duration = Duration::from_millis(200);
/// Time in which workers are made and removed.
const WORKERS: Duration = Duration::from_secs(8);

/// The whole plan.
#[must_use]
pub fn explain(plan: &Plan) -> String {
    let mut text = format!("{}/{}: {}\n", plan.area, plan.name, plan.description);
    let _infallible = writeln!(
        text,
        "  {} steps, {} requests, about {} s",
        plan.flattened().len(),
        thousands(plan.requests()),
        estimate(plan).as_secs().max(1)
    );
    if !plan.requires.is_empty() {
        let words: Vec<&str> = plan.requires.iter().map(|one| one.word()).collect();
        let _infallible = writeln!(text, "  requires {}", words.join(", "));
    }
    if let Some(budget) = plan.time_budget {
        let _infallible = writeln!(text, "  within {}", duration_text(budget));
    }
    for step in &plan.steps {
        write_step(&mut text, step, 1);
    }
    if !plan.finally.is_empty() {
        text.push_str("  finally\n");
        for step in &plan.finally {
            write_step(&mut text, step, 2);
        }
    }
    text
}

/// How long the steps should take, convergence included, bring-up not.
#[must_use]
pub fn estimate(plan: &Plan) -> Duration {
    in_order(&plan.steps) + in_order(&plan.finally)
}

fn in_order(steps: &[Step]) -> Duration {
    steps.iter().map(|step| duration(step) + in_order(&step.cleanup)).sum()
}

fn duration(step: &Step) -> Duration {
    match &step.action {
        Action::Sequence(steps) => in_order(steps),
        Action::Parallel(steps) => steps.iter().map(duration).max().unwrap_or_default(),
        // `catch` is the exception.
        Action::Try(attempt) => in_order(&attempt.steps) + in_order(&attempt.finally),
        Action::Traffic(traffic) => {
            let rate = if traffic.connections == 1 && traffic.from.len() == 1 { RATE_OF_ONE } else { RATE_OF_MANY };
            let requests = traffic.typical().unwrap_or_else(|| traffic.all_requests());
            let made = traffic.workers.as_ref().map_or(Duration::ZERO, |_| WORKERS);
            OTHER + made + Duration::from_millis(requests * 1_000 / rate)
        }
        Action::Control(control) => {
            let changes = control.change.len() + control.restore.len();
            duration(&control.measure) + OTHER * u32::try_from(changes).unwrap_or(u32::MAX)
        }
        Action::Reachability(matrix) => OTHER + Duration::from_millis(matrix.requests() * 1_000 / RATE_OF_ONE),
        Action::Note(_) => Duration::ZERO,
        Action::Await(wait) => wait.time,
        Action::Scale(_) | Action::Replace(_) | Action::Onboard(_) | Action::Heal(_) => ROLLOUT,
        Action::Background(_) => OTHER,
        _ => OTHER,
    }
}

fn write_step(text: &mut String, step: &Step, depth: usize) {
    let indent = "  ".repeat(depth);
    let requests = match (step.requests(), step.typical()) {
        (0 | 1, _) => String::new(),
        (most, Some(typical)) => format!(" [about {} requests, at most {}]", thousands(typical), thousands(most)),
        (requests, None) => format!(" [{} requests]", thousands(requests)),
    };
    let _infallible = writeln!(text, "{indent}{} {}{requests}", step.id, step.name);
    match &step.action {
        Action::Sequence(steps) | Action::Parallel(steps) => write_steps(text, steps, depth + 1),
        Action::Try(attempt) => {
            write_steps(text, &attempt.steps, depth + 1);
            for (word, steps) in [("catch", &attempt.catch), ("finally", &attempt.finally)] {
                if !steps.is_empty() {
                    let _infallible = writeln!(text, "{indent}  {word}");
                    write_steps(text, steps, depth + 2);
                }
            }
        }
        Action::Traffic(Traffic { workers: Some(workers), from, .. }) => {
            let of_each = workers
                .of_each
                .iter()
                .zip(from)
                .map(|(count, source)| format!("{count} for {} of {}", source.name, source.cluster));
            let of_each: Vec<String> = of_each.collect();
            let _infallible = writeln!(text, "{indent}  sent by {} workers: {}", workers.count(), of_each.join(", "));
        }
        Action::Control(control) => {
            for change in &control.change {
                let _infallible = writeln!(text, "{indent}  change: {}", change.name);
            }
            let refuted: Vec<String> = control.refuted_expectations().into_iter().map(|(title, _)| title).collect();
            let spared = control.spared_expectations();
            let not = if spared.is_empty() { String::new() } else { format!(", not {}", spared.join(" and ")) };
            let refuted = refuted.join(" and ");
            let _infallible =
                writeln!(text, "{indent}  repeat `{}`: {refuted} must be refuted{not}", control.measure.name);
            for expectation in &control.expectations {
                let _infallible = writeln!(text, "{indent}  instead expect {}", sentence(expectation));
            }
        }
        _ => {}
    }
    for expectation in step.expectations() {
        let _infallible = writeln!(text, "{indent}  expect {}", sentence(expectation));
    }
    if !step.cleanup.is_empty() {
        let _infallible = writeln!(text, "{indent}  at the end of the group");
        write_steps(text, &step.cleanup, depth + 2);
    }
}

fn write_steps(text: &mut String, steps: &[Step], depth: usize) {
    steps.iter().for_each(|step| write_step(text, step, depth));
}

fn promises(failover: &Failover) -> String {
    let times = [
        ("detected", failover.detect),
        ("no gap above", failover.gap),
        ("recovered", failover.recover),
        ("failed back", failover.fail_back),
    ];
    let numbers = [("lost", failover.lost), ("slow", failover.slow), ("of wrong targets", failover.wrong)];
    let times = times.into_iter().filter_map(|(word, limit)| {
        let limit = duration_text(limit?);
        Some(if word.ends_with("above") { format!("{word} {limit}") } else { format!("{word} within {limit}") })
    });
    let numbers = numbers.into_iter().filter_map(|(word, limit)| Some(format!("at most {} {word}", limit?)));
    let all: Vec<String> = times.chain(numbers).collect();
    format!("failover from {} to {}: {}", failover.from.join(", "), failover.to.join(", "), all.join(", "))
}

/// An expectation in words.
#[must_use]
pub fn sentence(expectation: &Expectation) -> String {
    match &expectation.from {
        Some(source) => format!("of the requests from {} of {}: {}", source.name, source.cluster, words(expectation)),
        None => words(expectation),
    }
}

fn words(expectation: &Expectation) -> String {
    match &expectation.check {
        Check::Answered(plan) if plan.limit > 0.0 => format!(
            "at most {} % of the requests failed; that takes {} requests without a failure",
            plan.limit * 100.0,
            thousands(plan.clean_trials_needed().unwrap_or(0))
        ),
        Check::Answered(_) => "every request answered with status 200".to_owned(),
        Check::Identity(identity) => {
            let parts = [("client", &identity.client), ("server", &identity.server)];
            let words = parts.into_iter().filter_map(|(word, peer)| Some(format!("{word} {}", peer.as_ref()?)));
            words.collect::<Vec<_>>().join(" and ")
        }
        Check::Denied(denied) => format!("a refusal because of {} at {}", denied.reason.word(), denied.at),
        Check::Latency(bounds) => {
            let words = bounds.iter().map(|bound| {
                let percent = bound.plan.quantile * 100.0;
                format!("{percent} % answered within {}", duration_text(bound.at_most))
            });
            words.collect::<Vec<_>>().join(", ")
        }
        Check::Failover(failover) => promises(failover),
        Check::Cel(text) => format!("`{text}`"),
        Check::Split(split) => {
            let targets: Vec<String> = split
                .plan
                .targets
                .iter()
                .map(|target| format!("{} {} %", target.category, points(target.weight)))
                .collect();
            let requests = match &split.early {
                Some(early) => {
                    format!("about {} requests, at most {}", thousands(early.typical), thousands(early.most()))
                }
                None => format!("{} requests", thousands(split.plan.n)),
            };
            format!(
                "{} by {}, each within {} points; {requests}: a right split fails {}, one off by the margin passes {}",
                targets.join(", "),
                split.by,
                points(split.plan.margin),
                one_in(split.plan.rates.false_fail),
                one_in(split.plan.rates.false_pass),
            )
        }
        Check::MutualTls(mtls) => {
            let gateways: Vec<String> = mtls
                .through
                .iter()
                .map(|gateway| format!("{} of {}", gateway.kind.deployment(), gateway.cluster))
                .collect();
            let through =
                if gateways.is_empty() { String::new() } else { format!(", through {}", gateways.join(", ")) };
            let issuer = mtls.issuer.as_ref().map(|cluster| format!(", certified by {cluster}")).unwrap_or_default();
            let captured = if mtls.capture == Capturing::No { "" } else { ", no plain text on the link" };
            format!("mutual TLS from {} to {}{issuer}{through}{captured}", mtls.client, mtls.server)
        }
        Check::Failures(failures) => {
            let status: Vec<String> = failures.status.iter().map(u16::to_string).collect();
            format!(
                "failures with status {} because of {} at {} of {}",
                status.join(" or "),
                failures.reason.word(),
                failures.at.kind.deployment(),
                failures.at.cluster
            )
        }
        Check::Connection(outcomes) => {
            let words: Vec<&str> = outcomes.iter().map(|outcome| outcome.word()).collect();
            format!("the connection to be {}", words.join(" or "))
        }
        Check::Reached(true) => "the pod to be reached".to_owned(),
        Check::Reached(false) => "the pod not to be reached".to_owned(),
        Check::Holds(held) => held.to_string(),
        Check::Headers(headers) => headers.to_string(),
        Check::Reachable(exceptions) => {
            let words: Vec<String> = exceptions.iter().map(ToString::to_string).collect();
            let but = if words.is_empty() { String::new() } else { format!(" but {}", words.join(", ")) };
            format!("every pair to reach each other{but}")
        }
    }
}
