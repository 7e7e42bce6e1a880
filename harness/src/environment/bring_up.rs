//! Brings an environment up: clusters, then on each of them, side by side, trust, mesh, gateways and applications.

use substrate_config::{WorldConfig, WorldEvent};
use tokio_util::sync::CancellationToken;

use super::authorities::Authorities;
use super::existing::{MeshSource, Refused};
use super::first_request::{self, first_request};
use super::kind;
use super::layers::Layer;
use super::layers::content::parts;
use super::layers::progress::Progress;
use super::plane::Plane;
use super::take_down::Left;
use crate::bundle;
use crate::cluster::Cluster;
use crate::install::{apps, hub, mesh, remote, remote_secret};
use crate::links::{self, Links};
use crate::management;
use crate::provider::embedded::World;
use crate::provider::files;
use crate::provider::fleet::{self, Fleet};
use crate::provider::memory;
use crate::provider::programs::Programs;
use crate::report::RunOutcome;
use crate::report::event::{EventKind, PhaseOutcome};
use crate::report::stream::EventSender;
use crate::topology::{Discovery, Topology, Vm};
use crate::vm::{image, join};

/// An environment could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The clusters did not come up, or cannot be used.
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    /// Clusters on Docker could not be made.
    #[error(transparent)]
    Kind(#[from] kind::Error),
    /// Something stands in the way of using clusters that are there.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Something that was made on clusters of somebody else could not be removed.
    #[error(transparent)]
    Left(#[from] Left),
    /// The user ended the bring-up.
    #[error("interrupted")]
    Interrupted,
    /// What is done could not be remembered.
    #[error(transparent)]
    Record(#[from] files::Error),
    /// Something could not be installed on them.
    #[error(transparent)]
    Install(#[from] mesh::Error),
    /// Everything is ready and no request gets across.
    #[error(transparent)]
    Crossing(#[from] first_request::Error),
    /// The management plane did not take the clusters in.
    #[error(transparent)]
    Management(#[from] management::Error),
    /// A virtual machine did not join.
    #[error(transparent)]
    Machine(#[from] join::Error),
    /// The containers that virtual machines are cannot be made.
    #[error(transparent)]
    Image(#[from] image::Error),
}

impl Error {
    /// How a run ends that meets it: a mesh that carries nothing, or not as it should, has failed; anything else says
    /// nothing about the mesh.
    #[must_use]
    pub fn outcome(&self) -> RunOutcome {
        match self {
            Self::Crossing(first_request::Error::NotCarried(_) | first_request::Error::Identity(_)) => {
                RunOutcome::MeshFailed
            }
            Self::Refused(_) => RunOutcome::WrongUsage,
            Self::Kind(kind::Error::Lacking(_)) => RunOutcome::MachineCannot,
            Self::Kind(
                kind::Error::Taken { .. }
                | kind::Error::Release(_)
                | kind::Error::Bundle(_)
                | kind::Error::OfBundle(bundle::load::Error::Bundle(_)),
            ) => RunOutcome::WrongUsage,
            Self::Kind(_)
            | Self::Fleet(_)
            | Self::Left(_)
            | Self::Record(_)
            | Self::Interrupted
            | Self::Install(_)
            | Self::Management(_)
            | Self::Machine(_)
            | Self::Image(_)
            | Self::Crossing(first_request::Error::NotSent(_)) => RunOutcome::EnvironmentFailed,
        }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Fleet(error) => error.cure(),
            Self::Refused(refused) => Some(refused.cure()),
            Self::Kind(error) => error.cure(),
            Self::Left(_) => Some("delete by hand what is named, or try `meshproof down` again".to_owned()),
            Self::Install(error) => error.cure(),
            Self::Image(error) => error.cure(),
            Self::Management(error) => error.cure(),
            _ => None,
        }
    }
}

/// What becomes of clusters of somebody else, or on Docker, when the bring-up of an environment does not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenInterrupted {
    /// What is done stays, and one more `up` goes on from there. What failed where nothing was before goes all the same.
    Keep,
    /// Everything goes.
    Remove,
}

impl WhenInterrupted {
    /// What to do about what stays.
    pub(super) const CURE: &str = "the same command goes on from here; `meshproof down` removes what was made";

    /// Whether what is done stays.
    pub(super) fn leaves(self, failure: &Error, layers: &Progress) -> bool {
        self == Self::Keep && (matches!(failure, Error::Interrupted) || layers.goes_on())
    }
}

/// Brings up everything that a topology names, up to applications that are ready. After an error, an interruption by
/// `cancel` included, nothing is left running.
///
/// # Errors
/// [`Error`].
pub async fn bring_up(
    topology: &Topology,
    config: &WorldConfig,
    programs: &Programs,
    events: &EventSender,
    cancel: &CancellationToken,
) -> Result<(Fleet, Vec<Cluster>), Error> {
    let world = start_clusters(config, programs, events, cancel).await?;
    let installed = world.while_alive(async {
        let clusters = world.clusters().await.map_err(fleet::Error::from)?;
        let parts = parts(topology, MeshSource::Embedded, &Authorities::generate(topology)?)?;
        let layers = Progress::unrecorded(parts);
        Box::pin(install(topology, &clusters, world.links().as_ref(), &layers, events)).await?;
        Ok::<_, Error>(clusters)
    });
    let failure = match cancel.run_until_cancelled(installed).await {
        Some(Ok(Ok(clusters))) => {
            match memory::measure(world.state().process_id) {
                Ok(memory) => events.send(EventKind::MemoryMeasured { memory }),
                Err(error) => events.warn(format!("memory was not measured: {error}"), None),
            }
            return Ok((Fleet::Embedded(Box::new(world)), clusters));
        }
        // Nothing can be installed on a world that died.
        Some(Ok(Err(error))) => world.died().await.map_or(error, |died| fleet::Error::from(died).into()),
        Some(Err(died)) => fleet::Error::from(died).into(),
        None => Error::Interrupted,
    };
    world.stop().await.map_err(fleet::Error::from)?;
    Err(failure)
}

async fn start_clusters(
    config: &WorldConfig,
    programs: &Programs,
    events: &EventSender,
    cancel: &CancellationToken,
) -> Result<World, Error> {
    let title = format!("start {} clusters", config.clusters.len());
    phase(events, "clusters", title, async {
        let progress = |event: &WorldEvent| {
            if let WorldEvent::ClusterReady { cluster, milliseconds } = event {
                let message = format!(
                    "{cluster} ready after {:.1} s",
                    f64::from(u32::try_from(*milliseconds).unwrap_or(u32::MAX)) / 1000.0
                );
                events.send(EventKind::PhaseProgress { phase: "clusters".to_owned(), message });
            }
        };
        let world = World::start(&programs.substrate, config, progress, cancel).await.map_err(fleet::Error::from)?;
        let names: Vec<&str> = config.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        Ok((world, names.join(", ")))
    })
    .await
}

/// Everything that a topology puts onto its clusters, but for the layers that are kept, up to a first request across them.
pub(super) async fn install(
    topology: &Topology,
    clusters: &[Cluster],
    links: Option<&Links>,
    layers: &Progress,
    events: &EventSender,
) -> Result<(), Error> {
    let plane = Plane::of(topology, clusters);
    if let Some(plane) = plane.as_ref().filter(|plane| !layers.keeps(Layer::Management, plane.management.name())) {
        hub::prepare(plane.management).await?;
    }
    let meshed: Vec<&Cluster> =
        clusters.iter().filter(|cluster| topology.meshed().any(|meshed| meshed.name == cluster.name())).collect();
    let (primaries, remotes): (Vec<&Cluster>, Vec<&Cluster>) =
        meshed.iter().partition(|cluster| topology.primaries().any(|primary| primary.name == cluster.name()));
    let installation = Installation { topology, layers, events };
    // Where no object of it is known, it is there, or somebody else's program has brought it.
    let brings_mesh = |cluster: &Cluster| !layers.objects(Layer::Mesh, cluster.name()).is_empty();
    let installs = primaries.iter().map(|cluster| {
        let control_plane = if brings_mesh(cluster) { ControlPlane::Own } else { ControlPlane::Present };
        // On the heap, as everything that is done to a cluster: it is large, and there are many.
        Box::pin(installation.cluster(cluster, control_plane, plane.as_ref()))
    });
    let manager = async {
        match &plane {
            Some(plane) => plane.start(layers, events).await,
            None => Ok(()),
        }
    };
    futures::future::try_join(futures::future::try_join_all(installs), Box::pin(manager)).await?;
    let installs = remotes.iter().filter_map(|cluster| {
        let primary = topology.cluster(cluster.name())?.control_plane.as_deref()?;
        let primary = primaries.iter().find(|one| one.name() == primary)?;
        let control_plane = if brings_mesh(cluster) { ControlPlane::Of(primary) } else { ControlPlane::Present };
        Some(Box::pin(installation.cluster(cluster, control_plane, None)))
    });
    // The control plane has to run, and its gateway, before anybody else can use it.
    futures::future::try_join_all(installs).await?;
    if let Some(plane) = &plane {
        Box::pin(plane.join(topology, events)).await?;
    }
    for cluster in &meshed {
        join::prepare(topology, cluster).await?;
    }
    let machines = topology.vms.iter().map(|vm| join_machine(vm, clusters, links, events));
    let machines = futures::future::try_join_all(machines);
    futures::future::try_join(machines, connect(topology, clusters, &meshed, events)).await?;
    Ok(())
}

/// Lets the clusters know of each other, and proves that they do.
async fn connect(
    topology: &Topology,
    clusters: &[Cluster],
    meshed: &[&Cluster],
    events: &EventSender,
) -> Result<(), Error> {
    if topology.discovery == Discovery::RemoteSecrets {
        let is_primary = |cluster: &&&Cluster| topology.primaries().any(|primary| primary.name == cluster.name());
        let readers: Vec<&Cluster> = meshed.iter().filter(is_primary).copied().collect();
        link_all(&readers, meshed, events).await?;
    }
    if topology.discovery == Discovery::RemoteSecrets || topology.is_federated() {
        phase(events, "crossing", "send the first request across clusters", async {
            let evidence = first_request(topology, clusters).await?;
            Ok(((), evidence.unwrap_or_else(|| "the topology has no pair of workloads to try".to_owned())))
        })
        .await?;
    }
    Ok(())
}

/// Who serves a cluster.
#[derive(Clone, Copy)]
enum ControlPlane<'clusters> {
    /// One of its own.
    Own,
    /// One that is there already.
    Present,
    /// That of another cluster.
    Of(&'clusters Cluster),
}

/// What is installed, cluster by cluster.
struct Installation<'all> {
    topology: &'all Topology,
    layers: &'all Progress,
    events: &'all EventSender,
}

impl Installation<'_> {
    async fn cluster(
        &self,
        cluster: &Cluster,
        control_plane: ControlPlane<'_>,
        plane: Option<&Plane<'_>>,
    ) -> Result<(), Error> {
        Box::pin(self.mesh(cluster, control_plane)).await?;
        let gateways = async {
            match control_plane {
                ControlPlane::Present => Ok(()),
                ControlPlane::Own | ControlPlane::Of(_) => self.gateways(cluster).await,
            }
        };
        let registration = async {
            match plane {
                Some(plane) => plane.register(cluster, self.layers, self.events).await,
                None => Ok(()),
            }
        };
        let applications = Box::pin(self.applications(cluster));
        futures::future::try_join3(Box::pin(gateways), applications, Box::pin(registration)).await?;
        Ok(())
    }

    async fn mesh(&self, cluster: &Cluster, control_plane: ControlPlane<'_>) -> Result<(), Error> {
        let (name, layers) = (cluster.name(), self.layers);
        let title = match control_plane {
            ControlPlane::Present => format!("look at the mesh of {name}"),
            ControlPlane::Own | ControlPlane::Of(_) => format!("install the mesh on {name}"),
        };
        if matches!(control_plane, ControlPlane::Own) {
            hand_out_authority(cluster, layers, self.events).await?;
        }
        phase(self.events, format!("mesh/{name}"), title, async {
            let evidence = match control_plane {
                ControlPlane::Own => {
                    let work = async {
                        mesh::install_control_plane(cluster, layers.objects(Layer::Mesh, name)).await?;
                        Ok("control plane ready".to_owned())
                    };
                    layers.perform(Layer::Mesh, name, work).await?
                }
                ControlPlane::Present => {
                    mesh::present(cluster, self.topology).await?;
                    "control plane ready".to_owned()
                }
                ControlPlane::Of(primary) => {
                    let work = async {
                        remote::install(cluster, primary, &mesh::placeholders(cluster, self.topology)).await?;
                        Ok(format!("served by the control plane of {}", primary.name()))
                    };
                    layers.perform(Layer::Mesh, name, work).await?
                }
            };
            Ok(((), evidence))
        })
        .await
    }

    async fn gateways(&self, cluster: &Cluster) -> Result<(), Error> {
        let name = cluster.name();
        phase(self.events, format!("gateways/{name}"), format!("start the gateways of {name}"), async {
            let work = async {
                let objects = self.layers.objects(Layer::Gateways, name);
                let count = mesh::install_gateways(cluster, self.topology, objects).await?;
                Ok(format!("{count} gateways ready"))
            };
            Ok(((), self.layers.perform(Layer::Gateways, name, work).await?))
        })
        .await
    }

    async fn applications(&self, cluster: &Cluster) -> Result<(), Error> {
        let name = cluster.name();
        phase(self.events, format!("apps/{name}"), format!("start the applications of {name}"), async {
            let work = async {
                let objects = self.layers.objects(Layer::Applications, name);
                cluster.apply_all(objects).await.map_err(mesh::Error::from)?;
                let count = apps::ready(self.topology, cluster).await?;
                Ok(format!("{count} workloads ready"))
            };
            Ok(((), self.layers.perform(Layer::Applications, name, work).await?))
        })
        .await
    }
}

/// Gives a cluster what has to be there before its control plane: its namespace, and the authority that it is given, if it is.
pub(super) async fn hand_out_authority(
    cluster: &Cluster,
    layers: &Progress,
    events: &EventSender,
) -> Result<(), Error> {
    let name = cluster.name();
    phase(events, format!("authority/{name}"), format!("prepare the trust of {name}"), async {
        let work = async {
            let objects = layers.objects(Layer::Authority, name);
            cluster.apply_all(objects).await.map_err(mesh::Error::from)?;
            let given = objects.iter().any(|object| object["kind"] == "Secret");
            let evidence = if given { "it has its certificate authority" } else { "the management plane brings it" };
            Ok(evidence.to_owned())
        };
        Ok(((), layers.perform(Layer::Authority, name, work).await?))
    })
    .await
}

async fn join_machine(vm: &Vm, clusters: &[Cluster], links: Option<&Links>, events: &EventSender) -> Result<(), Error> {
    let title = format!("let the virtual machine {} ({}) join {}", vm.name, vm.runtime.word(), vm.cluster);
    phase(events, format!("vm/{}", vm.name), title, async {
        let lacking = || links::Error::Refused("the embedded world has no control socket".to_owned());
        let links = links.ok_or_else(lacking).map_err(join::Error::from)?;
        let cluster = clusters.iter().find(|cluster| cluster.name() == vm.cluster);
        let cluster = cluster.expect("invariant: a checked topology has the cluster of each machine");
        join::join(vm, cluster, &links.machine(&vm.name)).await?;
        let evidence = if vm.health.is_some() { "registered and healthy" } else { "registered" };
        Ok(((), format!("{evidence} as {}", vm.entry())))
    })
    .await
}

/// Lets every control plane read every other cluster.
async fn link_all(readers: &[&Cluster], clusters: &[&Cluster], events: &EventSender) -> Result<(), Error> {
    phase(events, "discovery", "exchange remote secrets", async {
        let mut pairs = 0;
        for target in clusters {
            let secret = remote_secret::create(target).await.map_err(mesh::Error::from)?;
            for reader in readers.iter().filter(|reader| reader.name() != target.name()) {
                reader.apply(&secret).await.map_err(mesh::Error::from)?;
                pairs += 1;
            }
        }
        Ok(((), format!("{pairs} remote secrets")))
    })
    .await
}

/// Runs a part and tells its beginning and its end.
pub(super) async fn phase<T>(
    events: &EventSender,
    phase: impl Into<String>,
    title: impl Into<String>,
    work: impl Future<Output = Result<(T, String), Error>>,
) -> Result<T, Error> {
    let phase = phase.into();
    events.send(EventKind::PhaseStarted { phase: phase.clone(), title: title.into() });
    let result = work.await;
    let (outcome, detail) = match &result {
        Ok((_, detail)) => (PhaseOutcome::Done, detail.clone()),
        Err(error) => (PhaseOutcome::Failed, crate::cluster::chain(error)),
    };
    events.send(EventKind::PhaseFinished { phase, outcome, detail });
    result.map(|(value, _)| value)
}
