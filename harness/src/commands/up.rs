//! `meshproof up` and `meshproof demo`: environments that stay, or stay as long as somebody looks.

use camino::{Utf8Path, Utf8PathBuf};

use super::machines;
use super::session::{Reports, Session, new_run_id};
use crate::cli::args::{DemoArgs, UpArgs};
use crate::cli::{files, plan};
use crate::environment::Given;
use crate::provider::fleet::Fleet;
use crate::report::{EventKind, RunOutcome, runs};
use crate::run::{self, Job};
use crate::topology::support::Lack;
use crate::topology::validate::dns_label;
use crate::topology::{Topology, draw, support};

/// Brings an environment up and leaves it.
pub(super) async fn run(args: &UpArgs) -> RunOutcome {
    let path = match args.topology.clone().map_or_else(|| default_topology(args.root.as_deref()), Ok) {
        Ok(path) => path,
        Err(error) => return plan::refuse(&error),
    };
    let (mut topology, text) = match read(&path) {
        Ok(read) => read,
        Err(outcome) => return outcome,
    };
    if let Some(provider) = args.provider {
        topology.let_all_come_from(provider);
    }
    if let Err(lack) = support::settle_management(&mut topology, args.existing.management) {
        return complain_lack(&lack);
    }
    let fallback = match machines::settle([&mut topology], args.machines.vm_runtime).await {
        Ok(fallback) => fallback,
        Err(outcome) => return outcome,
    };
    let (session, mut job) = match begin("up", topology, text, args.name.as_deref(), args.out.as_deref()) {
        Ok(begun) => begun,
        Err(outcome) => return outcome,
    };
    (job.given, job.fallback) = (args.existing.given(), fallback);
    if let Some(process) = args.while_runs {
        let outcome = run::up_while(process, &job, &session.events, &session.interruption).await;
        return session.finish(outcome).await;
    }
    let outcome = run::up(&job, &session.events, &session.interruption).await;
    if outcome == RunOutcome::Passed {
        tell_kubeconfigs(&session, &job);
    }
    session.finish(outcome).await
}

/// Brings an environment up, shows it, and takes it down when the user has seen enough.
pub(super) async fn demo(args: &DemoArgs) -> RunOutcome {
    let path = match topology_named(&args.topology, args.root.as_deref()) {
        Ok(path) => path,
        Err(error) => return plan::refuse(&error),
    };
    let (mut topology, text) = match read(&path) {
        Ok(read) => read,
        Err(outcome) => return outcome,
    };
    let fallback = match machines::settle([&mut topology], args.machines.vm_runtime).await {
        Ok(fallback) => fallback,
        Err(outcome) => return outcome,
    };
    let (session, mut job) = match begin("demo", topology, text, args.name.as_deref(), None) {
        Ok(begun) => begun,
        Err(outcome) => return outcome,
    };
    job.fallback = fallback;
    let outcome = run::demo(&job, args.rate, &session.events, &session.interruption).await;
    session.finish(outcome).await
}

/// Whether this version can bring the topology up.
///
/// # Errors
/// The exit code, after it was said why not.
pub(super) fn supported(topology: &Topology) -> Result<(), RunOutcome> {
    support::lack(topology).map_or(Ok(()), |lack| Err(complain_lack(&lack)))
}

/// Says what of a topology cannot be had.
pub(super) fn complain_lack(lack: &Lack) -> RunOutcome {
    eprintln!("error: {}", lack.message);
    eprintln!("  help: {}", lack.cure);
    RunOutcome::WrongUsage
}

fn begin(
    command: &str,
    topology: Topology,
    topology_text: String,
    name: Option<&str>,
    out: Option<&Utf8Path>,
) -> Result<(Session, Job), RunOutcome> {
    supported(&topology)?;
    let environment = name.unwrap_or(&topology.name).to_owned();
    if environment == runs::FOLDER {
        eprintln!("error: no environment can have the name `{environment}`: the folder of recorded runs has it");
        eprintln!("  help: choose another name with --name");
        return Err(RunOutcome::WrongUsage);
    }
    if let Err(help) = dns_label(&environment) {
        eprintln!("error: `{environment}` is no valid name of an environment\n  help: {help}");
        return Err(RunOutcome::WrongUsage);
    }
    let reports = if out.is_some() { Reports::Files } else { Reports::None };
    let session = Session::start(command, new_run_id(), &environment, out, reports)?;
    session.events.send(EventKind::TopologyKnown { topology: (&topology).into() });
    session.events.send(EventKind::PlanReady { text: draw::draw(&topology), scenarios: Vec::new(), requests: 0 });
    let job = Job {
        environment,
        run_id: session.run_id.clone(),
        topology,
        topology_text,
        plans: Vec::new(),
        manner: run::Manner::default(),
        out: session.out.clone(),
        state_root: session.state_root.clone(),
        given: Given::default(),
        fallback: None,
    };
    Ok((session, job))
}

fn tell_kubeconfigs(session: &Session, job: &Job) {
    let kept = run::find(&job.state_root, Some(&job.environment)).and_then(run::Kept::into_fleet).ok();
    for (name, path) in kept.iter().flat_map(Fleet::kubeconfigs) {
        let what = format!("kubeconfig of {name}");
        session.events.send(EventKind::FileWritten { what, path: path.to_string() });
    }
}

fn read(path: &Utf8Path) -> Result<(Topology, String), RunOutcome> {
    let topology = files::topology(path).map_err(|error| plan::refuse(&error))?;
    let text = files::text(path).map_err(|error| plan::refuse(&error))?;
    Ok((topology, text))
}

fn default_topology(root: Option<&Utf8Path>) -> Result<Utf8PathBuf, files::Error> {
    Ok(files::root(root)?.join(files::DEFAULT_TOPOLOGY))
}

/// A file, or a name below `scenarios/topologies`.
fn topology_named(name: &str, root: Option<&Utf8Path>) -> Result<Utf8PathBuf, files::Error> {
    if name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml") {
        return Ok(name.into());
    }
    Ok(files::root(root)?.join(files::TOPOLOGIES).join(format!("{name}.yaml")))
}
