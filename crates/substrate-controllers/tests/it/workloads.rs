//! Deployments and their pods, Jobs, StatefulSets, and what happens when nothing fits.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::world::{World, deployment};

fn is_rolled_out(replicas: i32) -> impl Fn(Option<&Deployment>) -> bool {
    move |deployment| {
        let Some(status) = deployment.and_then(|deployment| deployment.status.clone()) else { return false };
        let generation = deployment.and_then(|deployment| deployment.metadata.generation);
        status.observed_generation == generation
            && [status.replicas, status.updated_replicas, status.available_replicas] == [Some(replicas); 3]
    }
}

#[tokio::test]
async fn a_deployment_rolls_out_rolls_on_and_leaves_no_write_undone() {
    let world = World::with_node().await;
    world.create::<Deployment>(deployment("web", 3)).await;
    world.until("web", is_rolled_out(3)).await;
    let api = world.api::<Deployment>("default");
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    api.patch("web", &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
    let deployment = world.until("web", is_rolled_out(3)).await.unwrap();
    assert_eq!(deployment.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "2");
    let pods = world.api::<Pod>("default").list(&ListParams::default().labels("app=web")).await.unwrap();
    let images = pods.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    assert!(images.into_iter().all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("v2")));

    // What is settled stays silent: a controller that corrected itself for ever would show in the version.
    let quiet = eventually::poll(
        "the cluster to fall silent",
        Duration::from_secs(10),
        Duration::from_millis(10),
        async || {
            let before = world.version().await;
            // Half a second of silence.
            let stirred =
                eventually::poll("a write", Duration::from_millis(500), Duration::from_millis(50), async || {
                    if world.version().await == before { Err("silence") } else { Ok(()) }
                });
            if stirred.await.is_ok() { Err("there was a write") } else { Ok(()) }
        },
    );
    quiet.await.unwrap();
}

#[tokio::test]
async fn each_controller_tells_what_it_has_done_under_its_own_name() {
    let world = World::with_node().await;
    world.create::<Deployment>(deployment("web", 2)).await;
    world.until("web", is_rolled_out(2)).await;
    let api = world.api::<Deployment>("default");
    api.patch("web", &PatchParams::default(), &Patch::Merge(&json!({"spec": {"replicas": 1}}))).await.unwrap();
    let events: Api<Event> = world.api("default");
    let told = async || {
        let listed = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let mut lines: Vec<String> = listed.items.iter().map(line).collect();
        lines.sort();
        lines.dedup();
        let expected = [
            "default-scheduler: Pod Scheduled",
            "deployment-controller: Deployment ScalingReplicaSet Scaled down replica set web-HASH from 2 to 1",
            "deployment-controller: Deployment ScalingReplicaSet Scaled up replica set web-HASH from 0 to 2",
            "replicaset-controller: ReplicaSet SuccessfulCreate Created pod: web-HASH-RANDOM",
            "replicaset-controller: ReplicaSet SuccessfulDelete Deleted pod: web-HASH-RANDOM",
        ];
        if lines == expected { Ok(()) } else { Err(format!("{lines:#?}")) }
    };
    eventually::poll("the events", Duration::from_secs(10), Duration::from_millis(20), told).await.unwrap();
}

/// Who says what about which kind, without the parts of names that differ from run to run.
fn line(event: &Event) -> String {
    let message = event.message.as_deref().unwrap_or_default();
    let words = message.split(' ').map(|word| match word.split('-').count() {
        _ if !word.starts_with("web-") => word,
        2 => "web-HASH",
        _ => "web-HASH-RANDOM",
    });
    let message: Vec<&str> = words.collect();
    let about = event.involved_object.kind.as_deref().unwrap_or_default();
    let reason = event.reason.as_deref().unwrap_or_default();
    let component = event.source.as_ref().and_then(|source| source.component.as_deref()).unwrap_or_default();
    let message = if reason == "Scheduled" { String::new() } else { format!(" {}", message.join(" ")) };
    format!("{component}: {about} {reason}{message}")
}

#[tokio::test]
async fn two_hundred_replicas_are_no_matter() {
    let world = World::with_node().await;
    let started = std::time::Instant::now();
    world.create::<Deployment>(deployment("wide", 200)).await;
    world.until("wide", is_rolled_out(200)).await;
    println!("200 replicas in {:?}", started.elapsed());
    let sets = world.api::<ReplicaSet>("default").list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items.len(), 1);
    let pods = world.api::<Pod>("default").list(&ListParams::default()).await.unwrap();
    assert_eq!(pods.items.len(), 200, "neither fewer nor more");
}

#[tokio::test]
async fn what_fits_nowhere_says_so_and_is_bound_when_a_node_comes() {
    let world = World::without_node().await;
    world
        .create::<Pod>(json!({"metadata": {"name": "lonely"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}))
        .await;
    let is_unschedulable = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
    };
    world.until("lonely", is_unschedulable).await;
    world.add_node().await;
    let is_bound = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.spec.as_ref().unwrap().node_name.is_some());
    world.until("lonely", is_bound).await;
}

