//! `meshproof plan`: what would be done, without an environment.

use std::error::Error as _;

use serde_json::json;

use super::args::{Format, PlanArgs};
use super::beside;
use super::files::{self, Error, Selected};
use super::pretty;
use crate::report::RunOutcome;
use crate::scenario::{Plan, explain};
use crate::topology::{Topology, draw};

pub(super) fn run(args: &PlanArgs) -> RunOutcome {
    let selected = match files::select(&args.selection) {
        Ok(selected) => selected,
        Err(error) => return refuse(&error),
    };
    eprint!("{}", selected.warnings.render(pretty()));
    if selected.plans.is_empty() {
        return nothing_selected(&selected);
    }
    match args.format {
        Format::Text => super::print(&text(&selected.plans)),
        Format::Json => super::print(&format!("{:#}\n", document(&selected.plans))),
    }
    RunOutcome::Passed
}

/// The plan as people read it: each topology once, then its scenarios.
#[must_use]
pub(crate) fn text(plans: &[Plan]) -> String {
    let mut text = String::new();
    for topology in topologies(plans) {
        text.push_str(&draw::draw(topology));
        for plan in plans.iter().filter(|plan| plan.topology == *topology) {
            text.push('\n');
            text.push_str(&explain::explain(plan));
        }
        let here: Vec<&Plan> = plans.iter().filter(|plan| plan.topology == *topology).collect();
        text.push_str(&beside::text(&here));
    }
    text
}

fn document(plans: &[Plan]) -> serde_json::Value {
    let all: Vec<&Plan> = plans.iter().collect();
    let neighbours = beside::neighbours(&all);
    let scenarios: Vec<serde_json::Value> = plans
        .iter()
        .zip(neighbours)
        .map(|(plan, neighbours)| {
            json!({
                "plan": plan,
                "topology": plan.topology.name,
                "requests": plan.requests(),
                "estimatedSeconds": explain::estimate(plan).as_secs(),
                "alone": neighbours.alone,
                "beside": neighbours.beside,
            })
        })
        .collect();
    json!({ "topologies": topologies(plans), "scenarios": scenarios })
}

fn topologies(plans: &[Plan]) -> Vec<&Topology> {
    let mut topologies: Vec<&Topology> = Vec::new();
    for plan in plans {
        if !topologies.contains(&&plan.topology) {
            topologies.push(&plan.topology);
        }
    }
    topologies
}

/// Says that the selection is empty.
pub(crate) fn nothing_selected(selected: &Selected) -> RunOutcome {
    eprintln!("no scenario is selected: none of {} matches the filter", selected.known);
    RunOutcome::NothingSelected
}

/// Says why files cannot be used.
pub(crate) fn refuse(error: &Error) -> RunOutcome {
    match error {
        Error::Problems(problems) => eprint!("{}", problems.render(pretty())),
        error => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("error: {error}{cause}");
        }
    }
    RunOutcome::WrongUsage
}
