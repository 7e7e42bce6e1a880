//! Brings an environment up on Docker, with clusters beside it that are there: looks at the machine, makes networks and clusters,
//! installs the mesh on them, and goes on as on any other clusters.

mod beside;
mod error;
mod failed;
mod istio;
mod load_balancers;
mod releases;
mod repair;
mod resume;
pub(super) mod run;
mod supply;

use camino::{Utf8Path, Utf8PathBuf};
use tokio_util::sync::CancellationToken;

use super::bring_up::{Error as BringUpError, WhenInterrupted, install, phase};
use super::existing::{Given, MeshSource, are_there, confirm, remove_obsolete};
use super::layers::content::parts;
use super::layers::progress::Progress;
use super::layers::{Layer, arrangement, arrangement::Arrangement, record};
use super::take_down::{undo, wait_for_the_end};
use super::{authorities, authorities::Authorities, directory};
use crate::cluster::Cluster;
use crate::provider::existing::Existing;
use crate::provider::fleet::{self, Fleet};
use crate::provider::kind::Kind;
use crate::provider::kind::doctor::{self, State};
use crate::provider::kind::engine::{self, Engine};
use crate::provider::kind::lock::Lock;
use crate::provider::kind::plan::{self, ClusterPlan, Plan, Wanted};
use crate::provider::kind::router::{self, Router};
use crate::report::event::EventKind;
use crate::report::stream::EventSender;
use crate::topology::Topology;
use beside::Beside;
pub(super) use error::Error;
use run::{run, write};
use supply::{Stock, Supply};

/// Which environment is brought up.
pub struct OnDocker<'job> {
    /// Its name.
    pub environment: &'job str,
    /// Its folder.
    pub directory: &'job Utf8Path,
    /// Id of the run.
    pub run_id: &'job str,
    /// Whether a cluster of somebody else's that has the name of one of ours is replaced.
    pub recreate: bool,
    /// Where its reports go, and the state of what did not come up.
    pub out: &'job Utf8Path,
}

/// What was begun.
pub struct Begun {
    kind: Kind,
    beside: Option<Beside>,
    out: Utf8PathBuf,
    plan: Plan,
    supply: Supply,
    stock: Stock,
    layers: Progress,
    authorities: authorities::Unwritten,
    arrangement: Arrangement,
}

/// Looks at the machine and at what an earlier run made, and writes down what is about to be made. What is refused is refused before
/// anything is touched. Networks are made already, where those of an earlier run are not those that are wanted; clusters on such go first.
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
    let mesh = beside::mesh_source(topology, given)?;
    load_balancers::check(given)?;
    let (supply, node_image, release) = phase(events, "supply", "see what it is made of", async {
        let supply = Supply::open(given).await?;
        let release = (mesh == MeshSource::Istio).then(|| supply.release(given, &lock)).transpose()?;
        let node_image = supply.node_image(given, &lock).await?;
        let detail = supply.to_string();
        Ok(((supply, node_image, release), detail))
    })
    .await?;
    let installer = phase(events, "preflight", "look at the machine", async {
        let needs = doctor::Needs::of(topology, &node_image, release.clone());
        let needs = doctor::Needs { installer: given.istio_installer, load_balancers: given.load_balancers, ..needs };
        let machine = doctor::observe::observe(&node_image).await;
        supply.check(&machine, given, &node_image)?;
        let mut checks = doctor::check(&machine, &needs, &lock);
        checks.retain(|check| check.state == State::Lacking);
        if !checks.is_empty() && !given.anyway {
            return Err(Error::Lacking(checks).into());
        }
        for check in &checks {
            events.warn(format!("{}: {}", check.name, check.found), check.cure.clone());
        }
        let installer = given.istio_installer.unwrap_or_else(|| machine.installer(release.as_ref()));
        Ok((installer, format!("{} checks fail", checks.len())))
    })
    .await?;
    let way = release.map(|release| supply.way(docker.directory, &release, installer, &lock));
    let archives = supply.archives(docker.directory, way.is_some());
    let wanted = Wanted {
        environment: docker.environment,
        directory: docker.directory,
        node_image: &node_image,
        istio: way.as_ref(),
        archives: &archives,
        networks: &[],
        load_balancers: given.load_balancers,
    };
    let earlier = Kind::attach(docker.directory).map_err(fleet::Error::from)?;
    let goes_on = earlier.is_some();
    let mut kind = match earlier {
        Some(begun) => begun,
        None => Kind::begin(docker.directory, docker.run_id, docker.environment).map_err(fleet::Error::from)?,
    };
    let decided = async {
        let arrangement = Arrangement::of(topology, mesh);
        let (authorities, unwritten) = Authorities::of_environment(kind.directory(), topology, jiff::Timestamp::now())?;
        let mut parts = parts(topology, mesh, &authorities)?;
        resume::refuse(&kind, topology, (mesh, given.load_balancers), &parts)?;
        let stock = supply.stock(topology, mesh)?;
        let beside = beside::look(&kind, topology, given, mesh, &mut parts).await?;
        // Where somebody is asked at all, it is before anything that runs is removed.
        let mut agreed = beside.is_none();
        if !agreed && goes_on && resume::kept_networks(&kind, topology).await.map_err(BringUpError::from)?.is_none() {
            events.warn("the networks are others now, so the kind clusters of this environment are made anew", None);
            confirm(given.yes).await?;
            agreed = true;
        }
        let networks = resume::networks(&mut kind, docker, topology).await?;
        let plan = plan::plan(topology, &Wanted { networks: &networks, ..wanted }).map_err(Error::from)?;
        repair::mend(&mut kind, &plan, docker.out, events).await?;
        let layers = resume::decided(&kind, &plan, &stock, parts, beside.as_ref().map(|beside| &beside.found)).await?;
        let elsewhere = beside.as_ref().map(|beside| beside.text(&layers)).unwrap_or_default();
        let text = format!("{}{}{elsewhere}", plan.text(), resume::decisions(&plan, &layers));
        events.send(EventKind::PlanReady { text, scenarios: Vec::new(), requests: 0 });
        if !agreed && !layers.is_done() {
            confirm(given.yes).await?;
        }
        Ok((plan, stock, layers, unwritten, arrangement, beside))
    };
    match decided.await {
        Ok((plan, stock, layers, authorities, arrangement, beside)) => {
            let out = docker.out.to_owned();
            Ok(Begun { kind, beside, out, plan, supply, stock, layers, authorities, arrangement })
        }
        Err(error) if goes_on => Err(error),
        Err(error) => {
            let existing = Existing::attach(kind.directory()).map_err(fleet::Error::from)?;
            Err(undo(Fleet::on_docker(kind, existing), error, events).await)
        }
    }
}

