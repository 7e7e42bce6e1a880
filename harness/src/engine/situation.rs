//! Looks at an environment when a scenario has not passed, before its clean-up: what is out of order in it.
//!
//! Best effort and bounded in time: what cannot be looked at is told, and changes no verdict.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::context::Environment;
use crate::check::convergence::{self, WatchedCluster};
use crate::cluster::{Cluster, chain};
use crate::links::{Links, RouterCounters};
use crate::report::figures::{Sign, SignKind, Situation};

/// Longest time for all of it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Looks at links, remote secrets, gateways and workloads.
pub(super) async fn look(environment: &Environment) -> Situation {
    let mut situation = Situation::default();
    if tokio::time::timeout(DEADLINE, look_at_all(environment, &mut situation)).await.is_err() {
        situation.unseen.push(format!("the rest: it took longer than {} s", DEADLINE.as_secs()));
    }
    situation
}

async fn look_at_all(environment: &Environment, situation: &mut Situation) {
    if let Some(links) = environment.links() {
        note(situation, "links", of_links(links).await);
    }
    let names: Vec<&str> = environment.clusters().map(Cluster::name).collect();
    for cluster in environment.clusters() {
        note(situation, cluster.name(), of_secrets(cluster, &names).await);
        note(situation, cluster.name(), of_workloads(cluster).await);
    }
}

fn note(situation: &mut Situation, place: &str, seen: Result<Vec<Sign>, String>) {
    match seen {
        Ok(signs) => situation.signs.extend(signs),
        Err(why) => situation.unseen.push(format!("{place}: {why}")),
    }
}

async fn of_links(links: &Links) -> Result<Vec<Sign>, String> {
    links.counters().await.map(|routers| disturbed(&routers)).map_err(|error| chain(&error))
}

async fn of_secrets(cluster: &Cluster, all: &[&str]) -> Result<Vec<Sign>, String> {
    // Where a hub joins the meshes, or there is none, nobody needs to watch another.
    let mut reads = convergence::has_mesh(cluster).await.map_err(|error| chain(&error))?;
    reads &= !is_registered(cluster).await.map_err(|error| chain(&error))?;
    if !reads {
        return Ok(Vec::new());
    }
    let status = convergence::sync_status(cluster).await.map_err(|error| chain(&error))?;
    Ok(not_watched(cluster.name(), &status.clusters, all))
}

async fn is_registered(cluster: &Cluster) -> Result<bool, crate::cluster::Error> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), mesh_types::hub::names::NAMESPACE);
    let found = api.get_opt(mesh_types::hub::names::AGENT).await;
    Ok(found.map_err(|source| cluster.api_error("look for the agent".to_owned(), source))?.is_some())
}

async fn of_workloads(cluster: &Cluster) -> Result<Vec<Sign>, String> {
    let deployments: Api<Deployment> = Api::all(cluster.client());
    let pods: Api<Pod> = Api::all(cluster.client());
    let failed = |what: &str| {
        let action = format!("list {what}");
        move |source| chain(&cluster.api_error(action, source))
    };
    let deployments = deployments.list(&ListParams::default()).await.map_err(failed("deployments"))?;
    let pods = pods.list(&ListParams::default()).await.map_err(failed("pods"))?;
    Ok(deployments.items.iter().filter_map(|one| down(cluster.name(), one, &pods.items)).collect())
}

/// Rules of routers that stand for faults in force.
fn disturbed(routers: &[RouterCounters]) -> Vec<Sign> {
    let rules = routers.iter().flat_map(|router| &router.rules);
    let sign = |networks: &str, what: String| Sign {
        kind: SignKind::LinkDisturbed,
        cluster: None,
        of: networks.to_owned(),
        what,
    };
    let of_rule = |name: &str, packets: u64| {
        if let Some(networks) = name.strip_prefix("cut ") {
            return Some(sign(networks, format!("packets from {networks} are dropped: {packets} so far")));
        }
        let networks = name.strip_prefix("wire ")?;
        Some(sign(networks, format!("packets from {networks} are delayed or lost on purpose")))
    };
    rules.filter_map(|rule| of_rule(&rule.name, rule.packets)).collect()
}

/// Clusters that a control plane should watch and does not.
fn not_watched(own: &str, watched: &[WatchedCluster], all: &[&str]) -> Vec<Sign> {
    let missing = all.iter().filter(|name| **name != own && !watched.iter().any(|one| one.id == **name && one.synced));
    let sign = |name: &&str| Sign {
        kind: SignKind::ClusterNotWatched,
        cluster: Some(own.to_owned()),
        of: (*name).to_owned(),
        what: format!("the control plane of {own} does not watch {name}: there is no remote secret that it can use"),
    };
    missing.map(sign).collect()
}

