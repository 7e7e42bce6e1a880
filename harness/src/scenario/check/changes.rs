//! Steps that change single objects and workloads, or wait for them.

use std::time::Duration;

use jsonpath_rust::parser::parse_json_path;
use mesh_types::hub::names;
use serde_json::Value;

use super::context::Context;
use crate::cluster::PROXY_CONTAINER;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::expression::Subject;
use crate::scenario::file::{ExecFile, OnboardFile, PatchFile, RestartFile, ScaleFile, WaitFile, WorkloadFile};
use crate::scenario::plan::{Change, Deployment, Exec, ObjectRef, Onboard, Patch, Replace, Scale, Until, Wait};
use crate::topology::{GatewayKind, Vm, vm};

/// Default of `timeout` where pods come and go.
const ROLLOUT_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of `exec.timeout`.
const EXEC_TIMEOUT: Duration = Duration::from_secs(10);
/// Namespace of the control plane and the gateways.
const MESH_NAMESPACE: &str = "istio-system";
/// The control plane's Deployment.
const CONTROL_PLANE: &str = "istiod";

impl Context<'_> {
    /// The Deployment that a file names: a workload of the topology, a gateway or the control plane.
    pub(super) fn deployment(&mut self, path: &Path, file: &WorkloadFile) -> Option<Deployment> {
        if file.vm.is_none() && !file.cluster.is_empty() && !self.cluster(&path.key("cluster"), &file.cluster) {
            return None;
        }
        if file.namespace.as_deref().is_none_or(|namespace| namespace == MESH_NAMESPACE)
            && let Some(part) = self.part_of_mesh(file)
        {
            return Some(part);
        }
        if file.namespace.as_deref().is_none_or(|namespace| namespace == names::NAMESPACE)
            && let Some(part) = self.part_of_plane(file)
        {
            return Some(part);
        }
        let workload = self.workload(path, file)?;
        Some(Deployment {
            selector: workload.selector(),
            served: workload.port.is_some(),
            cluster: workload.cluster,
            namespace: workload.namespace,
            name: workload.name,
            container: workload.container,
            vm: workload.vm,
        })
    }

    fn part_of_mesh(&self, file: &WorkloadFile) -> Option<Deployment> {
        if file.vm.is_some() {
            return None;
        }
        let is_remote = self.topology.cluster(&file.cluster).is_some_and(|cluster| cluster.control_plane.is_some());
        let (selector, container) = if file.workload == CONTROL_PLANE {
            if is_remote {
                return None;
            }
            ("app=istiod", "discovery")
        } else {
            let kind = self.topology.mesh.gateways.iter().find(|kind| kind.deployment() == file.workload)?;
            (gateway_selector(*kind), PROXY_CONTAINER)
        };
        Some(Deployment {
            cluster: file.cluster.clone(),
            namespace: MESH_NAMESPACE.to_owned(),
            name: file.workload.clone(),
            selector: selector.to_owned(),
            container: container.to_owned(),
            served: false,
            vm: None,
        })
    }

    /// The manager on the management cluster, or the agent on another.
    fn part_of_plane(&self, file: &WorkloadFile) -> Option<Deployment> {
        let management = self.topology.management.as_ref()?;
        let meshed = self.topology.meshed().any(|cluster| cluster.name == file.cluster);
        let (selector, container) = match file.workload.as_str() {
            names::MANAGER if file.cluster == management.cluster => {
                ("app.kubernetes.io/name=meshproof-hub-manager", "manager")
            }
            names::AGENT if meshed => ("app.kubernetes.io/name=meshproof-hub-agent", "agent"),
            _ => return None,
        };
        Some(Deployment {
            cluster: file.cluster.clone(),
            namespace: names::NAMESPACE.to_owned(),
            name: file.workload.clone(),
            selector: selector.to_owned(),
            container: container.to_owned(),
            served: false,
            vm: None,
        })
    }

    pub(super) fn patch(&mut self, path: &Path, file: &PatchFile) -> Option<Patch> {
        let clusters = self.clusters(&path.key("clusters"), &file.clusters);
        let change = match (&file.merge, &file.json) {
            (Some(merge), None) => Some(Change::Merge(Value::Object(merge.clone()))),
            (None, Some(operations)) => self.operations(&path.key("json"), operations).map(Change::Json),
            (None, None) => {
                self.key_error(path, "nothing is changed").help("add `merge` or `json`");
                None
            }
            (Some(_), Some(_)) => {
                self.key_error(&path.key("json"), "a patch has either `merge` or `json`, not both")
                    .help("make it two steps");
                None
            }
        };
        let object = file.object.reference();
        for cluster in &clusters {
            self.pending.applied(cluster, object.clone());
        }
        Some(Patch { clusters, object, change: change? })
    }

    fn operations(&mut self, path: &Path, operations: &[Value]) -> Option<json_patch::Patch> {
        if operations.is_empty() {
            self.key_error(path, "this patch has no operations");
        }
        let mut checked = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            match serde_json::from_value(operation.clone()) {
                Ok(operation) => checked.push(operation),
                Err(error) => {
                    self.error(&path.index(index), format!("this is no operation of a JSON patch: {error}"))
                        .help("such as `{op: replace, path: /spec/replicas, value: 2}`");
                }
            }
        }
        (checked.len() == operations.len()).then_some(json_patch::Patch(checked))
    }

    pub(super) fn scale(&mut self, path: &Path, file: &ScaleFile) -> Option<Scale> {
        let named = WorkloadFile {
            cluster: file.cluster.clone(),
            workload: file.workload.clone(),
            namespace: file.namespace.clone(),
            vm: file.vm.clone(),
        };
        let workload = self.deployment(path, &named);
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), ROLLOUT_TIMEOUT);
        let workload = workload?;
        if workload.vm.is_some() && file.replicas > 1 {
            self.error(&path.key("replicas"), format!("a virtual machine is there once, not {} times", file.replicas))
                .help("0 stops it, 1 starts it");
        }
        if file.replicas == 0 {
            self.pods_go(&workload)
        } else {
            self.pods_change(&workload)
        }
        Some(Scale { workload, replicas: file.replicas, timeout })
    }

    pub(super) fn replace(&mut self, path: &Path, file: &RestartFile, by_force: bool) -> Option<Replace> {
        let named = WorkloadFile {
            cluster: file.cluster.clone(),
            workload: file.workload.clone(),
            namespace: file.namespace.clone(),
            vm: file.vm.clone(),
        };
        let workload = self.deployment(path, &named);
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), ROLLOUT_TIMEOUT);
        let workload = workload?;
        self.pods_change(&workload);
        Some(Replace { workload, by_force, timeout })
    }

    pub(super) fn onboard(&mut self, path: &Path, file: &OnboardFile) -> Option<Onboard> {
        let named = WorkloadFile { vm: Some(file.vm.clone()), ..WorkloadFile::default() };
        let machine = self.deployment(path, &named)?;
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), ROLLOUT_TIMEOUT);
        self.pods_change(&machine);
        Some(Onboard { vm: machine.vm?, token: file.token, certificate: file.certificate, timeout })
    }

    /// Every control plane may know the pods: what each of them must hold is looked up when it is waited for.
    pub(super) fn pods_change(&mut self, workload: &Deployment) {
        for cluster in self.topology.primaries() {
            self.pending.replaced(&cluster.name, workload);
        }
    }

    pub(super) fn exec(&mut self, path: &Path, file: &ExecFile) -> Option<Exec> {
        let within = self.deployment(&path.key("in"), &file.within);
        if file.command.first().is_none_or(String::is_empty) {
            self.error(&path.key("command"), "no program is named");
        }
        if !(0..=255).contains(&file.exit_code) {
            self.error(&path.key("exitCode"), format!("{} is no exit code", file.exit_code))
                .help("exit codes are 0 to 255");
        }
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), EXEC_TIMEOUT);
        let within = within?;
        let container = file.container.clone().unwrap_or_else(|| within.container.clone());
        if let Some(vm) = &within.vm {
            self.program(&path.key("container"), vm, &container);
        }
        let (command, contains) = (file.command.clone(), file.contains.clone());
        Some(Exec { within, container, command, exit_code: file.exit_code, contains, timeout })
    }

    pub(super) fn program(&mut self, path: &Path, vm: &Vm, program: &str) {
        let known: Vec<&str> =
            std::iter::once(vm::PROXY).chain(vm.programs.iter().map(|program| program.name.as_str())).collect();
        if !known.contains(&program) {
            self.error(path, format!("virtual machine {} has no program `{program}`", vm.name))
                .help(suggest::help(program, known.iter().copied()));
        }
    }

    pub(super) fn wait(&mut self, path: &Path, file: &WaitFile) -> Option<Wait> {
        self.cluster(&path.key("cluster"), &file.cluster);
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), ROLLOUT_TIMEOUT);
        let until = self.until(path, file)?;
        Some(Wait { cluster: file.cluster.clone(), object: file.object.reference(), until, timeout })
    }

    fn until(&mut self, path: &Path, file: &WaitFile) -> Option<Until> {
        let given = [
            ("condition", file.condition.is_some()),
            ("path", file.path.is_some()),
            ("cel", file.cel.is_some()),
            ("exists", file.exists.is_some()),
            ("gone", file.gone.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter_map(|(word, there)| there.then_some(word)).collect();
        let [word] = given.as_slice() else {
            let all = "`condition`, `path`, `cel`, `exists` or `gone`";
            let message = if given.is_empty() { "nothing is waited for" } else { "this waits for more than one thing" };
            self.key_error(path, message).help(format!("write one of {all}"));
            return None;
        };
        if file.exists == Some(false) || file.gone == Some(false) {
            let other = if *word == "exists" { "gone" } else { "exists" };
            self.error(&path.key(*word), format!("`{word}: false` waits for nothing"))
                .help(format!("write `{other}: true`"));
        }
        if file.equals.is_some() && file.path.is_none() {
            self.key_error(&path.key("equals"), format!("`equals` belongs to `path`, not to `{word}`"));
        }
        if let Some(condition) = &file.condition {
            self.condition_status(&path.key("condition").key("status"), &condition.status);
            return Some(Until::Condition { kind: condition.kind.clone(), status: condition.status.clone() });
        }
        if let Some(text) = &file.path {
            return self.json_path(&path.key("path"), text, file.equals.clone());
        }
        if let Some(text) = &file.cel {
            let text = self.expression_over(&path.key("cel"), text, Subject::Object)?;
            return Some(Until::Expression { text });
        }
        Some(if *word == "gone" { Until::Gone } else { Until::Exists })
    }

    fn condition_status(&mut self, path: &Path, status: &str) {
        let known = ["True", "False", "Unknown"];
        if !known.contains(&status) {
            self.error(path, format!("`{status}` is no status of a condition")).help(suggest::help(status, known));
        }
    }

    fn json_path(&mut self, path: &Path, text: &str, equals: Option<Value>) -> Option<Until> {
        let query = rooted(text);
        if let Err(error) = parse_json_path(&query) {
            let message = error.to_string();
            let cause = message.lines().last().unwrap_or_default().trim().trim_start_matches("= ").to_owned();
            self.error(path, format!("`{text}` is no JSONPath: {cause}")).help("such as `{.status.readyReplicas}`");
            return None;
        }
        Some(Until::Path { path: query, equals })
    }
}

/// The RFC's spelling of a path in kubectl's: `{.status.phase}` is `$.status.phase`.
fn rooted(text: &str) -> String {
    let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
    if inner.starts_with('$') { inner.to_owned() } else { format!("${inner}") }
}

/// Selects the pods of a gateway.
fn gateway_selector(kind: GatewayKind) -> &'static str {
    match kind {
        GatewayKind::Ingress => "istio=ingressgateway",
        GatewayKind::Eastwest => "istio=eastwestgateway",
    }
}

impl crate::scenario::file::ObjectFile {
    fn reference(&self) -> ObjectRef {
        ObjectRef {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}
