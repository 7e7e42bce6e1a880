//! `meshproof e2e` and `meshproof run`: scenarios, in an environment of their own or in one that stays.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::last_failed;
use super::machines;
use super::session::{Reports, Session, new_run_id};
use super::up::{complain_lack, supported};
use super::versions::versions;
use super::{complain_kept, root};
use crate::cli::args::{E2eArgs, RunArgs, Selection};
use crate::cli::filter::Filter;
use crate::cli::shards::{self, ShardArgs};
use crate::cli::{files, plan};
use crate::environment::Given;
use crate::report::{EventKind, RunOutcome};
use crate::run::{self, Job, KeptError, Manner, Stage, State};
use crate::scenario::Plan;
use crate::shard::ShardFacts;
use crate::topology::{Topology, support};

/// Brings up, runs, reports, tears down; once for each topology that the scenarios name.
pub(super) async fn run(args: &E2eArgs) -> RunOutcome {
    let selection = if args.last_failed { args.selection.clone() } else { or_smoke(&args.selection) };
    let (mut plans, shard) = match part_of_selected(&selection, args.last_failed, &args.shard) {
        Ok(part) => part,
        Err(outcome) => return outcome,
    };
    if let Some(provider) = args.provider {
        plans.iter_mut().for_each(|plan| plan.topology.let_all_come_from(provider));
    }
    for plan in &mut plans {
        if let Err(lack) = support::settle_management(&mut plan.topology, args.existing.management) {
            return complain_lack(&lack);
        }
    }
    let topologies = plans.iter_mut().map(|plan| &mut plan.topology);
    let fallback = match machines::settle(topologies, args.machines.vm_runtime).await {
        Ok(fallback) => fallback,
        Err(outcome) => return outcome,
    };
    let (out, manner, given) = (args.out.as_deref(), args.manner.manner(), args.existing.given());
    let task = Task { command: "e2e", out, manner, given, fallback, shard };
    in_own_environments(&task, plans, args.keep).await.outcome
}

/// How scenarios are run, wherever that is.
pub(super) struct Task<'args> {
    /// The command, for reports.
    pub(super) command: &'static str,
    /// Folder of the reports; `None` is one of its own for each run.
    pub(super) out: Option<&'args Utf8Path>,
    /// How many at once, and how often.
    pub(super) manner: Manner,
    /// What was said of clusters that are there.
    pub(super) given: Given,
    /// Why virtual machines that could be containers are not.
    pub(super) fallback: Option<String>,
    /// Which shard the scenarios are.
    pub(super) shard: Option<ShardFacts>,
}

/// What came of a task.
pub(super) struct Ran {
    /// The worst of all runs.
    pub(super) outcome: RunOutcome,
    /// Folders of the runs that could begin.
    pub(super) folders: Vec<Utf8PathBuf>,
}

impl Ran {
    fn refused(outcome: RunOutcome) -> Self {
        Self { outcome, folders: Vec::new() }
    }
}

/// One environment after the other, each for the scenarios of its topology.
pub(super) async fn in_own_environments(task: &Task<'_>, plans: Vec<Plan>, keep: bool) -> Ran {
    let groups = by_topology(plans);
    let several = groups.len() > 1;
    let mut ran = Ran::refused(RunOutcome::Passed);
    for (topology, plans) in groups {
        let out = task.out.map(|out| if several { out.join(&topology.name) } else { out.to_owned() });
        let one = one(
            &Task {
                out: out.as_deref(),
                given: task.given.clone(),
                fallback: task.fallback.clone(),
                shard: task.shard.clone(),
                ..*task
            },
            &topology,
            plans,
            keep,
        )
        .await;
        ran.outcome = ran.outcome.worse(one.outcome);
        ran.folders.extend(one.folders);
        let failed = task.manner.rounds.until_fail && one.outcome != RunOutcome::Passed;
        if failed || matches!(one.outcome, RunOutcome::Interrupted | RunOutcome::Terminated) {
            break;
        }
    }
    ran
}

async fn one(task: &Task<'_>, topology: &Topology, plans: Vec<Plan>, keep_it: bool) -> Ran {
    if let Err(outcome) = supported(topology) {
        return Ran::refused(outcome);
    }
    let run_id = new_run_id();
    let environment = format!("{}{run_id}", run::OWN_PREFIX);
    let session = match Session::start(task.command, run_id, &environment, task.out, Reports::Files) {
        Ok(session) => session,
        Err(outcome) => return Ran::refused(outcome),
    };
    let versions = versions(topology, &task.given);
    if !versions.is_empty() {
        session.events.send(EventKind::VersionsKnown { versions });
    }
    tell_plan(&session, &plans, task.shard.as_ref());
    let job = Job {
        environment,
        run_id: session.run_id.clone(),
        topology: topology.clone(),
        topology_text: String::new(),
        plans,
        manner: task.manner,
        out: session.out.clone(),
        state_root: session.state_root.clone(),
        given: task.given.clone(),
        fallback: task.fallback.clone(),
    };
    let outcome =
        if keep_it { keep(&job, &session).await } else { run::e2e(&job, &session.events, &session.interruption).await };
    Ran { outcome: session.finish(outcome).await, folders: vec![job.out] }
}