#[tokio::test]
async fn refused_pods_show_and_come_when_the_reason_is_gone() {
    let world = World::with_node().await;
    let mut object = deployment("web", 1);
    object["spec"]["template"]["spec"]["serviceAccountName"] = json!("late");
    world.create::<Deployment>(object).await;
    let shows_failure = |deployment: Option<&Deployment>| {
        let conditions = deployment.and_then(|deployment| deployment.status.as_ref()?.conditions.clone());
        conditions.unwrap_or_default().iter().any(|condition| condition.type_.as_deref() == Some("ReplicaFailure"))
    };
    let failed = world.until("web", shows_failure).await.unwrap();
    let conditions = failed.status.unwrap().conditions.unwrap();
    let message =
        conditions.iter().find_map(|c| c.message.clone().filter(|_| c.type_.as_deref() == Some("ReplicaFailure")));
    assert!(message.unwrap().contains("late"), "the reason names the account");
    world.create::<ServiceAccount>(json!({"metadata": {"name": "late"}})).await;
    let recovered = world.until("web", is_rolled_out(1)).await.unwrap();
    let conditions = recovered.status.unwrap().conditions.unwrap();
    assert!(!conditions.iter().any(|condition| condition.type_.as_deref() == Some("ReplicaFailure")));
    let events: Api<Event> = world.api("default");
    let told = events.list(&ListParams::default().fields("reason=FailedCreate")).await.unwrap();
    assert!(!told.items.is_empty());
}

#[tokio::test]
async fn orphans_of_a_stateful_set_are_taken_up_again() {
    let world = World::with_node().await;
    let mut object = deployment("db", 2);
    object["spec"]["serviceName"] = json!("db");
    world.create::<StatefulSet>(object.clone()).await;
    let is_ready = |set: Option<&StatefulSet>| {
        set.and_then(|set| set.status.as_ref()).is_some_and(|status| status.ready_replicas == Some(2))
    };
    let first = world.until("db", is_ready).await.unwrap();
    let orphan = kube::api::DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..Default::default()
    };
    world.api::<StatefulSet>("default").delete("db", &orphan).await.unwrap();
    let uid = first.metadata.uid.unwrap();
    world.until("db", kube::runtime::wait::conditions::is_deleted::<StatefulSet>(&uid)).await;
    let pod = world.api::<Pod>("default").get("db-0").await.unwrap();
    assert_eq!(pod.metadata.owner_references.unwrap_or_default(), []);
    world.create::<StatefulSet>(object).await;
    world.until("db", is_ready).await;
    let again = world.api::<Pod>("default").get("db-0").await.unwrap();
    assert_eq!(again.metadata.uid, pod.metadata.uid, "the pod itself was not touched");
}

#[tokio::test]
async fn a_job_runs_to_its_end() {
    let world = World::with_node().await;
    let spec = json!({"completions": 2, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    world.create::<Job>(json!({"metadata": {"name": "pi"}, "spec": spec})).await;
    for round in 1..=2 {
        let has_active =
            |job: Option<&Job>| job.and_then(|job| job.status.as_ref()).is_some_and(|status| status.active == Some(1));
        world.until("pi", has_active).await;
        let pods = world.api::<Pod>("default");
        let active = pods.list(&ListParams::default().labels("job-name=pi")).await.unwrap();
        let active =
            active.items.into_iter().find(|pod| pod.status.as_ref().unwrap().phase.as_deref() != Some("Succeeded"));
        let name = active.unwrap().metadata.name.unwrap();
        world
            .until(&name, |pod: Option<&Pod>| pod.is_some_and(|pod| pod.status.as_ref().unwrap().pod_ip.is_some()))
            .await;
        let done = json!({"status": {"phase": "Succeeded"}});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&done)).await.unwrap();
        let counted = move |job: Option<&Job>| {
            job.and_then(|job| job.status.as_ref()).is_some_and(|status| status.succeeded == Some(round))
        };
        world.until("pi", counted).await;
    }
    let is_complete = |job: Option<&Job>| {
        let conditions = job.and_then(|job| job.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Complete" && condition.status == "True")
    };
    world.until("pi", is_complete).await;
}

#[tokio::test]
async fn a_new_namespace_gets_its_account_and_the_authority() {
    let world = World::with_node().await;
    world.create_namespace("shop").await;
    let maps: Api<ConfigMap> = world.api("shop");
    let accounts: Api<ServiceAccount> = world.api("shop");
    let both =
        eventually::poll("account and authority", Duration::from_secs(10), Duration::from_millis(5), async || {
            match (accounts.get("default").await, maps.get("kube-root-ca.crt").await) {
                (Ok(_), Ok(map)) => Ok(map),
                (account, map) => Err(format!("{account:?} {map:?}")),
            }
        });
    assert!(both.await.unwrap().data.unwrap()["ca.crt"].starts_with("-----BEGIN CERTIFICATE-----"));
}
