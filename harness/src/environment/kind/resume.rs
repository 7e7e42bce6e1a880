//! Goes on with what an earlier run made on Docker: networks, router and clusters that are still there and still wanted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::supply::Stock;
use super::{Error, OnDocker, releases};
use crate::cluster::Cluster;
use crate::cluster::ledger::Entry;
use crate::environment::bring_up::Error as BringUpError;
use crate::environment::directory;
use crate::environment::existing::{Found, MeshSource, Refused};
use crate::environment::layers::arrangement::Arrangement;
use crate::environment::layers::progress::Progress;
use crate::environment::layers::record::Record;
use crate::environment::layers::{Key, Layer, Part, decide, not_taken_away, plan, stuck};
use crate::image::ours::ROUTER;
use crate::install::mesh;
use crate::provider::existing::contexts::Refusal;
use crate::provider::kind::addresses::MeshNetwork;
use crate::provider::kind::engine::Engine;
use crate::provider::kind::load_balancers::{LoadBalancers, Metallb};
use crate::provider::kind::plan::{self as kind_plan, ClusterPlan, Plan};
use crate::provider::kind::{Kind, networks, router};
use crate::topology::{Provider, Topology};

/// What stands for the group of what is no object of Kubernetes.
const DOCKER: &str = "docker";

/// Refuses what cannot become of the environment that an earlier run began, before anything of it is touched.
///
/// # Errors
/// [`Refused`], and where what is remembered cannot be read.
pub(super) fn refuse(
    kind: &Kind,
    topology: &Topology,
    (mesh, load_balancers): (MeshSource, LoadBalancers),
    parts: &BTreeMap<Key, Part>,
) -> Result<(), BringUpError> {
    let begun = Arrangement::read(kind.directory())?;
    let mut refusals = begun.map(|begun| begun.refusals(Arrangement::of(topology, mesh))).unwrap_or_default();
    for (name, _) in kind.kubeconfigs().iter().filter(|(name, _)| !is_made(topology, name)) {
        refusals.push(Refusal::new(
            format!("an earlier `up` made the cluster {name}, which is no longer wanted and which the others know"),
            "name the topology of before; otherwise it goes with the whole environment only: `meshproof down`, then `up`",
        ));
    }
    let mut wanted: BTreeMap<Key, ()> = parts.keys().map(|key| (key.clone(), ())).collect();
    wanted.extend(topology.clusters_of(Provider::Kind).map(|cluster| ((Layer::Images, cluster.name.clone()), ())));
    if load_balancers == LoadBalancers::Metallb {
        let made = topology.clusters_of(Provider::Kind);
        wanted.extend(made.map(|cluster| ((Layer::LoadBalancers, cluster.name.clone()), ())));
    }
    if mesh == MeshSource::Istio {
        wanted.extend(topology.meshed().map(|cluster| ((Layer::Mesh, cluster.name.clone()), ())));
    }
    if refusals.is_empty() {
        let recorded = Record::open(kind.directory())?.layers();
        refusals.extend(stuck(&wanted, &recorded).map(not_taken_away));
    }
    if refusals.is_empty() { Ok(()) } else { Err(Refused(refusals).into()) }
}

fn is_made(topology: &Topology, name: &str) -> bool {
    topology.clusters_of(Provider::Kind).any(|cluster| cluster.name == name)
}

/// The networks that an earlier run made, where they are those that are wanted and all are still there.
pub(super) async fn kept_networks(kind: &Kind, topology: &Topology) -> Result<Option<Vec<MeshNetwork>>, Error> {
    let (known, there) = (kind.networks(), kind.engine().networks().await?);
    let same = known.iter().map(|network| network.name.as_str()).eq(topology.networks_of(Provider::Kind));
    let kept = !known.is_empty() && same && known.iter().all(|network| there.contains(&network.docker.name));
    Ok(kept.then_some(known))
}