/// As `up` followed by `run`, under one report.
async fn keep(job: &Job, session: &Session) -> RunOutcome {
    let up = run::up(job, &session.events, &session.interruption).await;
    if up != RunOutcome::Passed {
        return up;
    }
    let help = format!("it stays up; `meshproof down --name {}` takes it down", job.environment);
    session.events.warn(format!("environment {} was asked to be kept", job.environment), Some(help));
    match run::find(&job.state_root, Some(&job.environment)).and_then(run::Kept::into_fleet) {
        Ok(fleet) => {
            let name = job.environment.clone();
            let stages = [Stage { name, fleet, topology: Some(job.topology.name.clone()) }];
            run::run_on_kept(&stages, &job.plans, job.manner, &job.out, &session.events, &session.interruption).await
        }
        Err(error) => {
            let message = crate::cluster::chain(&error);
            session.events.send(EventKind::Failure { message, cure: None, evidence: Vec::new() });
            RunOutcome::EnvironmentFailed
        }
    }
}

/// Runs scenarios on an environment that stays.
pub(super) async fn run_on_kept(args: &RunArgs) -> RunOutcome {
    let (plans, shard) = match part_of_selected(&args.selection, args.last_failed, &args.shard) {
        Ok(part) => part,
        Err(outcome) => return outcome,
    };
    let (out, manner) = (args.out.as_deref(), args.manner.manner());
    let task = Task { command: "run", out, manner, given: Given::default(), fallback: None, shard };
    on_kept(&task, &plans, &args.name).await.outcome
}

/// On the environments of these names, or the only one there is.
pub(super) async fn on_kept(task: &Task<'_>, plans: &[Plan], names: &[String]) -> Ran {
    let (stages, name) = match stages(names) {
        Ok(found) => found,
        Err(outcome) => return Ran::refused(outcome),
    };
    let session = match Session::start(task.command, new_run_id(), &name, task.out, Reports::Files) {
        Ok(session) => session,
        Err(outcome) => return Ran::refused(outcome),
    };
    let plans: Vec<Plan> = plans.iter().map(|plan| as_played(plan, &stages)).collect();
    let plans = plans.as_slice();
    tell_plan(&session, plans, task.shard.as_ref());
    let out = session.out.clone();
    let outcome = run::run_on_kept(&stages, plans, task.manner, &out, &session.events, &session.interruption).await;
    Ran { outcome: session.finish(outcome).await, folders: vec![out] }
}

/// The plan with what plays the machines of the environments, which was settled when they were brought up.
fn as_played(plan: &Plan, stages: &[Stage]) -> Plan {
    let mut plan = plan.clone();
    let played = |vm: &str| stages.iter().find_map(|stage| stage.fleet.vm_runtime(vm));
    for vm in &mut plan.topology.vms {
        vm.runtime = played(&vm.name).unwrap_or(vm.runtime);
    }
    plan
}

/// The kept environments of these names, or the only one there is, and all names in one line.
fn stages(names: &[String]) -> Result<(Vec<Stage>, String), RunOutcome> {
    let root = root()?;
    // One that is named twice is one all the same.
    let distinct: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut wanted: Vec<Option<&str>> = distinct.into_iter().map(Some).collect();
    if wanted.is_empty() {
        wanted.push(None);
    }
    let mut stages = Vec::with_capacity(wanted.len());
    let mut found = Vec::with_capacity(wanted.len());
    for name in wanted {
        let kept = run::find(&root, name).map_err(|error| complain_kept(&error))?;
        match kept.state().map_err(|error| complain_kept(&error))? {
            State::Complete => {}
            State::InUse => return Err(complain_kept(&KeptError::InUse(kept.name))),
            State::HalfMade => return Err(complain_kept(&KeptError::HalfMade(kept.name))),
        }
        found.push(kept.name.clone());
        // What an older version kept may not say; then every scenario is tried.
        let topology = files::topology(&kept.directory.topology()).ok().map(|topology| topology.name);
        let name = kept.name.clone();
        stages.push(Stage { name, fleet: kept.into_fleet().map_err(|error| complain_kept(&error))?, topology });
    }
    Ok((stages, found.join(", ")))
}

/// The main job is the smoke scenarios; who wants others says which.
fn or_smoke(selection: &Selection) -> Selection {
    let mut selection = selection.clone();
    if selection.files.is_empty() && selection.filter.is_none() {
        selection.filter = Some(Filter::Tag("smoke".to_owned()));
    }
    selection
}

pub(super) fn selected(selection: &Selection, last_failed: bool) -> Result<Vec<Plan>, RunOutcome> {
    match files::select(selection) {
        Ok(selected) if selected.plans.is_empty() => Err(plan::nothing_selected(&selected)),
        Ok(selected) => {
            eprint!("{}", selected.warnings.render(crate::cli::pretty()));
            if last_failed { last_failed::only_last_failed(selected.plans) } else { Ok(selected.plans) }
        }
        Err(error) => Err(plan::refuse(&error)),
    }
}

/// What is selected, or the shard of it that was asked for.
fn part_of_selected(
    selection: &Selection,
    last_failed: bool,
    shard: &ShardArgs,
) -> Result<(Vec<Plan>, Option<ShardFacts>), RunOutcome> {
    let plans = selected(selection, last_failed)?;
    match shards::choose(&plans, shard, selection.root.as_deref()) {
        Ok(Some(chosen)) => Ok((chosen.plans, Some(chosen.facts))),
        Ok(None) => Ok((plans, None)),
        Err(error) => Err(plan::refuse_shard(&error)),
    }
}

fn tell_plan(session: &Session, plans: &[Plan], shard: Option<&ShardFacts>) {
    if let Some(facts) = shard {
        session.events.send(EventKind::ShardKnown { facts: facts.clone() });
    }
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
