//! Suites: lists of scenarios with defaults for all of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::BudgetFile;
use crate::diagnostic::tree::Path;
use crate::diagnostic::{self, Document, Problems, Severity};
use crate::topology::Topology;
use crate::topology::file::ApiVersion;
use crate::topology::validate::dns_label;

/// The kind of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SuiteKind {
    /// A suite.
    Suite,
}

/// Scenarios that belong together.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "meshproof suite")]
pub struct SuiteFile {
    /// Version of the format.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// Kind of the file.
    pub kind: SuiteKind,
    /// Name of the suite: lower-case letters, digits and `-`.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Files of scenarios, or folders of them, relative to this file.
    pub scenarios: Vec<String>,
    /// What holds for all of them.
    #[serde(default)]
    pub defaults: DefaultsFile,
}

/// What holds for every scenario of a suite.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DefaultsFile {
    /// File of the topology to run on, relative to this file, in place of those that the scenarios name.
    pub topology: Option<String>,
    /// Values in place of those that scenarios declare; what a scenario does not declare it does not get.
    pub parameters: BTreeMap<String, Value>,
    /// Words to select by, besides those of each scenario.
    pub tags: Vec<String>,
    /// The most that a scenario may take which does not say so itself.
    pub budget: BudgetFile,
}

/// What is given to a scenario from outside of its file.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The topology in place of the one that it names.
    pub topology: Option<Topology>,
    /// Values in place of those that it declares.
    pub parameters: BTreeMap<String, diagnostic::tree::Value>,
    /// Further tags.
    pub tags: Vec<String>,
    /// The most that it may take, unless it says so itself.
    pub budget: BudgetFile,
}

/// A suite as it stands in its file; the scenarios are not read yet.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The file, for problems with what it names.
    pub document: Document,
    /// Its content.
    pub file: SuiteFile,
}

/// Reads and checks a suite; the scenarios that it names are the caller's to read.
///
/// # Errors
/// Every mistake in it.
pub fn read(name: &str, text: &str) -> Result<(Suite, Problems), Problems> {
    let document = Document::parse(name, text)?;
    let (file, mut problems): (SuiteFile, Problems) = diagnostic::decode(&document)?;
    let root = Path::root();
    let mut error = |path: Path, message: String, help: &str| {
        problems.add(document.problem(Severity::Error, &path, message)).help(help);
    };
    if let Err(help) = dns_label(&file.name) {
        error(root.key("name"), format!("`{}` is no valid name", file.name), help);
    }
    if file.scenarios.is_empty() {
        error(root.key("scenarios"), "this suite has no scenarios".to_owned(), "name files or folders");
    }
    for (index, scenario) in file.scenarios.iter().enumerate() {
        if file.scenarios[..index].contains(scenario) {
            let path = root.key("scenarios").index(index);
            error(path, format!("`{scenario}` stands here twice"), "remove one of them");
        }
    }
    for (index, tag) in file.defaults.tags.iter().enumerate() {
        if let Err(help) = dns_label(tag) {
            error(root.key("defaults").key("tags").index(index), format!("`{tag}` is no valid tag"), help);
        }
    }
    if problems.has_errors() { Err(problems.sorted()) } else { Ok((Suite { document, file }, problems)) }
}

impl Suite {
    /// A problem with the scenario of that position.
    #[must_use]
    pub fn scenario_problem(&self, index: usize, message: impl Into<String>) -> Problems {
        let mut problems = Problems::none();
        let path = Path::root().key("scenarios").index(index);
        problems
            .add(self.document.problem(Severity::Error, &path, message))
            .help("name files or folders relative to the folder of this file");
        problems
    }

    /// What it gives to every scenario, with the topology that was read for it.
    #[must_use]
    pub fn defaults(&self, topology: Option<Topology>) -> Defaults {
        let declared = self.document.root.get("defaults").and_then(|defaults| defaults.get("parameters"));
        let parameters = match declared.map(|node| &node.value) {
            Some(diagnostic::tree::Value::Map(entries)) => {
                entries.iter().map(|(key, node)| (key.text.clone(), node.value.clone())).collect()
            }
            _ => BTreeMap::new(),
        };
        let DefaultsFile { tags, budget, .. } = self.file.defaults.clone();
        Defaults { topology, parameters, tags, budget }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: meshproof.dev/v1alpha1\nkind: Suite\nname: s\ndescription: d\n";

    #[test]
    fn a_suite_names_scenarios_and_defaults() {
        let text = format!("{HEAD}scenarios: [a.yaml]\ndefaults: {{parameters: {{port: 80}}, tags: [nightly]}}\n");
        let (suite, problems) = read("suite.yaml", &text).expect("a suite");
        assert!(problems.is_empty());
        let defaults = suite.defaults(None);
        assert_eq!(defaults.tags, ["nightly"]);
        assert_eq!(defaults.parameters["port"], diagnostic::tree::Value::Integer(80));
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let text = format!("{HEAD}scenarios: [a.yaml, a.yaml]\ndefaults: {{tags: [Not a tag]}}\nscenario: x\n");
        let problems = read("suite.yaml", &text).expect_err("mistakes");
        let lines: Vec<usize> = problems.iter().map(|one| one.location().line).collect();
        assert_eq!(lines, [5, 6, 7]);
    }
}