/// The networks of an environment: those of an earlier run where all are still there, and otherwise new ones. With other networks clusters
/// cannot stay, so those that an earlier run made go.
pub(super) async fn networks(
    kind: &mut Kind,
    docker: &OnDocker<'_>,
    topology: &Topology,
) -> Result<Vec<MeshNetwork>, Error> {
    let engine = kind.engine();
    let names = topology.clusters_of(Provider::Kind).map(|one| kind_plan::kind_name(docker.environment, &one.name));
    let ours: BTreeSet<String> = kind.kind_names().map(str::to_owned).collect();
    for name in names.filter(|name| !ours.contains(name)) {
        if !engine.nodes(&name).await?.is_empty() {
            // What is replaced goes when the new one is made: nobody has agreed yet.
            if !docker.recreate {
                return Err(Error::Taken { name });
            }
        }
    }
    if let Some(known) = kept_networks(kind, topology).await? {
        return Ok(known);
    }
    let ours: BTreeSet<String> = kind.kind_names().map(str::to_owned).collect();
    directory::is_incomplete(kind.directory()).map_err(crate::provider::kind::Error::from)?;
    for name in &ours {
        remove_nodes(&engine, name).await?;
    }
    engine.sweep().await?;
    let made = networks::make(&engine, topology, docker.environment).await?;
    kind.has_containers(Vec::new())?;
    kind.has_networks(&made)?;
    Ok(made)
}

/// Removes the nodes of a kind cluster, those of one that was half made included.
pub(super) async fn remove_nodes(engine: &Engine, kind_name: &str) -> Result<(), Error> {
    for node in engine.nodes(kind_name).await? {
        engine.remove_container(&node).await?;
    }
    Ok(())
}

/// What is to be done: layer by layer, of the host, the clusters and what is on them. `all` is what the Kubernetes API is enough for;
/// `elsewhere` was found on clusters that are there.
///
/// # Errors
/// Where something cannot be asked, or what was made cannot go alone.
pub(super) async fn decided(
    kind: &Kind,
    planned: &Plan,
    stock: &Stock,
    mut all: BTreeMap<Key, Part>,
    elsewhere: Option<&Found>,
) -> Result<Progress, BringUpError> {
    let ids = stock.images.iter().map(|(_, id)| id);
    let content: Vec<String> = ids.chain(&stock.charts).cloned().collect();
    let router_image = stock.images.iter().find(|(name, _)| name == ROUTER).map(|(_, id)| id.clone());
    all.insert((Layer::Host, String::new()), host(planned, router_image));
    for cluster in &planned.clusters {
        let of = |layer: Layer| (layer, cluster.name.clone());
        all.insert(of(Layer::Cluster), of_cluster(cluster));
        all.insert(of(Layer::Images), Part { objects: Vec::new(), settings: content.clone() });
        all.extend(cluster.metallb.as_ref().map(|metallb| (of(Layer::LoadBalancers), of_metallb(metallb))));
        charts(cluster, &mut all);
    }
    let record = Record::open(kind.directory())?;
    let (mut absent, mut ending) = absent(kind, &record, &all).await?;
    if let Some(found) = elsewhere {
        absent.extend(found.absent());
        ending.extend(found.ending());
    }
    let layers = plan(all, true);
    let decisions = decide(&layers, &record.layers(), &absent);
    Ok(Progress::recorded(layers, record, decisions, false).after(ending))
}

/// What is kept of an earlier run, and what is done.
pub(super) fn decisions(plan: &Plan, layers: &Progress) -> String {
    let names = [("", "this machine")].into_iter();
    let names = names.chain(plan.clusters.iter().map(|cluster| (cluster.name.as_str(), cluster.name.as_str())));
    let texts = names.map(|(key, name)| (name, layers.text(key))).filter(|(_, text)| !text.is_empty());
    texts.map(|(name, text)| format!("{name}:\n{text}")).collect()
}

fn container(name: &str) -> Value {
    json!({ "apiVersion": DOCKER, "kind": "Container", "metadata": { "name": name } })
}

fn host(plan: &Plan, router_image: Option<String>) -> Part {
    let networks = plan.networks.iter().map(|network| format!("{} {}", network.docker.name, network.docker.subnet));
    let router = (plan.networks.len() > 1).then(|| container(&router::container_name(&plan.environment)));
    Part { objects: router.into_iter().collect(), settings: networks.chain(router_image).collect() }
}

