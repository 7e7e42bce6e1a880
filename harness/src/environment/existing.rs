//! Brings an environment up on clusters that somebody else runs: looks, says what will be made, asks, makes only what is
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use camino::Utf8PathBuf;
use clap::ValueEnum;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::authorities::{Authorities, Unwritten};
use super::bring_up::{Error, WhenInterrupted, install, phase};
use super::charts;
use super::directory;
use super::layers::arrangement::Arrangement;
use super::layers::content::parts;
use super::layers::progress::Progress;
use super::layers::record::Record;
use super::layers::{Key, Layer, Part, decide, not_taken_away, plan, stuck};
use super::take_down::{Left, forget, remove_from, undo, wait_for_the_end};
use crate::cluster::Cluster;
use crate::cluster::ledger::{Entry, is_of};
use crate::install::mesh;
use crate::provider::existing::contexts::{self, Assigned, Refusal};
use crate::provider::existing::preflight::{self, Findings};
use crate::provider::existing::{self, Existing};
use crate::provider::fleet::Fleet;
use crate::provider::kind::istio::Installer;
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::report::event::EventKind;
use crate::report::stream::EventSender;
use crate::topology::Topology;

/// Where the mesh of an environment comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeshSource {
    /// It is there already, and is used as it is.
    #[default]
    Present,
    /// The embedded mesh, `pilot`, is installed.
    Embedded,
    /// Istio is installed: on kind clusters by helm or istioctl, on others from what helm renders of its charts.
    Istio,
}

/// What a user says of clusters that are there.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Kubeconfig; by default the one that kubectl would take.
    pub kubeconfig: Option<Utf8PathBuf>,
    /// Contexts of clusters, where they are not called like them.
    pub contexts: Vec<Assigned>,
    /// API servers as other clusters reach them, where that is not the address in the kubeconfig.
    pub api_servers: Vec<Assigned>,
    /// Where the mesh comes from; each provider has a default of its own.
    pub mesh: Option<MeshSource>,
    /// Image of the nodes of kind clusters, where it is not the one that is locked.
    pub node_image: Option<String>,
    /// Bundle that kind clusters are made of.
    pub bundle: Option<Utf8PathBuf>,
    /// Release of Istio on kind clusters, where it is not the one that is locked.
    pub istio_version: Option<String>,
    /// What installs it, where it is not to be what this machine has.
    pub istio_installer: Option<Installer>,
    /// Who gives LoadBalancers of kind clusters their addresses.
    pub load_balancers: LoadBalancers,
    /// Whether kind clusters of somebody else's that have the name of one of ours are replaced.
    pub recreate: bool,
    /// Whether to go on although this machine lacks something for kind clusters.
    pub anyway: bool,
    /// Whether nobody is to be asked.
    pub yes: bool,
}

/// What stands in the way of using clusters that are there. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; "))]
pub struct Refused(pub Vec<Refusal>);

impl From<Refusal> for Refused {
    fn from(problem: Refusal) -> Self {
        Self(vec![problem])
    }
}

impl Refused {
    /// What to do.
    #[must_use]
    pub fn cure(&self) -> String {
        let mut cures: Vec<&str> = self.0.iter().map(|problem| problem.cure.as_str()).collect();
        cures.dedup();
        cures.join("; ")
    }
}

/// Chooses contexts, and writes down below `directory` which clusters the environment uses. One that was begun there goes on.
///
/// # Errors
/// [`Error::Refused`], and where the folder cannot be written.
pub fn begin(
    topology: &Topology,
    given: &Given,
    directory: &camino::Utf8Path,
    run_id: &str,
) -> Result<Existing, Error> {
    let read = match &given.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let config = read.map_err(|error| {
        let message = format!("the kubeconfig cannot be used: {}", crate::cluster::chain(&error));
        Refused::from(Refusal::new(message, "name one by --kubeconfig or KUBECONFIG"))
    })?;
    let chosen = contexts::choose(topology, &config, &given.contexts, &given.api_servers).map_err(Refused::from)?;
    let Some(begun) = Existing::attach(directory).map_err(fleet)? else {
        return Ok(Existing::begin(directory, run_id, &chosen).map_err(fleet)?);
    };
    begun.go_on(&chosen).map_err(|error| match error {
        existing::Error::Others(message) => {
            let message = format!("the environment is there already: {message}");
            Refused::from(Refusal::new(message, "take it away by `meshproof down`, or give this one another --name"))
                .into()
        }
        error => fleet(error).into(),
    })
}

fn fleet(error: existing::Error) -> crate::provider::fleet::Error {
    error.into()
}

