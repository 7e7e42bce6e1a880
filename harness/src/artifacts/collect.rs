//! What there is to save of a cluster: a list of questions, each with the file for its answer.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::core::ApiResource;
use kube::discovery::{Discovery, verbs};

use super::file_name;
use crate::check::proxies;
use crate::cluster::{Cluster, Error, is_meshed};
use crate::topology::Vm;
use crate::topology::vm::PROXY;
use crate::vm::Machine;

/// Lines of a log that are kept.
const LOG_LINES: i64 = 2000;

/// What a proxy is asked for: path, file, and what it is.
const OF_PROXY: [(&str, &str, &str); 4] = [
    ("config_dump?include_eds", "config_dump.json", "configuration"),
    ("clusters?format=json", "clusters.json", "clusters and endpoints"),
    ("certs", "certificates.json", "certificates"),
    ("stats?usedonly", "stats.txt", "counters"),
];

/// Something to save.
pub(super) struct Wanted {
    /// What it is, for people.
    pub(super) what: String,
    /// Its path below the folder of the cluster.
    pub(super) path: String,
    question: Question,
}

/// What there is to save of a machine.
pub(super) struct OfMachine {
    /// What it is, for people.
    pub(super) what: String,
    /// Its path below the folder of the machine.
    pub(super) path: String,
    question: AskMachine,
}

enum AskMachine {
    Proxy(&'static str),
    Log(String),
}

/// Everything to save of a machine: what its proxy holds, and what its programs wrote.
pub(super) fn of_machine(vm: &Vm) -> Vec<OfMachine> {
    let proxy = OF_PROXY.iter().map(|(path, file, what)| OfMachine {
        what: format!("{what} of the proxy"),
        path: (*file).to_owned(),
        question: AskMachine::Proxy(path),
    });
    let programs = std::iter::once(PROXY).chain(vm.programs.iter().map(|program| program.name.as_str()));
    let logs = programs.map(|program| OfMachine {
        what: format!("log of {program}"),
        path: format!("{}.log", file_name(program)),
        question: AskMachine::Log(program.to_owned()),
    });
    proxy.chain(logs).collect()
}

impl OfMachine {
    /// The answer; of a machine that is off there is none.
    pub(super) async fn content(&self, machine: &Machine) -> Result<String, String> {
        match &self.question {
            AskMachine::Proxy(path) => {
                proxies::request_machine(machine, path).await.map_err(|error| crate::cluster::chain(&error))
            }
            AskMachine::Log(program) => machine.logs(program).await.map_err(|error| crate::cluster::chain(&error)),
        }
    }
}

enum Question {
    Proxy { namespace: String, pod: String, path: &'static str },
    Log { namespace: String, pod: String, container: String, previous: bool },
    Objects(ApiResource),
}

/// Everything to save of a cluster: what proxies hold, logs of all containers, objects of all kinds.
pub(super) async fn wanted(cluster: &Cluster) -> Result<Vec<Wanted>, Error> {
    let api: Api<Pod> = Api::all(cluster.client());
    let pods =
        api.list(&ListParams::default()).await.map_err(|source| cluster.api_error("list pods".to_owned(), source))?;
    let mut wanted: Vec<Wanted> = pods.items.iter().flat_map(of_pod).collect();
    let discovery = Discovery::new(cluster.client()).run().await;
    let discovery = discovery.map_err(|source| cluster.api_error("discover its kinds".to_owned(), source))?;
    for group in discovery.groups() {
        let kinds = group.recommended_resources().into_iter();
        let listed = kinds.filter(|(_, capabilities)| capabilities.supports_operation(verbs::LIST));
        wanted.extend(listed.map(|(resource, _)| Wanted {
            what: format!("objects of kind {}", resource.kind),
            path: objects_file(&resource),
            question: Question::Objects(resource),
        }));
    }
    Ok(wanted)
}

/// With the group: `events` are there in two.
fn objects_file(resource: &ApiResource) -> String {
    let group = if resource.group.is_empty() { String::new() } else { format!("{}.", resource.group) };
    format!("objects/{}.json", file_name(&format!("{}.{group}{}", resource.plural, resource.version)))
}

fn of_pod(pod: &Pod) -> Vec<Wanted> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let folder = format!("pods/{}.{}", file_name(&namespace), file_name(&name));
    let containers = || pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.clone());
    let mut wanted = Vec::new();
    if is_meshed(pod) {
        wanted.extend(OF_PROXY.iter().map(|(path, file, what)| Wanted {
            what: format!("{what} of the proxy of {namespace}/{name}"),
            path: format!("{folder}/{file}"),
            question: Question::Proxy { namespace: namespace.clone(), pod: name.clone(), path },
        }));
    }
    let restarted = |container: &str| {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses.filter(|status| status.name == container).any(|status| status.restart_count > 0)
    };
    for container in containers() {
        let both = [false, true];
        wanted.extend(both.into_iter().filter(|previous| !previous || restarted(&container)).map(|previous| Wanted {
            what: format!(
                "log of {container} of {namespace}/{name}{}",
                if previous { " before its restart" } else { "" }
            ),
            path: format!("{folder}/{}{}.log", file_name(&container), if previous { ".previous" } else { "" }),
            question: Question::Log {
                namespace: namespace.clone(),
                pod: name.clone(),
                container: container.clone(),
                previous,
            },
        }));
    }
    wanted
}

