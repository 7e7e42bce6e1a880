//! Brings an environment up on Docker: looks at the machine, makes networks and clusters, installs the mesh on them, and goes on as
//! on any other clusters.

mod load_balancers;
mod run;

use camino::Utf8Path;
use tokio_util::sync::CancellationToken;

use super::bring_up::{Error as BringUpError, install, phase};
use super::existing::{Given, MeshSource, Refused};
use crate::cluster::{Cluster, chain};
use crate::image::{self, Image, load, ours};
use crate::install::{manifest, mesh, remote};
use crate::provider::existing::contexts::Refusal;
use crate::provider::fleet::{self, Fleet};
use crate::provider::kind::Kind;
use crate::provider::kind::doctor::{self, Check, State};
use crate::provider::kind::engine::{self, Engine};
use crate::provider::kind::istio::{self, Installation};
use crate::provider::kind::lock::Lock;
use crate::provider::kind::networks;
use crate::provider::kind::plan::{self, ClusterPlan, Mesh, Plan, Wanted};
use crate::provider::kind::router::{self, Router};
use crate::provider::programs::{self, Programs};
use crate::report::event::EventKind;
use crate::report::stream::EventSender;
use crate::topology::Topology;
use run::{run, write};

/// Clusters on Docker could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine cannot.
    #[error("this machine cannot run kind clusters: {}", .0.iter().map(|check| format!("{}: {}", check.name, check.found)).collect::<Vec<_>>().join("; "))]
    Lacking(Vec<Check>),
    /// A cluster of that name is there already, and not ours.
    #[error("there is a kind cluster {name} already")]
    Taken {
        /// Its name.
        name: String,
    },
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// Networks could not be made.
    #[error(transparent)]
    Networks(#[from] networks::Error),
    /// The environment cannot be written down.
    #[error(transparent)]
    State(#[from] crate::provider::kind::Error),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] engine::Error),
    /// The router.
    #[error(transparent)]
    Router(#[from] router::Error),
    /// The images of our programs cannot be made.
    #[error("the images of this project cannot be made")]
    Images(#[from] ours::Error),
    /// Docker does not take them.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// The programs are not there.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// Values of Istio's charts.
    #[error(transparent)]
    Values(#[from] manifest::Error),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: camino::Utf8PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A command failed.
    #[error("{cluster}: `{command}` {ended}: {said}")]
    Command {
        /// The cluster.
        cluster: String,
        /// The command line.
        command: String,
        /// How it ended.
        ended: String,
        /// The end of what it said.
        said: String,
    },
    /// A node has no address on its network.
    #[error("container {0} has no address on its network")]
    NoAddress(String),
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Lacking(checks) => {
                let cures: Vec<&str> = checks.iter().filter_map(|check| check.cure.as_deref()).collect();
                Some(cures.join("; "))
            }
            Self::Taken { name } => Some(format!("`kind delete cluster --name {name}`, or `--name …` for another environment")),
            Self::Command { said, .. } if said.contains("pull image") => Some(
                "where there is a network: `docker pull` that image and `docker save` it; here: `docker load`; or another by --node-image"
                    .to_owned(),
            ),
            Self::Command { command, .. } => Some(format!("`{command}` says more when it is run by hand")),
            _ => None,
        }
    }
}

/// Which environment is brought up.
pub struct OnDocker<'job> {
    /// Its name.
    pub environment: &'job str,
    /// Its folder.
    pub directory: &'job Utf8Path,
    /// Id of the run.
    pub run_id: &'job str,
}

/// What was begun.
pub struct Begun {
    kind: Kind,
    plan: Plan,
    mesh: MeshSource,
}

/// Looks at the machine, and writes down what is about to be made. Nothing is made yet.
///
/// # Errors
/// Where the machine cannot, or something is in the way.
pub async fn begin(
    docker: &OnDocker<'_>,
    topology: &Topology,
    given: &Given,
    events: &EventSender,
) -> Result<Begun, BringUpError> {
    let lock = Lock::read();
    let mesh = given.mesh.unwrap_or(MeshSource::Istio);
    let wanted_mesh = match mesh {
        MeshSource::Istio => Mesh::Istio,
        MeshSource::Embedded => Mesh::Embedded,
        MeshSource::Present => {
            let refusal = Refusal::new("new clusters have no mesh", "say `--mesh istio` or `--mesh embedded`");
            return Err(Refused::from(refusal).into());
        }
    };
    let node_image = given.node_image.as_deref().unwrap_or(lock.node_image());
    phase(events, "preflight", "look at the machine", async {
        let istio = (mesh == MeshSource::Istio).then_some(lock.istio.version.as_str());
        let needs = doctor::Needs::of(topology, node_image, istio);
        let mut checks = doctor::check(&doctor::observe::observe(node_image).await, &needs, &lock);
        checks.retain(|check| check.state == State::Lacking);
        if !checks.is_empty() && !given.anyway {
            return Err(Error::Lacking(checks).into());
        }
        for check in &checks {
            events.warn(format!("{}: {}", check.name, check.found), check.cure.clone());
        }
        Ok(((), format!("{} checks fail", checks.len())))
    })
    .await?;
    let mut kind = Kind::begin(docker.directory, docker.run_id, docker.environment).map_err(fleet::Error::from)?;
    match prepare(&mut kind, docker, topology, node_image, wanted_mesh, &lock).await {
        Ok(plan) => {
            events.send(EventKind::PlanReady { text: plan.text(), scenarios: Vec::new(), requests: 0 });
            Ok(Begun { kind, plan, mesh })
        }
        Err(error) => Err(undo(&kind, error.into(), events).await),
    }
}

/// Makes the networks, whose addresses the plan needs.
async fn prepare(
    kind: &mut Kind,
    docker: &OnDocker<'_>,
    topology: &Topology,
    node_image: &str,
    mesh: Mesh,
    lock: &Lock,
) -> Result<Plan, Error> {
    let engine = kind.engine();
    for cluster in &topology.clusters {
        let name = plan::kind_name(docker.environment, &cluster.name);
        if !engine.nodes(&name).await?.is_empty() {
            return Err(Error::Taken { name });
        }
    }
    let networks = networks::make(&engine, topology, docker.environment).await?;
    let wanted =
        Wanted { environment: docker.environment, directory: docker.directory, node_image, mesh, networks: &networks };
    let plan = plan::plan(topology, &wanted, lock)?;
    kind.has_clusters(&plan)?;
    Ok(plan)
}

/// Carries the plan out. After an error, an interruption by `cancel` included, nothing is left on Docker but images.
///
/// # Errors
/// Whatever goes wrong.
pub async fn bring_up(
    begun: Begun,
    topology: &Topology,
    events: &EventSender,
    cancel: &CancellationToken,
) -> Result<(Fleet, Vec<Cluster>), BringUpError> {
    let Begun { mut kind, plan, mesh } = begun;
    let done = cancel.run_until_cancelled(carry_out(&mut kind, &plan, mesh, topology, events)).await;
    let failure = match done {
        Some(Ok(clusters)) => return Ok((Fleet::Kind(kind), clusters)),
        Some(Err(error)) => error,
        None => BringUpError::Interrupted,
    };
    Err(undo(&kind, failure, events).await)
}

/// Removes what was made. Why it did not come up is what the user wants to know; `down` can be tried again.
async fn undo(kind: &Kind, failure: BringUpError, events: &EventSender) -> BringUpError {
    if let Err(error) = take_down(kind).await {
        events.warn(chain(&error), Some("`meshproof down` tries again".to_owned()));
    }
    failure
}

async fn carry_out(
    kind: &mut Kind,
    plan: &Plan,
    mesh: MeshSource,
    topology: &Topology,
    events: &EventSender,
) -> Result<Vec<Cluster>, BringUpError> {
    let engine = kind.engine();
    phase(events, "images", "make the images", async {
        let images = images(topology, mesh)?;
        let packed = image::archive(&images);
        let written = packed.and_then(|bytes| std::fs::write(&plan.archive, bytes));
        written.map_err(|source| Error::Write { path: plan.archive.clone(), source })?;
        load::load(engine.docker().await.map_err(Error::from)?, &images).await.map_err(Error::from)?;
        Ok(((), format!("{} images", images.len())))
    })
    .await?;
    phase(events, "router", "join the networks", async {
        if plan.networks.len() > 1 {
            let router = Router::start(&engine, &plan.environment, &plan.networks).await.map_err(Error::from)?;
            kind.has_router(&router).map_err(fleet::Error::from)?;
        }
        Ok(((), format!("{} bridges", plan.networks.len())))
    })
    .await?;
    phase(events, "clusters", format!("make {} kind clusters", plan.clusters.len()), async {
        let made = plan.clusters.iter().map(|cluster| make(&engine, plan, cluster));
        for (cluster, server) in plan.clusters.iter().zip(futures::future::try_join_all(made).await?) {
            kind.has_server(&cluster.name, &server).map_err(fleet::Error::from)?;
        }
        Ok(((), "their API servers answer".to_owned()))
    })
    .await?;
    let clusters = kind.clusters().await.map_err(fleet::Error::from)?;
    let installed = async {
        if mesh == MeshSource::Istio {
            install_istio(plan, topology, &clusters, events).await?;
        }
        install(topology, &clusters, kind.links().as_ref(), mesh, events).await
    };
    let addresses = load_balancers::serve(&engine, plan, &clusters);
    tokio::select! {
        installed = installed => installed?,
        Err(failed) = addresses => return Err(failed),
    }
    Ok(clusters)
}

/// What the clusters need of ours: with Istio neither control plane nor proxy, and the management plane where there is one.
fn images(topology: &Topology, mesh: MeshSource) -> Result<Vec<Image>, Error> {
    let wanted = |name: &str| match name {
        "meshproof/pilot:dev" | ours::PROXY => mesh == MeshSource::Embedded,
        "meshproof/hub-manager:dev" | "meshproof/hub-agent:dev" => topology.management.is_some(),
        _ => true,
    };
    // With Istio nothing of ours has an Envoy in it.
    let envoy = if mesh == MeshSource::Embedded { programs::envoy()? } else { ours::ENVOY.into() };
    let programs = Programs::built_in(&programs::folder()?, envoy)?;
    Ok(ours::some(&programs, wanted)?.into_iter().map(|made| made.image).collect())
}

/// Makes a cluster, gives its nodes routes and images, and tells where others reach its API server.
async fn make(engine: &Engine, plan: &Plan, cluster: &ClusterPlan) -> Result<String, Error> {
    write(&cluster.config.0, &cluster.config.1)?;
    run(&cluster.name, &cluster.create).await?;
    let own = plan.network(&cluster.network).expect("invariant: a checked topology has the network of each cluster");
    for node in &cluster.nodes {
        Router::join(engine, node, own, &plan.networks).await?;
    }
    run(&cluster.name, &cluster.load).await?;
    let control_plane = &cluster.nodes[0];
    let address = engine.address(control_plane, &own.docker.name).await?;
    let address = address.ok_or_else(|| Error::NoAddress(control_plane.clone()))?;
    Ok(format!("https://{address}:6443"))
}

/// Installs Istio: first where a control plane is, then where that of another cluster serves.
async fn install_istio(
    plan: &Plan,
    topology: &Topology,
    clusters: &[Cluster],
    events: &EventSender,
) -> Result<(), BringUpError> {
    let authorities = mesh::authorities(topology)?;
    let known = |name: &str| clusters.iter().find(|cluster| cluster.name() == name);
    let primaries = topology.primaries().filter_map(|primary| known(&primary.name));
    let installs = primaries.map(|cluster| {
        phase(events, format!("istio/{}", cluster.name()), format!("install Istio on {}", cluster.name()), async {
            mesh::prepare(cluster, authorities.get(cluster.name())).await?;
            let installation = installation(plan, topology, cluster.name(), None)?;
            helm(cluster.name(), &installation, Part::ControlPlane).await?;
            helm(cluster.name(), &installation, Part::Gateways).await?;
            mesh::expose(cluster, topology).await?;
            Ok(((), "its charts are installed".to_owned()))
        })
    });
    futures::future::try_join_all(installs).await?;
    for remote in topology.meshed().filter(|cluster| cluster.control_plane.is_some()) {
        let primary = remote.control_plane.as_deref().and_then(known);
        let (Some(cluster), Some(primary)) = (known(&remote.name), primary) else { continue };
        phase(events, format!("istio/{}", remote.name), format!("install Istio on {}", remote.name), async {
            let address = remote::gateway_address(primary).await?;
            remote::namespace(cluster, primary).await?;
            let installation = installation(plan, topology, &remote.name, Some(&address))?;
            helm(&remote.name, &installation, Part::ControlPlane).await?;
            // Its gateways get their configuration from the other cluster, which has to know them first.
            remote::admit(cluster, primary).await?;
            helm(&remote.name, &installation, Part::Gateways).await?;
            Ok(((), format!("served by the control plane of {}", primary.name())))
        })
        .await?;
    }
    Ok(())
}

/// What the plan has for a cluster, with the address of the control plane where that is elsewhere.
fn installation(
    plan: &Plan,
    topology: &Topology,
    name: &str,
    control_plane: Option<&str>,
) -> Result<Installation, Error> {
    let planned = plan.clusters.iter().find(|planned| planned.name == name);
    let planned = planned.expect("invariant: the plan has every cluster of its topology");
    let folder = planned.kubeconfig.parent().unwrap_or(&planned.kubeconfig);
    let cluster = topology.cluster(name).expect("invariant: the plan has the clusters of its topology alone");
    Ok(istio::installation(topology, cluster, folder, control_plane.unwrap_or_default(), &Lock::read())?)
}

/// Which of Istio's charts.
#[derive(Clone, Copy)]
enum Part {
    /// Definitions and the control plane, or what a cluster has in place of one.
    ControlPlane,
    /// The gateways.
    Gateways,
}

async fn helm(cluster: &str, installation: &Installation, part: Part) -> Result<(), Error> {
    for (path, text) in &installation.files {
        write(path, text)?;
    }
    let commands = match part {
        Part::ControlPlane => &installation.control_plane,
        Part::Gateways => &installation.gateways,
    };
    for command in commands {
        run(cluster, command).await?;
    }
    Ok(())
}

/// Removes clusters, router and networks of an environment, whatever there is of them.
///
/// # Errors
/// The first that cannot be removed; the rest is still tried.
pub(super) async fn take_down(kind: &Kind) -> Result<(), BringUpError> {
    kind.remove_archive().map_err(fleet::Error::from)?;
    let engine = kind.engine();
    let mut failed: Option<engine::Error> = None;
    for name in kind.kind_names() {
        for node in engine.nodes(name).await.map_err(Error::from)? {
            failed = failed.or(engine.remove_container(&node).await.err());
        }
    }
    let swept = engine.sweep().await;
    if let Some(error) = failed.or(swept.err()) {
        return Err(Error::from(error).into());
    }
    Ok(kind.forget().map_err(fleet::Error::from)?)
}
