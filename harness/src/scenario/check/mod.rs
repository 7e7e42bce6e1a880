//! From the YAML form to a [`Plan`]: every name resolved, every sample planned, every problem reported at once.

mod context;
mod convergence;
mod expect;
mod objects;
mod steps;

use crate::diagnostic::tree::Path;
use crate::diagnostic::{self, Document, Problems};
use crate::topology::{Topology, validate};

use super::file::ScenarioFile;
use super::parameters;
use super::plan::Plan;
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

/// What reading gave: problems may be there even when there is a plan, but then only warnings.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The plan, unless something is wrong.
    pub plan: Option<Plan>,
    /// Everything found, in the order of the file.
    pub problems: Problems,
}

/// Reads and checks a scenario: `name` is the path of its file, whose folder also gives its area. A `topology` given
/// replaces the one that the file names.
pub fn read(name: &str, text: &str, topology: Option<&Topology>, files: &dyn ReadFile) -> Checked {
    match try_read(name, text, topology, files) {
        Ok((plan, problems)) => Checked { plan: Some(plan), problems: problems.sorted() },
        Err(problems) => Checked { plan: None, problems: problems.sorted() },
    }
}

fn try_read(
    name: &str,
    text: &str,
    topology: Option<&Topology>,
    files: &dyn ReadFile,
) -> Result<(Plan, Problems), Problems> {
    let mut document = Document::parse(name, text)?;
    parameters::substitute(&mut document)?;
    let (file, unknown): (ScenarioFile, Problems) = diagnostic::decode(&document)?;
    let topology = match topology {
        Some(topology) => topology.clone(),
        None => named_topology(&document, &file, files)?,
    };
    let mut context = Context::new(&document, &topology, files);
    context.problems.extend(unknown);
    context.scenario(&file);
    let steps = context.steps(&Path::root().key("steps"), &file.steps, "");
    let finally = context.steps(&Path::root().key("finally"), &file.finally, "f");
    let problems = context.into_problems();
    if problems.has_errors() {
        return Err(problems);
    }
    let plan = Plan {
        name: file.name,
        description: file.description,
        area: area(name),
        tags: file.tags,
        file: name.to_owned(),
        topology,
        steps,
        finally,
    };
    Ok((plan, problems))
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
mod tests;