/// Brings a topology up on clusters that are there. After an error or an interruption by `cancel` what was made is removed again, as
/// far as `interrupted` says so.
///
/// # Errors
/// [`Error`].
pub async fn bring_up_on(
    mut existing: Existing,
    topology: &Topology,
    given: &Given,
    interrupted: WhenInterrupted,
    events: &EventSender,
    cancel: &CancellationToken,
) -> Result<(Fleet, Vec<Cluster>), Error> {
    let looked = cancel.run_until_cancelled(look(&mut existing, topology, given, events)).await;
    let (layers, authorities) = match looked.unwrap_or(Err(Error::Interrupted)) {
        Ok(looked) => looked,
        Err(error) => {
            // What an earlier run made has to be found again; without that there is nothing to remember.
            if existing.made().map_err(fleet)?.is_empty() {
                forget(&existing)?;
            }
            return Err(error);
        }
    };
    let carried_out = async {
        directory::is_incomplete(existing.directory())?;
        Arrangement::of(topology, given.mesh.unwrap_or_default()).keep(existing.directory())?;
        authorities.keep(existing.directory())?;
        install_on(&existing, topology, &layers, events).await
    };
    let failure = match cancel.run_until_cancelled(carried_out).await {
        Some(Ok(clusters)) => return Ok((Fleet::Existing(existing), clusters)),
        Some(Err(error)) => error,
        None => Error::Interrupted,
    };
    if interrupted.leaves(&failure, &layers) {
        events.warn("what is done stays on the clusters", Some(WhenInterrupted::CURE.to_owned()));
        return Err(failure);
    }
    Err(undo(Fleet::Existing(existing), failure, events).await)
}

async fn install_on(
    existing: &Existing,
    topology: &Topology,
    layers: &Progress,
    events: &EventSender,
) -> Result<Vec<Cluster>, Error> {
    let clusters = existing.clusters_to_install_on().await.map_err(fleet)?;
    let obsolete = layers.obsolete();
    if !obsolete.is_empty() {
        layers.obsolete_goes()?;
        remove_obsolete(existing, &obsolete, events).await?;
    }
    layers.forget_obsolete()?;
    wait_for_the_end(&clusters, layers).await?;
    are_there(&clusters, layers).await?;
    Box::pin(install(topology, &clusters, None, layers, events)).await?;
    // From here on scenarios may change what is there.
    Ok(existing.clusters().await.map_err(fleet)?)
}

/// Remembers that clusters are there, which is all that has to be done about them.
pub(super) async fn are_there(clusters: &[Cluster], layers: &Progress) -> Result<(), Error> {
    for cluster in clusters {
        layers.perform(Layer::Cluster, cluster.name(), async { Ok(String::new()) }).await?;
    }
    Ok(())
}

/// Removes what an earlier run made for a topology that was another one.
pub(super) async fn remove_obsolete(
    existing: &Existing,
    obsolete: &BTreeSet<Entry>,
    events: &EventSender,
) -> Result<(), Error> {
    phase(events, "obsolete", "remove what is no longer wanted", async {
        let clusters = existing.bare_clusters().await.map_err(fleet)?;
        let removals = clusters.iter().map(|cluster| {
            let of_cluster = obsolete.iter().filter(|entry| entry.cluster == cluster.name()).collect();
            remove_from(cluster, of_cluster, existing.run_id())
        });
        let left: Vec<String> = futures::future::join_all(removals).await.into_iter().flatten().collect();
        if !left.is_empty() {
            return Err(Left(left).into());
        }
        Ok(((), format!("{} objects", obsolete.len())))
    })
    .await
}

/// Looks at every cluster, decides what is to be done, and asks whether to do it.
async fn look(
    existing: &mut Existing,
    topology: &Topology,
    given: &Given,
    events: &EventSender,
) -> Result<(Progress, Unwritten), Error> {
    let source = given.mesh.unwrap_or_default();
    let begun = Arrangement::read(existing.directory())?;
    let rearranged = begun.map(|begun| begun.refusals(Arrangement::of(topology, source))).unwrap_or_default();
    if !rearranged.is_empty() {
        return Err(Refused(rearranged).into());
    }
    let made_before = !existing.made().map_err(fleet)?.is_empty();
    let (findings, layers, unwritten) = phase(events, "preflight", "look at the clusters", async {
        let (authorities, unwritten) = Authorities::of_environment(existing.directory(), topology, Timestamp::now())?;
        let mut parts = parts(topology, source, &authorities)?;
        let findings = look_at(existing, topology, given, source, &mut parts).await?;
        let record = Record::open(existing.directory())?;
        let planned = plan(parts, true);
        let mut problems = findings.problems();
        problems.extend(stuck(&planned, &record.layers()).map(not_taken_away));
        if !problems.is_empty() {
            return Err(Refused(problems).into());
        }
        let decisions = decide(&planned, &record.layers(), &findings.absent());
        let layers = Progress::recorded(planned, record, decisions, made_before).after(findings.ending());
        let told = format!("{} objects will be made", findings.made());
        Ok(((findings, layers, unwritten), told))
    })
    .await?;
    events.send(EventKind::PlanReady { text: findings.text(&layers), scenarios: Vec::new(), requests: 0 });
    if !layers.is_done() {
        confirm(given.yes).await?;
    }
    Ok((layers, unwritten))
}

