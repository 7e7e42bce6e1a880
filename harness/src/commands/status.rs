//! `meshproof status`: environments, their clusters and virtual machines, and how many of their pods and programs are ready.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::{complain_kept, root};
use crate::cli::args::{Format, StatusArgs};
use crate::cli::files;
use crate::cluster::Cluster;
use crate::provider::fleet::Fleet;
use crate::report::RunOutcome;
use crate::run::{self, Kept, State};
use crate::topology::Vm;
use crate::vm::Machine;

pub(super) async fn run(args: &StatusArgs) -> RunOutcome {
    let root = match root() {
        Ok(root) => root,
        Err(outcome) => return outcome,
    };
    let chosen = match &args.name {
        Some(name) => run::find(&root, Some(name)).map(|kept| vec![kept]),
        None => run::list(&root),
    };
    let chosen = match chosen {
        Ok(chosen) => chosen,
        Err(error) => return complain_kept(&error),
    };
    let mut environments = Vec::new();
    for kept in &chosen {
        environments.push(environment(kept).await);
    }
    match args.format {
        Format::Json => crate::cli::print(&format!("{:#}\n", json!({ "environments": environments }))),
        Format::Text => crate::cli::print(&text(&environments)),
    }
    RunOutcome::Passed
}

async fn environment(kept: &Kept) -> Value {
    let facts = json!({ "name": kept.name, "directory": kept.directory.path() });
    let fleet = match kept.fleet() {
        Ok(Some(fleet)) => fleet,
        Ok(None) => return merged(facts, json!({ "running": false })),
        Err(error) => return merged(facts, json!({ "running": null, "error": crate::cluster::chain(error) })),
    };
    let changed = fleet.changed().await.map(|error| json!({ "what": error.to_string(), "cure": error.cure() }));
    let clusters = match fleet.clusters().await {
        Ok(clusters) => futures::future::join_all(clusters.iter().map(cluster)).await,
        Err(error) => vec![json!({ "name": "?", "error": crate::cluster::chain(&error) })],
    };
    let machines = futures::future::join_all(machines(kept, fleet).iter().map(machine)).await;
    let run = fleet.run_id();
    let state = match kept.state() {
        Ok(state) => json!({ "complete": state == State::Complete, "inUse": state == State::InUse }),
        Err(error) => json!({ "error": crate::cluster::chain(&error) }),
    };
    let found = json!({ "running": true, "runId": run, "clusters": clusters, "vms": machines });
    let changed = changed.map_or(Value::Null, |changed| json!({ "changed": changed }));
    merged(merged(merged(facts, found), state), changed)
}

/// The virtual machines of the topology that it was brought up from.
fn machines(kept: &Kept, fleet: &Fleet) -> Vec<(Vm, Machine)> {
    let topology = files::topology(&kept.directory.topology()).ok();
    let vms = topology.map(|topology| topology.vms).unwrap_or_default();
    let Some(links) = fleet.links() else { return Vec::new() };
    vms.into_iter().map(|vm| (vm.clone(), links.machine(&vm.name))).collect()
}

async fn machine((vm, machine): &(Vm, Machine)) -> Value {
    let facts = json!({ "name": vm.name, "network": vm.network, "address": vm.address, "cluster": vm.cluster });
    let status = match machine.status().await {
        Ok(status) => json!({
            "running": status.running,
            "starts": status.starts,
            "programs": status.programs.len(),
            "ready": status.programs.iter().filter(|program| program.running && program.ready).count(),
        }),
        Err(error) => json!({ "error": crate::cluster::chain(&error) }),
    };
    merged(facts, status)
}

async fn cluster(cluster: &Cluster) -> Value {
    let api: Api<Pod> = Api::all(cluster.client());
    let facts =
        json!({ "name": cluster.name(), "network": cluster.network(), "kubeconfig": cluster.access().kubeconfig });
    let pods = match api.list(&ListParams::default()).await {
        Ok(pods) => json!({ "pods": pods.items.len(), "ready": pods.items.iter().filter(|pod| is_ready(pod)).count() }),
        Err(error) => json!({ "error": crate::cluster::chain(&error) }),
    };
    merged(facts, pods)
}

