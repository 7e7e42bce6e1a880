//! `meshproof e2e` and `meshproof run`: scenarios, in an environment of their own or in one that stays.

use camino::Utf8Path;

use super::complain_kept;
use super::report;
use super::session::{Reports, Session, new_run_id};
use super::up::supported;
use crate::cli::args::{E2eArgs, RunArgs, Selection};
use crate::cli::filter::Filter;
use crate::cli::{files, plan};
use crate::environment::state_root;
use crate::report::{EventKind, RunOutcome};
use crate::run::{self, Job};
use crate::scenario::Plan;
use crate::topology::Topology;

/// Brings up, runs, reports, tears down; once for each topology that the scenarios name.
pub(super) async fn run(args: &E2eArgs) -> RunOutcome {
    let selection = if args.last_failed { args.selection.clone() } else { or_smoke(&args.selection) };
    let mut plans = match selected(&selection, args.last_failed) {
        Ok(plans) => plans,
        Err(outcome) => return outcome,
    };
    if let Some(provider) = args.provider {
        plans.iter_mut().for_each(|plan| plan.topology.provider = provider);
    }
    let groups = by_topology(plans);
    let several = groups.len() > 1;
    let mut worst = RunOutcome::Passed;
    for (topology, plans) in groups {
        let out = args.out.as_ref().map(|out| if several { out.join(&topology.name) } else { out.clone() });
        let outcome = one(&topology, plans, out.as_deref(), args).await;
        worst = worst.worse(outcome);
        if matches!(outcome, RunOutcome::Interrupted | RunOutcome::Terminated) {
            break;
        }
    }
    worst
}

async fn one(topology: &Topology, plans: Vec<Plan>, out: Option<&Utf8Path>, args: &E2eArgs) -> RunOutcome {
    if let Err(outcome) = supported(topology) {
        return outcome;
    }
    let run_id = new_run_id();
    let environment = format!("{}{run_id}", run::OWN_PREFIX);
    let session = match Session::start("e2e", run_id, &environment, out, Reports::Files) {
        Ok(session) => session,
        Err(outcome) => return outcome,
    };
    tell_plan(&session, &plans);
    let job = Job {
        environment,
        run_id: session.run_id.clone(),
        topology: topology.clone(),
        topology_text: String::new(),
        plans,
        out: session.out.clone(),
        state_root: session.state_root.clone(),
    };
    let outcome = if args.keep {
        keep(&job, &session).await
    } else {
        run::e2e(&job, &session.events, &session.interruption).await
    };
    session.finish(outcome).await
}

/// As `up` followed by `run`, under one report.
async fn keep(job: &Job, session: &Session) -> RunOutcome {
    let up = run::up(job, &session.events, &session.interruption).await;
    if up != RunOutcome::Passed {
        return up;
    }
    let help = format!("it stays up; `meshproof down --name {}` takes it down", job.environment);
    session.events.warn(format!("environment {} was asked to be kept", job.environment), Some(help));
    match run::find(&job.state_root, Some(&job.environment)).and_then(run::Kept::into_world) {
        Ok(world) => run::run_on_kept(&world, &job.plans, &job.out, &session.events, &session.interruption).await,
        Err(error) => {
            let message = crate::cluster::chain(&error);
            session.events.send(EventKind::Failure { message, cure: None, evidence: Vec::new() });
            RunOutcome::EnvironmentFailed
        }
    }
}

/// Runs scenarios on an environment that stays.
pub(super) async fn run_on_kept(args: &RunArgs) -> RunOutcome {
    let plans = match selected(&args.selection, args.last_failed) {
        Ok(plans) => plans,
        Err(outcome) => return outcome,
    };
    let kept = match state_root().map(|root| run::find(&root, args.name.as_deref())) {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => return complain_kept(&error),
        Err(message) => {
            eprintln!("error: {message}");
            return RunOutcome::EnvironmentFailed;
        }
    };
    let name = kept.name.clone();
    let world = match kept.into_world() {
        Ok(world) => world,
        Err(error) => return complain_kept(&error),
    };
    let session = match Session::start("run", new_run_id(), &name, args.out.as_deref(), Reports::Files) {
        Ok(session) => session,
        Err(outcome) => return outcome,
    };
    tell_plan(&session, &plans);
    let outcome = run::run_on_kept(&world, &plans, &session.out, &session.events, &session.interruption).await;
    session.finish(outcome).await
}

/// The main job is the smoke scenarios; who wants others says which.
fn or_smoke(selection: &Selection) -> Selection {
    let mut selection = selection.clone();
    if selection.files.is_empty() && selection.filter.is_none() {
        selection.filter = Some(Filter::Tag("smoke".to_owned()));
    }
    selection
}

fn selected(selection: &Selection, last_failed: bool) -> Result<Vec<Plan>, RunOutcome> {
    match files::select(selection) {
        Ok(selected) if selected.plans.is_empty() => Err(plan::nothing_selected(&selected)),
        Ok(selected) => {
            eprint!("{}", selected.warnings.render(crate::cli::pretty()));
            if last_failed { report::only_last_failed(selected.plans) } else { Ok(selected.plans) }
        }
        Err(error) => Err(plan::refuse(&error)),
    }
}

fn tell_plan(session: &Session, plans: &[Plan]) {
    let mut topologies: Vec<&Topology> = Vec::new();
    for plan in plans {
        if !topologies.contains(&&plan.topology) {
            topologies.push(&plan.topology);
            session.events.send(EventKind::TopologyKnown { topology: (&plan.topology).into() });
        }
    }
    session.events.send(EventKind::PlanReady {
        text: plan::text(plans),
        scenarios: plans.iter().map(|plan| plan.name.clone()).collect(),
        requests: plans.iter().map(Plan::requests).sum(),
    });
}

fn by_topology(plans: Vec<Plan>) -> Vec<(Topology, Vec<Plan>)> {
    let mut groups: Vec<(Topology, Vec<Plan>)> = Vec::new();
    for plan in plans {
        match groups.iter_mut().find(|(topology, _)| *topology == plan.topology) {
            Some((_, group)) => group.push(plan),
            None => groups.push((plan.topology.clone(), vec![plan])),
        }
    }
    groups
}
