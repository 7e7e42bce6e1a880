//! `meshproof lint`: every mistake in scenarios and topologies.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::args::{Format, LintArgs};
use super::files::{self, Error};
use super::pretty;
use crate::diagnostic::tree::Path;
use crate::diagnostic::{Document, Problems, Severity};
use crate::report::RunOutcome;
use crate::scenario::suite::Defaults;
use crate::topology::{support, validate};

pub(super) fn run(args: &LintArgs) -> RunOutcome {
    match lint(args) {
        Ok((files, problems)) => {
            report(args.format, files, &problems);
            if problems.has_errors() { RunOutcome::WrongUsage } else { RunOutcome::Passed }
        }
        Err(error) => super::plan::refuse(&error),
    }
}

fn lint(args: &LintArgs) -> Result<(usize, Problems), Error> {
    let files = if args.files.is_empty() { everything(args.root.as_deref())? } else { args.files.clone() };
    let mut problems = Problems::none();
    for file in &files {
        problems.extend(one(file)?);
    }
    // A topology with mistakes is reported by every scenario that uses it, and once is enough.
    Ok((files.len(), problems.sorted()))
}

fn everything(root: Option<&Utf8Path>) -> Result<Vec<Utf8PathBuf>, Error> {
    let root = files::root(root)?;
    let mut all = files::yaml_files(&root.join(files::TOPOLOGIES))?;
    all.extend(files::yaml_files(&root.join(files::CATALOGUE))?);
    let suites = root.join(files::SUITES);
    if suites.is_dir() {
        all.extend(files::yaml_files(&suites)?);
    }
    Ok(all)
}

/// A file says itself what it is; one that does not is checked as a scenario, whose problems then say what is missing.
fn one(path: &Utf8Path) -> Result<Problems, Error> {
    let text = files::text(path)?;
    if files::kind(path, &text).as_deref() == Some("Topology") {
        let (topology, mut problems) = validate::check(path.as_str(), &text);
        let document = Document::parse(path.as_str(), &text).ok();
        if let (Some(lack), Some(document)) = (topology.as_ref().and_then(support::lack), document) {
            let path = Path::root().key(lack.field);
            problems.add(document.problem(Severity::Error, &path, lack.message)).help(lack.cure);
        }
        return Ok(problems);
    }
    let checked = files::scenario(path, &Defaults::default())?;
    let mut problems = checked.problems;
    if let Some((plan, lack)) = checked.plans.iter().find_map(|plan| Some((plan, support::lack(&plan.topology)?))) {
        let document = Document::parse(path.as_str(), &text).map_err(Error::Problems)?;
        let at = Path::root().key("topology");
        let message = format!("topology {}: {}", plan.topology.name, lack.message);
        problems.add(document.problem(Severity::Error, &at, message)).help(lack.cure);
    }
    Ok(problems)
}

fn report(format: Format, files: usize, problems: &Problems) {
    let (errors, warnings) = problems.counts();
    match format {
        Format::Json => {
            let document = json!({ "files": files, "errors": errors, "warnings": warnings, "problems": problems });
            super::print(&format!("{document:#}\n"));
        }
        Format::Text => {
            eprint!("{}", problems.render(pretty()));
            let counts = [counted(files, "file"), counted(errors, "error"), counted(warnings, "warning")];
            super::print(&format!("{}\n", counts.join(", ")));
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
