//! Whether the nodes have room for what will be started: what pods ask for against what nodes have left.

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::cluster::{Cluster, Error};
use crate::provider::existing::contexts::Refusal;

/// What Istio's injector asks for, for each proxy: 100m of a processor and 128Mi.
const PROXY: Room = Room { processors: 0.1, bytes: 128.0 * 1024.0 * 1024.0 };

/// Processors and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Room {
    processors: f64,
    bytes: f64,
}

impl Room {
    fn plus(self, other: Self) -> Self {
        Self { processors: self.processors + other.processors, bytes: self.bytes + other.bytes }
    }

    fn times(self, count: f64) -> Self {
        Self { processors: self.processors * count, bytes: self.bytes * count }
    }

    fn of<'quantity>(quantity: impl Fn(&str) -> Option<&'quantity str>) -> Self {
        let value = |name: &str| quantity(name).and_then(parse).unwrap_or_default();
        Self { processors: value("cpu"), bytes: value("memory") }
    }
}

/// What the nodes lack for the objects that are missing, as one problem.
pub(super) async fn lacking(cluster: &Cluster, missing: &[&Value]) -> Result<Option<Refusal>, Error> {
    let nodes: Api<Node> = Api::all(cluster.client());
    let pods: Api<Pod> = Api::all(cluster.client());
    let parameters = ListParams::default();
    let (nodes, pods) = tokio::join!(nodes.list(&parameters), pods.list(&parameters));
    let nodes = nodes.map_err(|source| cluster.api_error("list nodes".to_owned(), source))?;
    let pods = pods.map_err(|source| cluster.api_error("list pods".to_owned(), source))?;
    Ok(problem(cluster.name(), allocatable(&nodes.items), taken(&pods.items), asked(missing)))
}

fn problem(cluster: &str, allocatable: Room, taken: Room, asked: Room) -> Option<Refusal> {
    let free = Room {
        processors: (allocatable.processors - taken.processors).max(0.0),
        bytes: (allocatable.bytes - taken.bytes).max(0.0),
    };
    if free.processors >= asked.processors && free.bytes >= asked.bytes {
        return None;
    }
    let mebibytes = |bytes: f64| bytes / (1024.0 * 1024.0);
    Some(Refusal::new(
        format!(
            "{cluster} has {:.1} processors and {:.0} MiB left; what would be started asks for {:.1} and {:.0} MiB",
            free.processors,
            mebibytes(free.bytes),
            asked.processors,
            mebibytes(asked.bytes)
        ),
        "add a node, or name a cluster with more room by --context",
    ))
}

/// What schedulable nodes have for pods.
fn allocatable(nodes: &[Node]) -> Room {
    let open = nodes.iter().filter(|node| node.spec.as_ref().is_none_or(|spec| spec.unschedulable != Some(true)));
    let rooms = open.filter_map(|node| {
        let allocatable = node.status.as_ref()?.allocatable.as_ref()?;
        Some(Room::of(|name| allocatable.get(name).map(|Quantity(text)| text.as_str())))
    });
    rooms.fold(Room::default(), Room::plus)
}

/// What pods that have not ended asked for.
fn taken(pods: &[Pod]) -> Room {
    let ended = |pod: &&Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    };
    let containers = pods.iter().filter(ended).filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    let rooms = containers.filter_map(|container| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        Some(Room::of(|name| requests.get(name).map(|Quantity(text)| text.as_str())))
    });
    rooms.fold(Room::default(), Room::plus)
}

/// What Deployments that are to be made ask for; each of their pods may get a proxy.
fn asked(missing: &[&Value]) -> Room {
    let deployments = missing.iter().filter(|object| object["kind"] == "Deployment");
    let rooms = deployments.map(|deployment| {
        #[expect(clippy::cast_precision_loss, reason = "nobody asks for that many replicas")]
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(1) as f64;
        let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let requests = containers.into_iter().flatten().map(|container| &container["resources"]["requests"]);
        let own = requests.map(|requests| Room::of(|name| requests[name].as_str())).fold(PROXY, Room::plus);
        own.times(replicas)
    });
    rooms.fold(Room::default(), Room::plus)
}

/// A quantity of Kubernetes as a number: `100m`, `2`, `128Mi`, `1e3`. `None` for what is none.
fn parse(text: &str) -> Option<f64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let suffix = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = suffix.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        let cases = [("100m", 0.1), ("2", 2.0), ("128Mi", 134_217_728.0), ("1k", 1000.0), ("1.5Gi", 1_610_612_736.0)];
        for (text, expected) in cases {
            let parsed = parse(text).expect(text);
            assert!((parsed - expected).abs() < 1e-9 * expected.max(1.0), "{text}: {parsed}");
        }
        assert_eq!(parse("many"), None);
    }

    #[test]
    fn room_is_what_nodes_have_and_pods_have_not_asked_for() {
        let node = |unschedulable: bool| -> Node {
            serde_json::from_value(json!({
                "metadata": {}, "spec": { "unschedulable": unschedulable },
                "status": { "allocatable": { "cpu": "2", "memory": "4Gi" } },
            }))
            .expect("a node")
        };
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {}, "status": { "phase": phase },
                "spec": { "containers": [{ "name": "a", "resources": { "requests": { "cpu": "500m", "memory": "1Gi" } } }] },
            }))
            .expect("a pod")
        };
        let deployment = json!({
            "kind": "Deployment",
            "spec": { "replicas": 2, "template": { "spec": { "containers": [
                { "name": "a", "resources": { "requests": { "cpu": "400m", "memory": "896Mi" } } },
            ] } } },
        });
        let free = allocatable(&[node(false), node(true)]);
        let taken = taken(&[pod("Running"), pod("Succeeded")]);
        let asked = asked(&[&deployment]);
        assert_eq!(asked, Room { processors: 1.0, bytes: 2.0 * 1024.0 * 1_048_576.0 });
        assert_eq!(problem("a", free, taken, asked), None);
        let refused = problem("a", free, taken, asked.times(2.0)).expect("too much");
        assert_eq!(
            refused.message,
            "a has 1.5 processors and 3072 MiB left; what would be started asks for 2.0 and 4096 MiB"
        );
    }
}