/// Carries the plan out. After an error or an interruption by `cancel` nothing is left on Docker but images, as far as `interrupted` says
/// so.
///
/// # Errors
/// Whatever goes wrong.
pub async fn bring_up(
    begun: Begun,
    topology: &Topology,
    interrupted: WhenInterrupted,
    events: &EventSender,
    cancel: &CancellationToken,
) -> Result<(Fleet, Vec<Cluster>), BringUpError> {
    let mut begun = begun;
    directory::is_incomplete(begun.kind.directory())?;
    begun.arrangement.keep(begun.kind.directory())?;
    begun.authorities.keep(begun.kind.directory())?;
    begun.kind.has_clusters(&begun.plan).map_err(fleet::Error::from)?;
    let done = cancel.run_until_cancelled(carry_out(&mut begun, topology, events)).await;
    let Begun { kind, beside, out, layers, .. } = begun;
    if let Some(Err(_)) = &done {
        // Why nodes failed is nowhere else once they are removed.
        cancel.run_until_cancelled(failed::save_state(&kind, &out, events)).await;
    }
    let fleet = Fleet::on_docker(kind, beside.map(|beside| beside.existing));
    let failure = match done {
        Some(Ok(clusters)) => return Ok((fleet, clusters)),
        Some(Err(error)) => error,
        None => BringUpError::Interrupted,
    };
    if interrupted.leaves(&failure, &layers) {
        events.warn("what is done stays on Docker", Some(WhenInterrupted::CURE.to_owned()));
        return Err(failure);
    }
    Err(undo(fleet, failure, events).await)
}