/// A Deployment without a pod that is ready.
fn down(cluster: &str, deployment: &Deployment, pods: &[Pod]) -> Option<Sign> {
    let status = deployment.status.as_ref();
    if status.and_then(|status| status.ready_replicas).unwrap_or(0) > 0 {
        return None;
    }
    let (namespace, name) = (deployment.namespace(), deployment.name_any());
    let own = pods.iter().filter(|pod| pod.namespace() == namespace).filter(|pod| {
        let rest = pod.metadata.name.as_deref().and_then(|pod| pod.strip_prefix(name.as_str()));
        rest.is_some_and(|rest| rest.starts_with('-'))
    });
    let crashing = own.filter_map(crashes).next();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let template = deployment.spec.template.metadata.as_ref();
    let labels = template.and_then(|template| template.labels.as_ref());
    let is_gateway = labels.and_then(|labels| labels.get("istio")).is_some_and(|label| label.ends_with("gateway"));
    let (kind, why) = match (&crashing, is_gateway) {
        (_, true) => (SignKind::GatewayDown, format!("0 of {wanted} pods are ready")),
        (Some(container), false) => (SignKind::WorkloadCrashes, format!("its container {container} crashes")),
        (None, false) if wanted == 0 => (SignKind::WorkloadDown, "it is scaled to zero".to_owned()),
        (None, false) => (SignKind::WorkloadDown, format!("0 of {wanted} pods are ready")),
    };
    let what = format!("{cluster}: {name} has no pod that is ready: {why}");
    Some(Sign { kind, cluster: Some(cluster.to_owned()), of: name, what })
}

/// The container of a pod that Kubernetes waits to start again.
fn crashes(pod: &Pod) -> Option<&str> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let crashed = statuses.iter().find(|status| {
        let state = status.state.as_ref();
        let waits = state.and_then(|state| state.waiting.as_ref()?.reason.as_deref());
        waits == Some("CrashLoopBackOff") || state.is_some_and(|state| state.terminated.is_some())
    })?;
    Some(&crashed.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::links::RuleCounters;

    fn deployment(name: &str, label: &str, wanted: i32, ready: i32) -> Deployment {
        let template = json!({ "metadata": { "labels": { "istio": label } } });
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop" },
            "spec": { "replicas": wanted, "selector": {}, "template": template },
            "status": { "readyReplicas": ready },
        }))
        .expect("a Deployment")
    }

    fn pod(name: &str, state: &serde_json::Value) -> Pod {
        let status = json!({
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state,
        });
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "shop" }, "status": { "containerStatuses": [status] },
        }))
        .expect("a pod")
    }

    fn kind(deployment: &Deployment, pods: &[Pod]) -> Option<SignKind> {
        down("east", deployment, pods).map(|sign| sign.kind)
    }

    #[test]
    fn a_deployment_without_a_ready_pod_is_down_and_it_is_told_why() {
        let crashing = [pod("cart-v1-7-x", &json!({ "waiting": { "reason": "CrashLoopBackOff" } }))];
        assert_eq!(kind(&deployment("cart-v1", "", 1, 1), &crashing), None);
        assert_eq!(kind(&deployment("cart-v1", "", 1, 0), &crashing), Some(SignKind::WorkloadCrashes));
        assert_eq!(kind(&deployment("cart-v", "", 1, 0), &crashing), Some(SignKind::WorkloadDown));
        assert_eq!(kind(&deployment("cart-v1", "", 0, 0), &[]), Some(SignKind::WorkloadDown));
        assert_eq!(kind(&deployment("gate", "eastwestgateway", 0, 0), &[]), Some(SignKind::GatewayDown));
        let starting = [pod("cart-v1-7-x", &json!({ "running": {} }))];
        assert_eq!(kind(&deployment("cart-v1", "", 1, 0), &starting), Some(SignKind::WorkloadDown));
    }

    #[test]
    fn every_other_cluster_must_be_watched_and_read() {
        let watched = |id: &str, synced| WatchedCluster { id: id.to_owned(), synced };
        let of = |watched: &[WatchedCluster]| -> Vec<String> {
            not_watched("east", watched, &["east", "north", "west"]).into_iter().map(|sign| sign.of).collect()
        };
        assert_eq!(of(&[watched("north", true), watched("west", false)]), ["west"]);
        assert_eq!(of(&[watched("north", true), watched("west", true)]), Vec::<String>::new());
    }

    #[test]
    fn rules_of_faults_are_told_from_rules_that_count() {
        let rule = |name: &str| RuleCounters { table: "t".into(), name: name.into(), packets: 7, bytes: 1 };
        let rules = vec![rule("east to west"), rule("cut east to west"), rule("wire west to east")];
        let routers = [RouterCounters { router: "backbone".into(), links: Vec::new(), rules }];
        let signs: Vec<String> = disturbed(&routers).into_iter().map(|sign| sign.what).collect();
        assert_eq!(
            signs,
            [
                "packets from east to west are dropped: 7 so far",
                "packets from west to east are delayed or lost on purpose"
            ]
        );
    }
}
