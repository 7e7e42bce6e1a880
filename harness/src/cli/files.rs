//! Reads scenarios and topologies from disk: the only place of the file formats that does input.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::args::Selection;
use crate::diagnostic::{Document, Problems};
use crate::scenario::api::Scenario;
use crate::scenario::check::{Checked, NamedText, ReadFile};
use crate::scenario::suite::{self, Defaults};
use crate::scenario::{self, Plan};
use crate::topology::{Topology, validate};

/// Where topologies are, below the root.
pub const TOPOLOGIES: &str = "scenarios/topologies";
/// Where suites are, below the root.
pub const SUITES: &str = "scenarios/suites";
/// Where scenarios are, below the root.
pub const CATALOGUE: &str = "scenarios/catalogue";
/// The topology that is used when none is named.
pub const DEFAULT_TOPOLOGY: &str = "scenarios/topologies/two-clusters.yaml";

/// Files could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no `scenarios/` here or above.
    #[error("no folder `scenarios` in {0} or above it")]
    NoRoot(Utf8PathBuf),
    /// A file or folder cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is something else than text.
    #[error("{0} is no text file: scenarios, suites and topologies are YAML in UTF-8")]
    NoText(Utf8PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Unwritable {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Files have mistakes.
    #[error("{0}")]
    Problems(Problems),
}

/// Scenarios that were selected, and warnings about them.
#[derive(Debug, Default)]
pub struct Selected {
    /// In the order of their files.
    pub plans: Vec<Plan>,
    /// What is worth a look in their files.
    pub warnings: Problems,
    /// How many there were to select from.
    pub known: usize,
}

/// The folder that holds `scenarios/`: the one given, or the nearest at or above the current folder.
///
/// # Errors
/// [`Error::NoRoot`].
pub fn root(given: Option<&Utf8Path>) -> Result<Utf8PathBuf, Error> {
    if let Some(given) = given {
        let found = given.join("scenarios").is_dir();
        return if found { Ok(given.to_owned()) } else { Err(Error::NoRoot(given.to_owned())) };
    }
    let here = std::env::current_dir().ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok()).unwrap_or_default();
    let found = here.ancestors().find(|folder| folder.join("scenarios").is_dir());
    // Paths in messages are short and can be clicked when they start at the current folder.
    match found {
        Some(folder) if folder == here => Ok(Utf8PathBuf::new()),
        Some(folder) => Ok(folder.to_owned()),
        None => Err(Error::NoRoot(here)),
    }
}

/// Reads a topology.
///
/// # Errors
/// [`Error::Unreadable`] or [`Error::Problems`].
pub fn topology(path: &Utf8Path) -> Result<Topology, Error> {
    validate::read(path.as_str(), &text(path)?).map_err(Error::Problems)
}

/// Reads and checks one scenario, or every scenario of a suite.
///
/// # Errors
/// [`Error::Unreadable`]; mistakes are in the result.
pub fn scenario(path: &Utf8Path, given: &Defaults) -> Result<Checked, Error> {
    let text = text(path)?;
    if kind(path, &text).as_deref() == Some("Suite") {
        return Ok(of_suite(path, &text, given).unwrap_or_else(|problems| Checked { plans: Vec::new(), problems }));
    }
    let folder = Folder(folder_of(path));
    Ok(scenario::read(path.as_str(), &text, given, &folder))
}

/// Checks a scenario that is written in Rust. Files that it names are looked for in the current folder and above it.
///
/// # Errors
/// [`Error::Problems`]: every mistake, with the place where it was written.
pub fn written(scenario: &Scenario, topology: &Topology) -> Result<Plan, Error> {
    let given = Defaults { topology: Some(topology.clone()), ..Defaults::default() };
    let checked = scenario.check(&given, &Above);
    checked.plans.into_iter().next().ok_or(Error::Problems(checked.problems))
}

/// What a file says that it is.
pub(super) fn kind(path: &Utf8Path, text: &str) -> Option<String> {
    let document = Document::parse(path.as_str(), text).ok()?;
    document.root.get("kind")?.to_json().as_str().map(str::to_owned)
}

