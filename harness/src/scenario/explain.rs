//! A plan as text: what will be done, how many requests each measurement needs, how long it should take.

use std::fmt::Write as _;
use std::time::Duration;

use verdict::text::{one_in, points, thousands};

use super::plan::{Action, Check, Expectation, Plan, Step};

/// Requests a second that one closed loop manages on a small machine; only for the estimate that `plan` prints.
const RATE_OF_ONE: u64 = 400;
/// Requests a second of many connections at once.
const RATE_OF_MANY: u64 = 1_200;
/// Time that any other step takes.
const OTHER: Duration = Duration::from_millis(200);

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
    plan.flattened().into_iter().map(duration).sum()
}

fn duration(step: &Step) -> Duration {
    match &step.action {
        Action::Traffic(traffic) => {
            let rate = if traffic.connections == 1 { RATE_OF_ONE } else { RATE_OF_MANY };
            OTHER + Duration::from_millis(traffic.requests * 1_000 / rate)
        }
        Action::Control(control) => {
            let changes = control.change.len() + control.restore.len();
            duration(&control.measure) + OTHER * u32::try_from(changes).unwrap_or(u32::MAX)
        }
        Action::Sequence(_) => Duration::ZERO,
        Action::Apply(_) | Action::Delete(_) | Action::Link(_) | Action::Converge(_) | Action::Connect(_) => OTHER,
    }
}

fn write_step(text: &mut String, step: &Step, depth: usize) {
    let indent = "  ".repeat(depth);
    let requests = match step.requests() {
        0 | 1 => String::new(),
        requests => format!(" [{} requests]", thousands(requests)),
    };
    let _infallible = writeln!(text, "{indent}{} {}{requests}", step.id, step.name);
    match &step.action {
        Action::Sequence(steps) => steps.iter().for_each(|step| write_step(text, step, depth + 1)),
        Action::Control(control) => {
            for change in &control.change {
                let _infallible = writeln!(text, "{indent}  change: {}", change.name);
            }
            let refuted: Vec<&str> =
                control.refuted.iter().map(|index| control.measure.expectations()[*index].name.as_str()).collect();
            let _infallible = writeln!(
                text,
                "{indent}  repeat `{}`: {} must be refuted",
                control.measure.name,
                refuted.join(" and ")
            );
            for expectation in &control.expectations {
                let _infallible = writeln!(text, "{indent}  instead expect {}", sentence(expectation));
            }
        }
        _ => {}
    }
    for expectation in step.expectations() {
        let _infallible = writeln!(text, "{indent}  expect {}", sentence(expectation));
    }
}

/// An expectation in words.
#[must_use]
pub fn sentence(expectation: &Expectation) -> String {
    match &expectation.check {
        Check::Answered(_) => "every request answered with status 200".to_owned(),
        Check::Split(split) => {
            let targets: Vec<String> = split
                .plan
                .targets
                .iter()
                .map(|target| format!("{} {} %", target.category, points(target.weight)))
                .collect();
            format!(
                "{} by {}, each within {} points; {} requests: a right split fails {}, one off by the margin passes {}",
                targets.join(", "),
                split.by,
                points(split.plan.margin),
                thousands(split.plan.n),
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
            format!("mutual TLS from {} to {}{through}", mtls.client, mtls.server)
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
    }
}
