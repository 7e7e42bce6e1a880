//! `meshproof mesh` and `meshproof debug`: from arguments to clusters, and from what came of it to words.

use std::time::Duration;

use mesh_types::hub::{KubernetesCluster, Mesh};
use serde_json::{Value, json};

use self::plane::Plane;
use crate::cli::mesh::{
    DebugArgs, DebugWhat, DeregisterArgs, DescribeArgs, InstallArgs, ListArgs, MeshArgs, MeshVerb, RegisterArgs,
    RestartArgs,
};
use crate::install::hub;
use crate::management::health::Grade;
use crate::management::{Error, deregistration, describe, facts, health, registration, resources, restart, snapshot};
use crate::report::RunOutcome;

mod plane;

pub(super) async fn run(args: &MeshArgs) -> RunOutcome {
    let done = match &args.verb {
        MeshVerb::Install(args) => install(args).await,
        MeshVerb::Register(args) => register(args).await,
        MeshVerb::Deregister(args) => deregister(args).await,
        MeshVerb::List(args) => list(args).await,
        MeshVerb::Check(args) => check(args).await,
        MeshVerb::Describe(args) => show(args).await,
        MeshVerb::Restart(args) => again(args).await,
    };
    done.unwrap_or_else(|error| error.tell())
}

pub(super) async fn debug(args: &DebugArgs) -> RunOutcome {
    let DebugWhat::Snapshot(args) = &args.what;
    state(args).await.unwrap_or_else(|error| error.tell())
}

/// Why a command did not do what it was asked for.
enum Failure {
    /// It was told already.
    Told(RunOutcome),
    /// The management plane or a cluster did not do its part.
    Plane(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Plane(error)
    }
}

impl Failure {
    fn tell(self) -> RunOutcome {
        match self {
            Self::Told(outcome) => outcome,
            Self::Plane(error) => {
                eprintln!("error: {}", crate::cluster::chain(&error));
                if let Some(cure) = error.cure() {
                    eprintln!("  help: {cure}");
                }
                if error.is_usage() { RunOutcome::WrongUsage } else { RunOutcome::EnvironmentFailed }
            }
        }
    }
}

async fn install(args: &InstallArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    hub::install_manager(&plane.management).await.map_err(Error::from)?;
    crate::cli::print(&format!("the management plane runs on {}\n", plane.management.name()));
    Ok(RunOutcome::Passed)
}

async fn register(args: &RegisterArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    let name = &args.cluster;
    let target = plane.target(name, &args.target).await?.at(args.api_server_address.as_deref());
    registration::register(&plane.management, &target, name).await?;
    if args.no_wait {
        crate::cli::print(&format!("{name} is registered at {}\n", target.endpoint.server));
        return Ok(RunOutcome::Passed);
    }
    let mesh = registration::reached(&plane.management, name, registration::REACH).await?;
    crate::cli::print(&format!("{name} is registered at {}, with mesh {mesh}\n", target.endpoint.server));
    Ok(RunOutcome::Passed)
}

async fn deregister(args: &DeregisterArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    let name = &args.cluster;
    let target = if args.unreachable { None } else { Some(plane.target(name, &args.target).await?) };
    let deadline = Duration::from_secs(args.timeout);
    let removed = deregistration::deregister(&plane.management, target.as_ref(), name, args.force, deadline).await?;
    for note in &removed.notes {
        eprintln!("note: {note}");
    }
    crate::cli::print(&format!("{name} is no longer registered; {} objects removed\n", removed.objects));
    Ok(RunOutcome::Passed)
}

async fn list(args: &ListArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    if args.json {
        let clusters = resources::list(&plane.management, mesh_types::hub::Kind::KubernetesCluster).await?;
        let meshes = resources::list(&plane.management, mesh_types::hub::Kind::Mesh).await?;
        print_json(&json!({ "clusters": clusters, "meshes": meshes }));
    } else {
        let clusters = resources::typed::<KubernetesCluster>(&plane.management).await?;
        let meshes = resources::typed::<Mesh>(&plane.management).await?;
        crate::cli::print(&describe::clusters(&clusters, &meshes));
    }
    Ok(RunOutcome::Passed)
}

async fn check(args: &ListArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    let targets = plane.targets()?;
    let findings = health::judge(&facts::collect(&plane.management, &targets).await?);
    if args.json {
        let shown = findings.iter().map(|finding| {
            let grade = match finding.grade {
                Grade::Good => "ok",
                Grade::Warning => "warning",
                Grade::NotInForce => "notInForce",
                Grade::Broken => "broken",
            };
            json!({ "grade": grade, "subject": finding.subject, "message": finding.message, "cure": finding.cure })
        });
        print_json(&json!({ "findings": shown.collect::<Vec<_>>() }));
    } else {
        crate::cli::print(&health::text(&findings));
    }
    Ok(health::outcome(&findings))
}

async fn show(args: &DescribeArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    let kind = args.kind.into();
    let value = resources::find(&plane.management, kind, &args.resource).await?;
    if args.json {
        print_json(&value);
    } else {
        crate::cli::print(&describe::resource(kind, value)?);
    }
    Ok(RunOutcome::Passed)
}

async fn again(args: &RestartArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    let mesh = restart::mesh_of(&plane.management, &args.mesh).await?;
    let name = &mesh.spec.istio.installation.cluster;
    let target = plane.target(name, &args.target).await?;
    let deadline = Duration::from_secs(args.timeout);
    let count = restart::restart(&plane.management, &target.cluster, &mesh, deadline).await?;
    crate::cli::print(&format!(
        "control plane, gateways and workloads of {name} were restarted: {count} controllers\n"
    ));
    Ok(RunOutcome::Passed)
}

async fn state(args: &ListArgs) -> Result<RunOutcome, Failure> {
    let plane = Plane::of(&args.plane).await?;
    let value = snapshot::ask(&plane.management, "/v1/snapshot").await?;
    if args.json {
        print_json(&value);
    } else {
        crate::cli::print(&snapshot::summary(&value));
    }
    Ok(RunOutcome::Passed)
}

fn print_json(value: &Value) {
    crate::cli::print(&format!("{value:#}\n"));
}
