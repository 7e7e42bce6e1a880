//! The Node object of this node, and the lease that says that the node is alive.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::context::Machine;

/// How often the lease is renewed, and how long it holds: Kubernetes' figures.
const RENEWAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u32 = 40;
/// How many pods a node takes.
const MOST_PODS: u32 = 250;
const LEASES: &str = "kube-node-lease";

/// What is known of the node.
#[derive(Clone, Debug)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) address: Ipv4Addr,
    pub(super) machine: Machine,
    pub(super) kernel: String,
}

/// Creates the node's object, or brings it up to date.
///
/// # Errors
/// Those of the requests.
pub(super) async fn register(client: &Client, facts: &NodeFacts) -> Result<Node, kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let object = object(facts, Timestamp::now());
    let node = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
    match nodes.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let patch = json!({"metadata": {"labels": object["metadata"]["labels"]}});
            nodes.patch(&facts.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        other => drop(other?),
    }
    let patch = json!({"status": object["status"]});
    nodes.patch_status(&facts.name, &PatchParams::default(), &Patch::Merge(&patch)).await
}

/// Renews the lease until dropped.
pub(super) async fn keep_lease(client: Client, node: Node) {
    let name = node.metadata.name.clone().unwrap_or_default();
    let leases: Api<Lease> = Api::namespaced(client, LEASES);
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = renew(&leases, &name, node.metadata.uid.as_deref()).await {
            tracing::debug!(%error, "the node's lease could not be renewed");
        }
    }
}

async fn renew(leases: &Api<Lease>, name: &str, uid: Option<&str>) -> Result<(), kube::Error> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let patch = json!({"spec": {"renewTime": now}});
    match leases.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => return other.map(drop),
    }
    let lease = json!({
        "metadata": {"name": name, "namespace": LEASES, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid.unwrap_or_default()}]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
    });
    let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
    leases.create(&PostParams::default(), &lease).await.map(drop)
}

fn object(facts: &NodeFacts, now: Timestamp) -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut labels = facts.labels.clone();
    for (key, value) in [("hostname", facts.name.as_str()), ("os", "linux"), ("arch", architecture)] {
        labels.entry(format!("kubernetes.io/{key}")).or_insert_with(|| value.to_owned());
    }
    let kibibytes = facts.machine.memory / 1024;
    let resources = json!({
        "cpu": facts.machine.cpus.to_string(), "memory": format!("{kibibytes}Ki"), "pods": MOST_PODS.to_string(),
        "ephemeral-storage": "0",
    });
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({"type": type_, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": facts.name, "labels": labels},
        "spec": {"providerID": format!("substrate://{}", facts.name)},
        "status": {
            "addresses": [{"type": "InternalIP", "address": facts.address.to_string()}, {"type": "Hostname", "address": facts.name}],
            "allocatable": resources,
            "capacity": resources,
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
            ],
            "nodeInfo": {
                "architecture": architecture, "bootID": "", "containerRuntimeVersion": "processes://1",
                "kernelVersion": facts.kernel, "kubeProxyVersion": "", "kubeletVersion": substrate_api::kubernetes_version(), "machineID": "",
                "operatingSystem": "linux", "osImage": "processes of this machine", "systemUUID": "",
            },
        },
    })
}

/// Processors and memory of this machine.
pub(super) fn machine() -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text)).unwrap_or(0);
    Machine { cpus, memory }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// The kernel's release, as `uname -r` prints it.
pub(super) fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_a_node() {
        let facts = NodeFacts {
            name: "cluster1-node".into(),
            labels: BTreeMap::from([("topology.kubernetes.io/zone".into(), "a".into())]),
            address: Ipv4Addr::new(172, 30, 1, 1),
            machine: Machine { cpus: 2, memory: 4096 },
            kernel: "6.1".into(),
        };
        let node: Node = serde_json::from_value(object(&facts, Timestamp::UNIX_EPOCH)).unwrap();
        let labels = node.metadata.labels.unwrap();
        assert_eq!(
            (labels["kubernetes.io/hostname"].as_str(), labels["topology.kubernetes.io/zone"].as_str()),
            ("cluster1-node", "a")
        );
        assert_eq!(node.status.unwrap().capacity.unwrap()["memory"].0, "4Ki");
    }

    #[test]
    fn total_memory_is_read_in_bytes() {
        assert_eq!(total_memory("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1024 * 1024));
    }
}