async fn carry_out(begun: &mut Begun, topology: &Topology, events: &EventSender) -> Result<Vec<Cluster>, BringUpError> {
    let Begun { kind, beside, plan, supply, stock, layers, .. } = begun;
    let (plan, layers) = (&*plan, &*layers);
    let engine = kind.engine();
    // Layers that are done anew forget what they had, so this is asked first.
    let obsolete = layers.obsolete();
    layers.obsolete_goes()?;
    phase(events, "images", "provide the images", async {
        let kept = plan.clusters.iter().all(|cluster| layers.keeps(Layer::Images, &cluster.name));
        if kept && layers.keeps(Layer::Host, "") {
            return Ok(((), "kept".to_owned()));
        }
        supply.provide(stock, plan, &engine).await?;
        Ok(((), format!("{} images", stock.images.len())))
    })
    .await?;
    phase(events, "router", "join the networks", async {
        let work = async {
            let router = router::container_name(&plan.environment);
            kind.has_no_longer(|container| container == router).map_err(fleet::Error::from)?;
            engine.remove_container(&router).await.map_err(Error::from)?;
            if plan.networks.len() > 1 {
                let router = Router::start(&engine, &plan.environment, &plan.networks).await.map_err(Error::from)?;
                kind.has_router(Some(&router)).map_err(fleet::Error::from)?;
            } else {
                kind.has_router(None).map_err(fleet::Error::from)?;
            }
            Ok(format!("{} bridges", plan.networks.len()))
        };
        Ok(((), layers.perform(Layer::Host, "", work).await?))
    })
    .await?;
    phase(events, "clusters", format!("make {} kind clusters", plan.clusters.len()), async {
        // Nodes that are made anew have addresses of their own; nobody is to give them those of the old ones.
        let anew = plan.clusters.iter().filter(|cluster| !layers.keeps(Layer::Cluster, &cluster.name));
        let nodes: Vec<&String> = anew.flat_map(|cluster| &cluster.nodes).collect();
        kind.has_no_longer(|container| nodes.iter().any(|node| *node == container)).map_err(fleet::Error::from)?;
        let made = plan.clusters.iter().map(|cluster| make(&engine, plan, cluster, layers));
        let told = futures::future::try_join_all(made).await?;
        for (cluster, (server, _)) in plan.clusters.iter().zip(&told) {
            kind.has_server(&cluster.name, server).map_err(fleet::Error::from)?;
        }
        repair::remember(kind, plan).await?;
        let told = told.into_iter().map(|(_, told)| told);
        Ok(((), told.collect::<Vec<_>>().join("; ")))
    })
    .await?;
    let made = kind.clusters().await.map_err(fleet::Error::from)?;
    let there = match beside {
        Some(beside) => beside.clusters_to_install_on().await?,
        None => Vec::new(),
    };
    let clusters: Vec<Cluster> = made.iter().chain(&there).cloned().collect();
    let installed = async {
        resume::remove_obsolete(&made, &obsolete).await?;
        if let Some(beside) = beside.as_ref().filter(|_| !obsolete.is_empty()) {
            remove_obsolete(&beside.existing, &obsolete, events).await?;
        }
        layers.forget_obsolete()?;
        wait_for_the_end(&clusters, layers).await?;
        are_there(&there, layers).await?;
        load_balancers::install(plan, &made, layers, events).await?;
        if let Some(way) = &plan.istio {
            Box::pin(istio::install(plan, way, topology, &made, layers, events)).await?;
        }
        Box::pin(install(topology, &clusters, kind.links().as_ref(), layers, events)).await
    };
    let addresses = load_balancers::serve(&engine, plan, &made);
    tokio::select! {
        installed = installed => installed?,
        Err(failed) = addresses => return Err(failed),
    }
    // From here on scenarios may change what is there.
    let there = match beside {
        Some(beside) => beside.clusters().await?,
        None => Vec::new(),
    };
    Ok(made.into_iter().chain(there).collect())
}

/// Makes a cluster, gives its nodes routes and images, unless that is kept. Tells where others reach its API server, and
/// what was done. Of a cluster that is kept that is asked too: whoever made it may have been ended before that was known.
async fn make(
    engine: &Engine,
    plan: &Plan,
    cluster: &ClusterPlan,
    layers: &Progress,
) -> Result<(String, String), BringUpError> {
    let work = async {
        resume::remove_nodes(engine, &cluster.kind_name).await?;
        create(engine, plan, cluster).await?;
        Ok(format!("the API server of {} answers", cluster.name))
    };
    let told = layers.perform(Layer::Cluster, &cluster.name, work).await?;
    let load = async {
        for load in &cluster.loads {
            run(&cluster.name, load).await?;
        }
        Ok("it has the images".to_owned())
    };
    let loaded = layers.perform(Layer::Images, &cluster.name, load).await?;
    let server = server(engine, plan, cluster).await?;
    Ok((server, format!("{}: {told}, images {loaded}", cluster.name)))
}

async fn create(engine: &Engine, plan: &Plan, cluster: &ClusterPlan) -> Result<(), Error> {
    write(&cluster.config.0, &cluster.config.1)?;
    run(&cluster.name, &cluster.create).await?;
    let own = plan.network(&cluster.network).expect("invariant: a checked topology has the network of each cluster");
    for node in &cluster.nodes {
        Router::join(engine, node, own, &plan.networks).await?;
    }
    Ok(())
}

/// Where the other clusters reach the API server of one.
async fn server(engine: &Engine, plan: &Plan, cluster: &ClusterPlan) -> Result<String, Error> {
    let own = plan.network(&cluster.network).expect("invariant: a checked topology has the network of each cluster");
    let control_plane = &cluster.nodes[0];
    let address = engine.address(control_plane, &own.docker.name).await?;
    let address = address.ok_or_else(|| Error::NoAddress(control_plane.clone()))?;
    Ok(format!("https://{address}:6443"))
}

/// Removes clusters, router and networks of an environment, whatever there is of them.
///
/// # Errors
/// The first that cannot be removed; the rest is still tried.
pub(super) async fn take_down(kind: &Kind) -> Result<(), BringUpError> {
    kind.remove_archives().map_err(fleet::Error::from)?;
    directory::is_incomplete(kind.directory())?;
    record::forget(kind.directory())?;
    authorities::forget(kind.directory())?;
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
    arrangement::forget(kind.directory())?;
    Ok(kind.forget().map_err(fleet::Error::from)?)
}