fn of_cluster(cluster: &ClusterPlan) -> Part {
    Part {
        objects: cluster.nodes.iter().map(|node| container(node)).collect(),
        settings: vec![cluster.config.1.clone(), cluster.create.to_string()],
    }
}

fn of_metallb(metallb: &Metallb) -> Part {
    Part { objects: metallb.objects.clone(), settings: vec![metallb.install.to_string()] }
}

/// What Istio's charts bring: the values and the command lines.
fn charts(cluster: &ClusterPlan, parts: &mut BTreeMap<Key, Part>) {
    let Some(istio) = &cluster.istio else { return };
    let files = istio.files.iter().map(|(path, text)| format!("{path}: {text}"));
    let control_plane = istio.control_plane.iter().map(ToString::to_string);
    let mut add = |layer: Layer, settings: Vec<String>| {
        parts.entry((layer, cluster.name.clone())).or_default().settings.extend(settings);
    };
    add(Layer::Mesh, files.chain(control_plane).collect());
    add(Layer::Gateways, istio.gateways.iter().map(ToString::to_string).collect());
    let releases = istio.releases.iter().map(|name| releases::release(name));
    parts.entry((Layer::Gateways, cluster.name.clone())).or_default().objects.extend(releases);
}

/// What is wanted, was made, and is there no more; and what of that is still being deleted.
async fn absent(
    kind: &Kind,
    record: &Record,
    parts: &BTreeMap<Key, Part>,
) -> Result<(BTreeSet<Entry>, BTreeSet<Entry>), BringUpError> {
    let recorded = record.layers();
    let (mut absent, mut ending) = (BTreeSet::new(), BTreeSet::new());
    let clusters = kind.answering_clusters().await;
    let made: BTreeSet<&str> = kind.cluster_names().collect();
    // Those of no cluster are the host's.
    let ours = |key: &Key| key.1.is_empty() || made.contains(key.1.as_str());
    for (key, part) in parts.iter().filter(|(key, _)| ours(key) && recorded.contains_key(*key)) {
        let cluster = clusters.iter().find(|cluster| cluster.name() == key.1);
        for object in &part.objects {
            match presence(&kind.engine(), cluster, object).await? {
                Presence::There => continue,
                Presence::Ending => {
                    ending.insert(Entry::of(&key.1, object));
                }
                Presence::Gone => {}
            }
            absent.insert(Entry::of(&key.1, object));
        }
    }
    Ok((absent, ending))
}

enum Presence {
    There,
    /// It is being deleted.
    Ending,
    Gone,
}

async fn presence(engine: &Engine, cluster: Option<&Cluster>, object: &Value) -> Result<Presence, BringUpError> {
    if object["apiVersion"] == DOCKER {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let running = engine.is_running(name).await.map_err(Error::from)?;
        return Ok(if running { Presence::There } else { Presence::Gone });
    }
    let Some(cluster) = cluster else { return Ok(Presence::Gone) };
    if releases::is_release(object) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let there = releases::is_there(cluster, name, &["deployed"]).await?;
        return Ok(if there { Presence::There } else { Presence::Gone });
    }
    let there = match cluster.get(object).await {
        Err(crate::cluster::Error::UnknownKind { .. }) => None,
        there => there.map_err(mesh::Error::from)?,
    };
    Ok(match there.map(|there| there.metadata.deletion_timestamp.is_some()) {
        None => Presence::Gone,
        Some(true) => Presence::Ending,
        Some(false) => Presence::There,
    })
}

/// Removes what an earlier run made on kind clusters for a topology that was another one.
pub(super) async fn remove_obsolete(clusters: &[Cluster], obsolete: &BTreeSet<Entry>) -> Result<(), BringUpError> {
    for cluster in clusters {
        let here: Vec<&Entry> = obsolete.iter().filter(|entry| entry.cluster == cluster.name()).collect();
        releases::uninstall(cluster, &here).await?;
        let is_object = |entry: &&&Entry| entry.api_version != DOCKER && !releases::is_release(&entry.manifest());
        for entry in here.iter().filter(is_object) {
            cluster.delete(&entry.manifest()).await.map_err(mesh::Error::from)?;
        }
    }
    Ok(())
}