impl Wanted {
    /// The answer.
    pub(super) async fn content(&self, cluster: &Cluster) -> Result<String, Error> {
        match &self.question {
            Question::Proxy { namespace, pod, path } => proxies::request(cluster, namespace, pod, path).await,
            Question::Log { namespace, pod, container, previous } => {
                let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
                let parameters = LogParams {
                    container: Some(container.clone()),
                    previous: *previous,
                    tail_lines: Some(LOG_LINES),
                    ..LogParams::default()
                };
                let read = api.logs(pod, &parameters).await;
                read.map_err(|source| {
                    cluster.api_error(format!("read the log of {container} of {namespace}/{pod}"), source)
                })
            }
            Question::Objects(resource) => {
                let api: Api<DynamicObject> = Api::all_with(cluster.client(), resource);
                let listed = api.list(&ListParams::default()).await;
                let listed = listed.map_err(|source| cluster.api_error(format!("list {}", resource.plural), source))?;
                Ok(document(resource, listed.items))
            }
        }
    }
}

/// Lists leave the kind out of their items, and redaction needs it.
fn document(resource: &ApiResource, items: Vec<DynamicObject>) -> String {
    let items: Vec<serde_json::Value> = items
        .into_iter()
        .filter_map(|mut item| {
            item.types =
                Some(kube::core::TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
            item.metadata.managed_fields = None;
            serde_json::to_value(item).ok()
        })
        .collect();
    serde_json::json!({ "items": items }).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).expect("a pod")
    }

    #[test]
    fn a_meshed_pod_gives_its_proxy_its_logs_and_the_log_before_a_restart() {
        let pod = pod(json!({
            "metadata": { "name": "reviews-v3-abc", "namespace": "bookinfo" },
            "spec": { "containers": [{ "name": "reviews" }, { "name": "istio-proxy" }] },
            "status": { "containerStatuses": [{ "name": "reviews", "restartCount": 1, "image": "", "imageID": "", "ready": true }] },
        }));
        let paths: Vec<String> = of_pod(&pod).into_iter().map(|wanted| wanted.path).collect();
        let folder = "pods/bookinfo.reviews-v3-abc";
        let files = [
            "config_dump.json",
            "clusters.json",
            "certificates.json",
            "stats.txt",
            "reviews.log",
            "reviews.previous.log",
            "istio-proxy.log",
        ];
        assert_eq!(paths, files.map(|file| format!("{folder}/{file}")));
    }

    #[test]
    fn a_machine_gives_its_proxy_and_the_logs_of_its_programs() {
        let text = include_str!("../../../scenarios/topologies/virtual-machines.yaml");
        let topology = crate::topology::validate::read("virtual-machines.yaml", text).expect("no problems");
        let paths: Vec<String> = of_machine(&topology.vms[0]).into_iter().map(|wanted| wanted.path).collect();
        let files = ["config_dump.json", "clusters.json", "certificates.json", "stats.txt", "proxy.log", "details.log"];
        assert_eq!(paths, files);
    }

    #[test]
    fn kinds_of_one_name_have_a_file_each() {
        let of = |group: &str| ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version: String::new(),
            kind: "Event".into(),
            plural: "events".into(),
        };
        let files = [objects_file(&of("")), objects_file(&of("events.k8s.io"))];
        assert_eq!(files, ["objects/events.v1.json", "objects/events.events.k8s.io.v1.json"]);
    }

    #[test]
    fn items_of_lists_say_their_kind() {
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Secret".into(),
            plural: "secrets".into(),
        };
        let item =
            serde_json::from_value(json!({ "metadata": { "name": "cacerts" }, "data": { "ca-key.pem": "c2VjcmV0" } }))
                .expect("an object");
        let mut list: serde_json::Value = serde_json::from_str(&document(&resource, vec![item])).expect("JSON");
        assert_eq!(list["items"][0]["kind"], "Secret");
        assert!(crate::report::redact::document(&mut list));
        assert!(!list.to_string().contains("c2VjcmV0"));
    }
}
