//! From the YAML form to a [`Plan`]: every name resolved, every sample planned, every problem reported at once.

mod assertions;
mod budget;
mod changes;
mod config;
mod context;
mod convergence;
mod early;
mod expect;
mod faults;
mod groups;
mod headers;
mod mutual_tls;
mod objects;
mod reachability;
mod refuted;
mod said;
mod steps;
mod traffic;
mod words;
mod workers;

use crate::diagnostic::tree::Path;
use crate::diagnostic::{self, Document, Problems};
use crate::topology::{Topology, validate};

use std::collections::BTreeSet;

use super::file::ScenarioFile;
use super::keys::Capability;
use super::plan::{Action, Capturing, Check, Expectation, Plan, Step};
use super::suite::Defaults;
use super::{matrix, parameters};
use context::Context;

/// Gives the text of a file that a scenario refers to. Implemented by whoever may read files.
pub trait ReadFile {
    /// The text of the file at `path`, which is relative to the folder of the scenario.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    fn read(&self, path: &str) -> Result<NamedText, String>;
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct NamedText {
    /// Its path as shown to people.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What reading gave: problems may be there even when there are plans, but then only warnings.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The plan, or one for each case of a matrix; none if something is wrong.
    pub plans: Vec<Plan>,
    /// Everything found, in the order of the file.
    pub problems: Problems,
}

/// Reads and checks a scenario: `name` is the path of its file, whose folder also gives its area.
pub fn read(name: &str, text: &str, given: &Defaults, files: &dyn ReadFile) -> Checked {
    match Document::parse(name, text) {
        Ok(document) => of_document(&document, given, files),
        Err(problems) => Checked { problems: problems.sorted(), ..Checked::default() },
    }
}

/// Checks a scenario that was read, or written in Rust.
pub(super) fn of_document(document: &Document, given: &Defaults, files: &dyn ReadFile) -> Checked {
    let mut checked = Checked::default();
    match matrix::cases(document) {
        Ok(cases) => {
            for case in cases {
                match read_case(document.clone(), &case, given, files) {
                    Ok((plan, problems)) => {
                        checked.plans.push(plan);
                        checked.problems.extend(problems);
                    }
                    Err(problems) => checked.problems.extend(problems),
                }
            }
        }
        Err(problems) => checked.problems = problems,
    }
    if checked.problems.has_errors() {
        checked.plans.clear();
    }
    checked.problems = checked.problems.sorted();
    checked
}

fn read_case(
    mut document: Document,
    case: &matrix::Case,
    given: &Defaults,
    files: &dyn ReadFile,
) -> Result<(Plan, Problems), Problems> {
    let values = parameters::Given { case: case.values(), parameters: given.parameters.clone() };
    parameters::substitute(&mut document, &values)?;
    let repaired = diagnostic::decode_repaired::<ScenarioFile>(&document)?;
    let file = repaired.value;
    let topology = match &given.topology {
        Some(topology) => topology.clone(),
        None => match named_topology(&document, &file, files) {
            Ok(topology) => topology,
            Err(mut problems) => {
                problems.extend(repaired.problems);
                return Err(problems);
            }
        },
    };
    let mut context = Context::new(&document, &topology, files);
    context.problems.extend(repaired.problems);
    context.damaged = repaired.damaged;
    context.scenario(&file);
    let steps = context.steps(&Path::root().key("steps"), &file.steps, "");
    let mut finally = context.steps(&Path::root().key("finally"), &file.finally, "f");
    finally.extend(context.last_convergence(file.finally.len()));
    context.all_stopped();
    let time_budget = context.time_budget(&file.budget, &given.budget);
    let requests = file.budget.requests.or(given.budget.requests);
    let plan = Plan {
        name: case.name(&file.name),
        description: file.description,
        area: area(&document.source.name),
        tags: file.tags.into_iter().chain(given.tags.iter().cloned()).collect(),
        file: document.source.name.clone(),
        topology: topology.clone(),
        requires: requires(file.requires, &steps),
        time_budget,
        steps,
        finally,
    };
    context.within_budget(&plan, requests);
    let problems = context.into_problems();
    if problems.has_errors() { Err(problems) } else { Ok((plan, problems)) }
}

/// What the scenario says that it needs, and what its faults do.
fn requires(said: Vec<Capability>, steps: &[Step]) -> Vec<Capability> {
    fn collect(steps: &[Step], into: &mut BTreeSet<Capability>) {
        for step in steps {
            if let Action::Fault(fault) = &step.action {
                into.extend(fault.kind.requires());
            }
            let captured =
                |one: &Expectation| matches!(&one.check, Check::MutualTls(mtls) if mtls.capture == Capturing::Required);
            if step.expectations().iter().any(captured) {
                into.insert(Capability::Tap);
            }
            step.members().into_iter().for_each(|members| collect(members, into));
        }
    }
    let mut all: BTreeSet<Capability> = said.into_iter().collect();
    collect(steps, &mut all);
    all.into_iter().collect()
}

fn named_topology(document: &Document, file: &ScenarioFile, files: &dyn ReadFile) -> Result<Topology, Problems> {
    match files.read(&file.topology) {
        Ok(NamedText { name, text }) => validate::read(&name, &text),
        Err(cause) => {
            let mut problems = Problems::none();
            let message = format!("cannot read topology `{}`: {cause}", file.topology);
            let path = Path::root().key("topology");
            let problem = document.problem(diagnostic::Severity::Error, &path, message);
            problems.add(problem).help("name a file relative to the folder of this one");
            Err(problems)
        }
    }
}

/// The folder that a scenario file lies in.
fn area(name: &str) -> String {
    name.rsplit(['/', '\\']).nth(1).unwrap_or("").to_owned()
}

#[cfg(test)]
mod machine_tests;
#[cfg(test)]
mod reachability_tests;
#[cfg(test)]
mod step_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traffic_tests;
#[cfg(test)]
mod worker_tests;
