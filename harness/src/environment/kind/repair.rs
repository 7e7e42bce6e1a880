//! Mends an environment that a restart of Docker, or of the machine, has changed, before `up` goes on with it.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8Path;

use super::failed::save_state;
use super::{Error, load_balancers};
use crate::cluster::{Cluster, chain};
use crate::environment::bring_up::{Error as BringUpError, phase};
use crate::provider::fleet;
use crate::provider::kind::plan::Plan;
use crate::provider::kind::remembered::Trouble;
use crate::provider::kind::{Kind, repair, router, sentences};
use crate::report::stream::EventSender;

/// How long an API server may take to answer once its node was started: etcd and the kubelet come up before it.
const ANSWERS: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);

/// Puts back what is no longer as it was. What is gone is made anew by its layer. Where it cannot be put back, what nodes and router tell
/// is saved.
///
/// # Errors
/// Where it cannot be put back.
pub(super) async fn mend(
    kind: &mut Kind,
    plan: &Plan,
    out: &Utf8Path,
    events: &EventSender,
) -> Result<(), BringUpError> {
    let (gone, wrong): (Vec<_>, Vec<_>) =
        kind.wrong().await.map_err(Error::from)?.into_iter().partition(|one| one.trouble == Trouble::Gone);
    if wrong.is_empty() {
        return Ok(());
    }
    let gone: BTreeSet<String> = gone.into_iter().map(|one| one.container).collect();
    let mended = phase(events, "repair", "put back what a restart of Docker has changed", async {
        put_back(kind, plan, &gone).await?;
        Ok(((), format!("repaired: {}", sentences(&wrong))))
    });
    let mended = mended.await;
    if mended.is_err() {
        save_state(kind, out, events).await;
    }
    mended
}

async fn put_back(kind: &mut Kind, plan: &Plan, gone: &BTreeSet<String>) -> Result<(), BringUpError> {
    let engine = kind.engine();
    let repaired = repair::repair(&engine, kind.environment(), &plan.networks, kind.containers()).await;
    let (containers, router) = repaired.map_err(Error::from)?;
    if let Some(router) = &router {
        kind.has_router(Some(router)).map_err(fleet::Error::from)?;
    }
    let clusters = there(kind, plan, gone).await?;
    futures::future::try_join_all(clusters.iter().map(answers)).await?;
    load_balancers::restore(&engine, plan, &clusters).await?;
    // Last: whoever is ended before finds the same to do again.
    Ok(kind.has_containers(containers).map_err(fleet::Error::from)?)
}

/// The clusters whose nodes are all remembered, and there: those that were made to the end, and of which nothing is gone.
async fn there(kind: &Kind, plan: &Plan, gone: &BTreeSet<String>) -> Result<Vec<Cluster>, BringUpError> {
    let known = kind.containers().iter().map(|one| one.container.as_str());
    let known: BTreeSet<&str> = known.filter(|container| !gone.contains(*container)).collect();
    let whole = |name: &str| {
        let planned = plan.clusters.iter().find(|planned| planned.name == name);
        planned.is_some_and(|planned| planned.nodes.iter().all(|node| known.contains(node.as_str())))
    };
    Ok(kind.clusters_where(whole).await.map_err(fleet::Error::from)?)
}

async fn answers(cluster: &Cluster) -> Result<(), BringUpError> {
    let asked =
        eventually::poll(format!("the API server of {} to answer", cluster.name()), ANSWERS, LOOK, async || {
            cluster.client().apiserver_version().await.map(drop).map_err(|error| chain(&error))
        });
    Ok(asked.await.map_err(|error| Error::Silent(error.to_string()))?)
}

/// Remembers nodes and router as they are, once everything is set in them.
///
/// # Errors
/// Where Docker cannot be asked, or it cannot be written down.
pub(super) async fn remember(kind: &mut Kind, plan: &Plan) -> Result<(), BringUpError> {
    let nodes = plan.clusters.iter().filter_map(|cluster| Some((plan.network(&cluster.network)?, &cluster.nodes)));
    let nodes: Vec<(String, String)> = nodes
        .flat_map(|(network, nodes)| nodes.iter().map(|node| (node.clone(), network.docker.name.clone())))
        .collect();
    let router = (plan.networks.len() > 1).then(|| router::container_name(&plan.environment));
    let containers = repair::remember(&kind.engine(), &nodes, router).await.map_err(Error::from)?;
    Ok(kind.has_containers(containers).map_err(fleet::Error::from)?)
}
