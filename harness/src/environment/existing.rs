//! Brings an environment up on clusters that somebody else runs: looks, says what will be made, asks, makes only what is
//! missing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use camino::Utf8PathBuf;
use clap::ValueEnum;
use kube::config::Kubeconfig;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::bring_up::{Error, install, phase};
use super::take_down::take_down;
use crate::cluster::Cluster;
use crate::install::echo::Certificate;
use crate::install::{apps, hub, mesh};
use crate::provider::existing::contexts::{self, Assigned, Refusal};
use crate::provider::existing::preflight::{self, Findings};
use crate::provider::existing::{self, Existing};
use crate::provider::fleet::Fleet;
use crate::report::event::EventKind;
use crate::report::stream::EventSender;
use crate::topology::Topology;

/// Where the mesh of an environment comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MeshSource {
    /// It is there already, and is used as it is.
    #[default]
    Present,
    /// The embedded mesh, `pilot`, is installed.
    Embedded,
    /// Istio is installed from its Helm charts; on kind clusters only.
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

/// Chooses contexts, and writes down below `directory` which clusters the environment uses.
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
    Ok(Existing::begin(directory, run_id, &chosen).map_err(fleet)?)
}

fn fleet(error: existing::Error) -> crate::provider::fleet::Error {
    error.into()
}

/// Brings a topology up on clusters that are there. After an error, an interruption by `cancel` included, what was made is
/// removed again.
///
/// # Errors
/// [`Error`].
pub async fn bring_up_on(
    mut existing: Existing,
    topology: &Topology,
    given: &Given,
    events: &EventSender,
    cancel: &CancellationToken,
) -> Result<(Fleet, Vec<Cluster>), Error> {
    let looked = cancel.run_until_cancelled(look(&mut existing, topology, given, events)).await;
    if let Err(error) = looked.unwrap_or(Err(Error::Interrupted)) {
        // Nothing was made, so there is nothing to remember.
        existing.forget().map_err(fleet)?;
        return Err(error);
    }
    let installed = async {
        let clusters = existing.clusters_to_install_on().await.map_err(fleet)?;
        install(topology, &clusters, None, given.mesh.unwrap_or_default(), events).await?;
        // From here on scenarios may change what is there.
        Ok::<_, Error>(existing.clusters().await.map_err(fleet)?)
    };
    let failure = match cancel.run_until_cancelled(installed).await {
        Some(Ok(clusters)) => return Ok((Fleet::Existing(existing), clusters)),
        Some(Err(error)) => error,
        None => Error::Interrupted,
    };
    // Why it did not come up is what the user wants to know; `down` can be tried again.
    if let Err(error) = take_down(Fleet::Existing(existing)).await {
        events.warn(crate::cluster::chain(&error), error.cure());
    }
    Err(failure)
}

/// Looks at every cluster and asks whether to go on.
async fn look(existing: &mut Existing, topology: &Topology, given: &Given, events: &EventSender) -> Result<(), Error> {
    let findings = phase(events, "preflight", "look at the clusters", async {
        existing.find_api_servers().await.map_err(fleet)?;
        let clusters = existing.bare_clusters().await.map_err(fleet)?;
        let looks = clusters.iter().map(async |cluster| {
            let source = given.mesh.unwrap_or_default();
            let wanted = wanted(topology, cluster, source)?;
            let mut findings = preflight::look(cluster, &wanted, existing.run_id()).await.map_err(mesh::Error::from)?;
            findings.problems.extend(mesh_in_the_way(cluster, topology, source).await?);
            Ok::<_, Error>(findings)
        });
        let findings = futures::future::try_join_all(looks).await?;
        let mut problems = preflight::same(&findings);
        problems.extend(findings.iter().flat_map(|one| one.problems.iter().cloned()));
        if !problems.is_empty() {
            return Err(Refused(problems).into());
        }
        let made: usize = findings.iter().flat_map(|one| one.made.values()).sum();
        Ok((findings, format!("{made} objects will be made")))
    })
    .await?;
    let text: String = findings.iter().map(Findings::text).collect();
    events.send(EventKind::PlanReady { text, scenarios: Vec::new(), requests: 0 });
    confirm(given.yes).await
}

/// Everything that an installation would apply to a cluster.
fn wanted(topology: &Topology, cluster: &Cluster, source: MeshSource) -> Result<Vec<Value>, Error> {
    let mut objects = Vec::new();
    let meshed = topology.meshed().any(|meshed| meshed.name == cluster.name());
    if meshed && source == MeshSource::Embedded {
        // Which authority is not known yet; that there is one tells enough.
        let authority = (!topology.trust_is_managed()).then(BTreeMap::new);
        objects.extend(mesh::objects(cluster, topology, authority.as_ref())?);
    }
    if let Some(management) = &topology.management {
        if management.cluster == cluster.name() {
            objects.extend(hub::objects().map_err(mesh::Error::from)?);
        }
        if meshed {
            objects.extend(
                hub::registered(cluster.name(), crate::install::remote_secret::ISTIO_SYSTEM)
                    .map_err(mesh::Error::from)?,
            );
        }
    }
    let certificate = Certificate::of(topology).map_err(mesh::Error::from)?;
    let placeholders = mesh::placeholders(cluster, topology);
    objects.extend(apps::objects(topology, cluster, &placeholders, certificate.as_ref())?);
    Ok(objects)
}

/// A mesh where ours is to be installed, or none where one was said to be.
async fn mesh_in_the_way(cluster: &Cluster, topology: &Topology, source: MeshSource) -> Result<Option<Refusal>, Error> {
    if !topology.meshed().any(|meshed| meshed.name == cluster.name()) {
        return Ok(None);
    }
    let istiod = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "istiod", "namespace": crate::install::remote_secret::ISTIO_SYSTEM },
    });
    let there = cluster.get(&istiod).await.map_err(mesh::Error::from)?.is_some();
    let name = cluster.name();
    Ok(match (source, there) {
        (MeshSource::Embedded, true) => Some(Refusal::new(
            format!("{name} has a control plane already: Deployment istio-system/istiod"),
            "say `--mesh present` to use it",
        )),
        (MeshSource::Istio, _) => Some(Refusal::new(
            format!("Istio is not installed on clusters of somebody else, such as {name}"),
            "install it there, and say `--mesh present`",
        )),
        (MeshSource::Present, false) => Some(Refusal::new(
            format!("{name} has no control plane: there is no Deployment istio-system/istiod"),
            "install one, or say `--mesh embedded`",
        )),
        _ => None,
    })
}

/// Asks at the terminal. Without one somebody has to have said yes before.
async fn confirm(yes: bool) -> Result<(), Error> {
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