fn merged(mut facts: Value, more: Value) -> Value {
    if let (Value::Object(facts), Value::Object(more)) = (&mut facts, more) {
        facts.extend(more);
    }
    facts
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn text(environments: &[Value]) -> String {
    if environments.is_empty() {
        return "no environments; `meshproof up` brings one up\n".to_owned();
    }
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or("").to_owned();
    let mut text = String::new();
    for environment in environments {
        let state = match (environment["running"].as_bool(), environment["error"].as_str()) {
            (Some(true), Some(error)) => error,
            (Some(true), _) if environment["inUse"] == true => "another command works on it",
            (Some(true), _) if environment["complete"] == false => "half made: run its `up` again, or `down`",
            (Some(true), _) => "running",
            (_, Some(error)) => error,
            _ => "not running",
        };
        text.push_str(&format!("{}: {state}\n", word(environment, "name")));
        if let Some(what) = environment["changed"]["what"].as_str() {
            text.push_str(&format!("  {what}\n    help: {}\n", word(&environment["changed"], "cure")));
        }
        for cluster in environment["clusters"].as_array().into_iter().flatten() {
            let health = match cluster["error"].as_str() {
                Some(error) => error.to_owned(),
                None => format!("{} of {} pods ready", cluster["ready"], cluster["pods"]),
            };
            text.push_str(&format!("  {} on {}: {health}\n", word(cluster, "name"), word(cluster, "network")));
            text.push_str(&format!("    {}\n", word(cluster, "kubeconfig")));
        }
        for vm in environment["vms"].as_array().into_iter().flatten() {
            let health = match (vm["error"].as_str(), vm["running"].as_bool()) {
                (Some(error), _) => error.to_owned(),
                (None, Some(true)) => format!("{} of {} programs ready", vm["ready"], vm["programs"]),
                (None, _) => "off".to_owned(),
            };
            text.push_str(&format!("  {} on {}: virtual machine, {health}\n", word(vm, "name"), word(vm, "network")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_in_words() {
        let running = json!({
            "name": "two-clusters", "running": true,
            "clusters": [
                { "name": "cluster1", "network": "network1", "kubeconfig": "/state/c1", "pods": 9, "ready": 8 },
                { "name": "cluster2", "network": "network2", "kubeconfig": "/state/c2", "error": "connection refused" },
            ],
            "vms": [
                { "name": "details-vm", "network": "machines", "running": true, "programs": 2, "ready": 2 },
                { "name": "echo-vm", "network": "machines", "running": false, "programs": 2, "ready": 0 },
            ],
        });
        let changed = json!({
            "name": "moved", "running": true,
            "changed": { "what": "moved-a-control-plane does not run", "cure": "`meshproof up` mends it" },
        });
        let half = json!({ "name": "half", "running": true, "complete": false, "inUse": false });
        let busy = json!({ "name": "busy", "running": true, "complete": false, "inUse": true });
        let left = json!({ "name": "old", "running": false });
        let damaged = json!({ "name": "hurt", "running": null, "error": "world.json is damaged" });
        assert_eq!(
            text(&[running, changed, half, busy, left, damaged]),
            "two-clusters: running\n  cluster1 on network1: 8 of 9 pods ready\n    /state/c1\n  \
             cluster2 on network2: connection refused\n    /state/c2\n  \
             details-vm on machines: virtual machine, 2 of 2 programs ready\n  echo-vm on machines: virtual machine, off\nmoved: running\n  moved-a-control-plane does not run\n    help: `meshproof up` mends it\nhalf: half made: run its `up` again, or `down`\nbusy: another command works on it\nold: not running\nhurt: world.json is damaged\n"
        );
    }
}