fn of_suite(path: &Utf8Path, text: &str, given: &Defaults) -> Result<Checked, Problems> {
    let (suite, problems) = suite::read(path.as_str(), text)?;
    let folder = folder_of(path);
    let named = suite.file.defaults.topology.as_ref();
    let topology = match (&given.topology, named) {
        (Some(topology), _) => Some(topology.clone()),
        (None, Some(file)) => {
            let file = normal(&folder.join(file));
            Some(topology(&file).map_err(|error| match error {
                Error::Problems(problems) => problems,
                error => suite.scenario_problem(0, format!("{error}")),
            })?)
        }
        (None, None) => None,
    };
    let defaults = suite.defaults(topology);
    let mut all = Checked { plans: Vec::new(), problems };
    for (index, name) in suite.file.scenarios.iter().enumerate() {
        let named = normal(&folder.join(name));
        let files = if named.is_dir() { yaml_files(&named) } else { Ok(vec![named]) };
        let read = files.and_then(|files| {
            files.iter().map(|file| scenario_of_suite(file, &defaults)).collect::<Result<Vec<_>, _>>()
        });
        match read {
            Ok(read) => read.into_iter().for_each(|one| {
                all.plans.extend(one.plans);
                all.problems.extend(one.problems);
            }),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                all.problems.extend(suite.scenario_problem(index, format!("{error}{cause}")));
            }
        }
    }
    if all.problems.has_errors() {
        all.plans.clear();
    }
    Ok(all)
}

/// A suite in a suite would have to say whose defaults count, so there is none.
fn scenario_of_suite(path: &Utf8Path, given: &Defaults) -> Result<Checked, Error> {
    let folder = Folder(folder_of(path));
    Ok(scenario::read(path.as_str(), &text(path)?, given, &folder))
}

fn folder_of(path: &Utf8Path) -> Utf8PathBuf {
    path.parent().unwrap_or(Utf8Path::new("")).to_owned()
}

/// Reads the scenarios that a command line asks for.
///
/// # Errors
/// The first file that cannot be read, or all mistakes of all files.
pub fn select(selection: &Selection) -> Result<Selected, Error> {
    let topology = selection.topology.as_deref().map(topology).transpose()?;
    let files = if selection.files.is_empty() {
        yaml_files(&root(selection.root.as_deref())?.join(CATALOGUE))?
    } else {
        selection.files.clone()
    };
    let given = Defaults { topology, ..Defaults::default() };
    let mut selected = Selected::default();
    let mut broken = false;
    for file in &files {
        let checked = scenario(file, &given)?;
        broken |= checked.plans.is_empty();
        selected.known += checked.plans.len();
        selected.warnings.extend(checked.problems);
        let matches = |plan: &Plan| selection.filter.as_ref().is_none_or(|filter| filter.matches(plan));
        selected.plans.extend(checked.plans.into_iter().filter(matches));
    }
    if broken { Err(Error::Problems(selected.warnings)) } else { Ok(selected) }
}

/// Every YAML file below a folder, by name.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn yaml_files(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let unreadable = |source| Error::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in folder.read_dir_utf8().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path().to_owned();
        if path.is_dir() {
            files.extend(yaml_files(&path)?);
        } else if matches!(path.extension(), Some("yaml" | "yml")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn text(path: &Utf8Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(Error::NoText(path.to_owned())),
    }
}

/// Reads what a scenario refers to, relative to its folder.
struct Folder(Utf8PathBuf);

impl ReadFile for Folder {
    fn read(&self, path: &str) -> Result<NamedText, String> {
        let path = normal(&self.0.join(path));
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        Ok(NamedText { name: path.into_string(), text })
    }
}

/// Reads what a scenario in Rust refers to, and its source: the paths of both begin at a folder in which the current one
/// is, that of the package or of the workspace.
struct Above;

impl ReadFile for Above {
    fn read(&self, path: &str) -> Result<NamedText, String> {
        let here = std::env::current_dir().map_err(|error| error.to_string())?;
        let found = here.ancestors().map(|folder| folder.join(path)).find(|path| path.is_file());
        let found = found.ok_or_else(|| format!("it is neither in {} nor above", here.display()))?;
        let text = fs::read_to_string(found).map_err(|error| error.to_string())?;
        Ok(NamedText { name: path.to_owned(), text })
    }
}

/// The path without `..`, which makes names in messages short; only the text is looked at.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    use camino::Utf8Component::{Normal, ParentDir};
    let mut parts: Vec<camino::Utf8Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (ParentDir, Some(Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened() {
        assert_eq!(normal("scenarios/catalogue/x/../../topologies/t.yaml".into()), "scenarios/topologies/t.yaml");
        assert_eq!(normal("../../t.yaml".into()), "../../t.yaml");
        assert_eq!(normal("/a/../b".into()), "/b");
    }
}