/// What was found on all clusters.
pub(super) struct Found(Vec<Findings>);

impl Found {
    /// All that stands in the way.
    pub(super) fn problems(&self) -> Vec<Refusal> {
        let of_each = self.0.iter().flat_map(|one| one.problems.iter().cloned());
        preflight::same(&self.0).into_iter().chain(of_each).collect()
    }

    /// How many objects will be made.
    pub(super) fn made(&self) -> usize {
        self.0.iter().flat_map(|one| one.made.values()).sum()
    }

    /// What is wanted and not there.
    pub(super) fn absent(&self) -> BTreeSet<Entry> {
        self.0.iter().flat_map(|one| one.absent.iter().cloned()).collect()
    }

    /// What of that is still being deleted.
    pub(super) fn ending(&self) -> BTreeSet<Entry> {
        self.0.iter().flat_map(|one| one.ending.iter().cloned()).collect()
    }

    /// What will happen, as lines for people.
    pub(super) fn text(&self, layers: &Progress) -> String {
        self.0.iter().map(|one| format!("{}{}", one.text(), layers.text(&one.cluster))).collect()
    }
}

/// Looks at every cluster that is there. Adds to `parts` what only the look tells.
pub(super) async fn look_at(
    existing: &mut Existing,
    topology: &Topology,
    given: &Given,
    source: MeshSource,
    parts: &mut BTreeMap<Key, Part>,
) -> Result<Found, Error> {
    existing.find_api_servers().await.map_err(fleet)?;
    let clusters = existing.bare_clusters().await.map_err(fleet)?;
    if source == MeshSource::Istio {
        charts::add(parts, topology, existing.directory(), given).await?;
    }
    let looks = clusters.iter().map(async |cluster| {
        let wanted = objects_of(parts, cluster.name());
        let mut findings = preflight::look(cluster, &wanted, existing.run_id()).await.map_err(mesh::Error::from)?;
        findings.problems.extend(mesh_in_the_way(cluster, topology, source, existing.run_id()).await?);
        if source == MeshSource::Present && topology.meshed().any(|meshed| meshed.name == cluster.name()) {
            let looked = findings.look_at_gateways(cluster, &topology.mesh.gateways, topology.is_crossed()).await;
            looked.map_err(mesh::Error::from)?;
        }
        Ok::<_, Error>(findings)
    });
    let findings = futures::future::try_join_all(looks).await?;
    for one in &findings {
        let part = Part { settings: vec![one.identity.clone()], objects: Vec::new() };
        parts.insert((Layer::Cluster, one.cluster.clone()), part);
    }
    Ok(Found(findings))
}

/// Everything that an installation would apply to a cluster.
fn objects_of(parts: &BTreeMap<Key, Part>, cluster: &str) -> Vec<Value> {
    let of_cluster = parts.iter().filter(|((_, place), _)| place == cluster);
    of_cluster.flat_map(|(_, part)| part.objects.iter().cloned()).collect()
}

/// A mesh where ours is to be installed, or none where one was said to be.
async fn mesh_in_the_way(
    cluster: &Cluster,
    topology: &Topology,
    source: MeshSource,
    run_id: &str,
) -> Result<Option<Refusal>, Error> {
    if !topology.meshed().any(|meshed| meshed.name == cluster.name()) {
        return Ok(None);
    }
    let istiod = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "istiod", "namespace": crate::install::remote_secret::ISTIO_SYSTEM },
    });
    let there = cluster.get(&istiod).await.map_err(mesh::Error::from)?;
    let name = cluster.name();
    if there.as_ref().is_some_and(|there| is_of(there, run_id)) {
        return Ok(None);
    }
    Ok(match (source, there.is_some()) {
        (MeshSource::Embedded | MeshSource::Istio, true) => Some(Refusal::new(
            format!("{name} has a control plane already: Deployment istio-system/istiod"),
            "say `--mesh present` to use it",
        )),
        (MeshSource::Present, false) => Some(Refusal::new(
            format!("{name} has no control plane: there is no Deployment istio-system/istiod"),
            "install one, or say `--mesh istio` or `--mesh embedded`",
        )),
        _ => None,
    })
}

/// Asks at the terminal. Without one somebody has to have said yes before.
pub(super) async fn confirm(yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    let refused = |message: &str| Refused::from(Refusal::new(message, "say --yes where that is wanted"));
    if !std::io::stdin().is_terminal() {
        return Err(refused("there is nobody to ask whether to make that").into());
    }
    let answer = tokio::task::spawn_blocking(|| {
        eprint!("Make that? [y/N] ");
        let _unseen = std::io::stderr().flush();
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let agreed = matches!(answer.await, Ok(Ok(line)) if matches!(line.trim(), "y" | "Y" | "yes"));
    if agreed { Ok(()) } else { Err(refused("nothing was made: the answer was no").into()) }
}
