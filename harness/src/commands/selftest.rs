//! `meshproof selftest`: every assertion has to go red when the mesh is broken on purpose. Runs the scenarios that have
//! controls and tells what each control made of its assertion.

use serde_json::json;

use super::e2e::{Ran, Task, in_own_environments, on_kept, selected};
use super::machines;
use super::report::read;
use crate::cli::args::{Format, Selection, SelftestArgs};
use crate::environment::Given;
use crate::report::selftest::{self as report, Row, Verdict, rows};
use crate::report::{Record, RunOutcome};
use crate::scenario::Plan;
use crate::scenario::kind::Kind;
use crate::scenario::refutation::{Refutation, refutations, uncontrolled};

/// Runs the command.
pub(super) async fn run(args: &SelftestArgs) -> RunOutcome {
    let mut plans = match selected(&args.selection, false) {
        Ok(plans) => plans,
        Err(outcome) => return outcome,
    };
    let missing = uncontrolled(&plans);
    let all: Vec<Refutation> = plans.iter().flat_map(refutations).collect();
    plans.retain(|plan| !refutations(plan).is_empty());
    if args.list {
        return list(args, &all, &missing);
    }
    if is_everything(&args.selection) && !missing.is_empty() {
        return refuse(&missing);
    }
    if plans.is_empty() {
        eprintln!("no scenario that is selected has a control");
        return RunOutcome::NothingSelected;
    }
    let ran = match carry_out(args, plans).await {
        Ok(ran) => ran,
        Err(outcome) => return outcome,
    };
    let records: Vec<Record> = ran.folders.iter().filter_map(|folder| read(folder).ok()).collect();
    let rows = rows(&all, &records);
    print(args.format, &rows, &missing, || report::table(&rows, &missing));
    ran.outcome.worse(judged(&rows))
}

async fn carry_out(args: &SelftestArgs, mut plans: Vec<Plan>) -> Result<Ran, RunOutcome> {
    let (out, manner) = (args.out.as_deref(), args.jobs.manner());
    let mut task = Task { command: "selftest", out, manner, given: Given::default(), fallback: None, shard: None };
    if !args.name.is_empty() {
        return Ok(on_kept(&task, &plans, &args.name).await);
    }
    let topologies = plans.iter_mut().map(|plan| &mut plan.topology);
    task.fallback = machines::settle(topologies, args.machines.vm_runtime).await?;
    Ok(in_own_environments(&task, plans, false).await)
}

/// Only of the whole catalogue it can be asked that it leaves nothing out.
fn is_everything(selection: &Selection) -> bool {
    selection.files.is_empty() && selection.filter.is_none()
}

fn list(args: &SelftestArgs, all: &[Refutation], missing: &[Kind]) -> RunOutcome {
    let rows = rows(all, &[]);
    print(args.format, &rows, missing, || report::list(&rows, missing));
    if is_everything(&args.selection) && !missing.is_empty() { refuse(missing) } else { RunOutcome::Passed }
}

fn refuse(missing: &[Kind]) -> RunOutcome {
    let words: Vec<&str> = missing.iter().map(|kind| kind.word()).collect();
    eprintln!("error: no scenario of the catalogue has a control that turns `{}` red", words.join("`, `"));
    eprintln!("  help: add a `control` that changes the mesh and `refutes` it");
    RunOutcome::WrongUsage
}

fn print(format: Format, rows: &[Row], missing: &[Kind], text: impl Fn() -> String) {
    let words: Vec<&str> = missing.iter().map(|kind| kind.word()).collect();
    match format {
        Format::Text => crate::cli::print(&format!("\n{}", text())),
        Format::Json => crate::cli::print(&format!("{:#}\n", json!({ "controls": rows, "withoutControl": words }))),
    }
}

/// An assertion that stays green while the mesh is broken proves nothing when it is green.
fn judged(rows: &[Row]) -> RunOutcome {
    let green: Vec<&Row> = rows.iter().filter(|row| row.verdict == Verdict::Green).collect();
    for row in &green {
        eprintln!(
            "error: `{}` did not turn red in {} when the mesh was changed: {}",
            row.kind, row.scenario, row.mutation
        );
    }
    if !green.is_empty() {
        return RunOutcome::MeshFailed;
    }
    let open = rows.iter().any(|row| row.verdict != Verdict::Red);
    if open { RunOutcome::Inconclusive } else { RunOutcome::Passed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_red_everywhere_is_good() {
        let row = |verdict| Row {
            kind: "split",
            mutation: String::new(),
            scenario: String::new(),
            control: String::new(),
            said: String::new(),
            verdict,
        };
        let outcome = |verdicts: &[Verdict]| judged(&verdicts.iter().map(|one| row(*one)).collect::<Vec<_>>());
        assert_eq!(outcome(&[Verdict::Red, Verdict::Red]), RunOutcome::Passed);
        assert_eq!(outcome(&[Verdict::Red, Verdict::NotReached]), RunOutcome::Inconclusive);
        assert_eq!(outcome(&[Verdict::Undecided]), RunOutcome::Inconclusive);
        assert_eq!(outcome(&[Verdict::NotReached, Verdict::Green]), RunOutcome::MeshFailed);
    }
}
