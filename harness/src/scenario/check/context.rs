//! What the checks of a scenario share: the document, the topology, the problems so far, and look-ups that report.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ReadFile;
use crate::diagnostic::tree::Path;
use crate::diagnostic::{Document, Problem, Problems, Severity, suggest};
use crate::scenario::file::{GatewayFile, ScenarioFile, WorkloadFile};
use crate::scenario::keys;
use crate::scenario::plan::{FaultKind, Gateway, Step};
use crate::topology::{Topology, Vm, Workload, validate};

use super::convergence::Pending;

pub(super) struct Context<'input> {
    pub(super) document: &'input Document,
    pub(super) topology: &'input Topology,
    pub(super) files: &'input dyn ReadFile,
    pub(super) workloads: Vec<Workload>,
    pub(super) problems: Problems,
    /// Places of the file that do not fit its schema, and were taken out. What is said about them follows from that.
    pub(super) damaged: Vec<Path>,
    /// What is not worth saying: it follows from something that is said.
    unsaid: Problems,
    /// Steps with expectations so far, for controls to repeat.
    pub(super) measured: Vec<Step>,
    /// Faults so far, by the names of their steps.
    pub(super) faults: Vec<(String, FaultKind)>,
    /// Traffic that runs in the background, and its rate.
    pub(super) running: BTreeMap<String, u32>,
    /// Names of steps that measure, but of which no expectation could be read.
    pub(super) unmeasured: Vec<String>,
    /// Names given so far and where.
    pub(super) names: BTreeMap<String, Path>,
    /// What was changed and not yet waited for.
    pub(super) pending: Pending,
}

impl<'input> Context<'input> {
    pub(super) fn new(document: &'input Document, topology: &'input Topology, files: &'input dyn ReadFile) -> Self {
        Self {
            document,
            topology,
            files,
            workloads: topology.workloads(),
            problems: Problems::none(),
            damaged: Vec::new(),
            unsaid: Problems::none(),
            measured: Vec::new(),
            faults: Vec::new(),
            running: BTreeMap::new(),
            unmeasured: Vec::new(),
            names: BTreeMap::new(),
            pending: Pending::default(),
        }
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems
    }

    pub(super) fn error(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        let problem = self.document.problem(Severity::Error, path, message);
        self.said_about(path).add(problem)
    }

    pub(super) fn key_error(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        let problem = self.document.problem_with_key(Severity::Error, path, message);
        self.said_about(path).add(problem)
    }

    /// An error that would also arise from a step that is missing: not said of a file of which something was taken out.
    pub(super) fn sequel(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        let problem = self.document.problem(Severity::Error, path, message);
        if self.damaged.is_empty() { self.problems.add(problem) } else { self.unsaid.add(problem) }
    }

    fn said_about(&mut self, path: &Path) -> &mut Problems {
        if self.damaged.iter().any(|damaged| path.starts_with(damaged)) { &mut self.unsaid } else { &mut self.problems }
    }

    pub(super) fn warn(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.problems.add(self.document.problem(Severity::Warning, path, message))
    }

    /// What stands at the head of the file.
    pub(super) fn scenario(&mut self, file: &ScenarioFile) {
        let root = Path::root();
        for (path, name) in [(root.key("name"), &file.name)] {
            if let Err(help) = validate::dns_label(name) {
                self.error(&path, format!("`{name}` is no valid name")).help(help);
            }
        }
        for (index, tag) in file.tags.iter().enumerate() {
            if let Err(help) = validate::dns_label(tag) {
                self.error(&root.key("tags").index(index), format!("`{tag}` is no valid tag")).help(help);
            }
        }
        if file.steps.is_empty() {
            self.error(&root.key("steps"), "a scenario without steps proves nothing");
        }
    }

    pub(super) fn clusters(&mut self, path: &Path, names: &[String]) -> Vec<String> {
        if names.is_empty() {
            self.error(path, "no clusters are named").help("add `clusters: [...]`");
        }
        for (index, name) in names.iter().enumerate() {
            self.cluster(&path.index(index), name);
            if names[..index].contains(name) {
                self.error(&path.index(index), format!("cluster `{name}` is named twice"));
            }
        }
        names.to_vec()
    }

    pub(super) fn cluster(&mut self, path: &Path, name: &str) -> bool {
        let known: Vec<String> = self.topology.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        if known.iter().any(|cluster| cluster == name) {
            return true;
        }
        let topology = self.topology.name.clone();
        self.error(path, format!("topology {topology} has no cluster `{name}`"))
            .help(suggest::help(name, known.iter().map(String::as_str)));
        false
    }

    /// The workload that a file names; a problem where there is none or more than one.
    pub(super) fn workload(&mut self, path: &Path, file: &WorkloadFile) -> Option<Workload> {
        if let Some(name) = &file.vm {
            return self.machine(path, name, file).map(|vm| vm.workload());
        }
        for (key, value) in [("cluster", &file.cluster), ("workload", &file.workload)] {
            if value.is_empty() {
                self.error(path, format!("`{key}` is missing"))
                    .help("a workload is named by `cluster` and `workload`, a virtual machine by `vm`");
                return None;
            }
        }
        if !self.cluster(&path.key("cluster"), &file.cluster) {
            return None;
        }
        let on_cluster: Vec<Workload> =
            self.workloads.iter().filter(|workload| workload.cluster == file.cluster).cloned().collect();
        let named: Vec<&Workload> = on_cluster.iter().filter(|workload| workload.name == file.workload).collect();
        if named.is_empty() {
            self.unknown_workload(path, file, &on_cluster);
            return None;
        }
        let namespace_fits =
            |workload: &&&Workload| file.namespace.as_ref().is_none_or(|wanted| *wanted == workload.namespace);
        let namespaces: Vec<&str> = named.iter().map(|workload| workload.namespace.as_str()).collect();
        match named.iter().filter(namespace_fits).collect::<Vec<_>>().as_slice() {
            [only] => Some((**only).clone()),
            [] => {
                let wanted = file.namespace.clone().unwrap_or_default();
                self.error(
                    &path.key("namespace"),
                    format!("namespace `{wanted}` of {} has no workload `{}`", file.cluster, file.workload),
                )
                .help(suggest::help(&wanted, namespaces));
                None
            }
            [..] => {
                let all = namespaces.join(" and ");
                self.error(
                    &path.key("workload"),
                    format!("several namespaces of {} have a workload `{}`", file.cluster, file.workload),
                )
                .help(format!("say which with `namespace`: {all}"));
                None
            }
        }
    }

    fn machine(&mut self, path: &Path, name: &str, file: &WorkloadFile) -> Option<Vm> {
        if !file.cluster.is_empty() || !file.workload.is_empty() || file.namespace.is_some() {
            self.error(&path.key("vm"), "a virtual machine is named by `vm` alone").help("leave out what is beside it");
            return None;
        }
        let found = self.topology.vm(name).cloned();
        if found.is_none() {
            let message = format!("topology {} has no virtual machine `{name}`", self.topology.name);
            let known: Vec<&str> = self.topology.vms.iter().map(|vm| vm.name.as_str()).collect();
            let help = suggest::help(name, known);
            self.error(&path.key("vm"), message).help(help);
        }
        found
    }

    /// Clusters and virtual machines, which are where answers come from.
    pub(super) fn places(&mut self, path: &Path, names: &[String]) -> Vec<String> {
        let clusters: Vec<String> = names.iter().filter(|name| self.topology.vm(name).is_none()).cloned().collect();
        if names.is_empty() || clusters.len() == names.len() {
            return self.clusters(path, names);
        }
        for (index, name) in names.iter().enumerate() {
            if clusters.contains(name) {
                self.cluster(&path.index(index), name);
            }
            if names[..index].contains(name) {
                self.error(&path.index(index), format!("`{name}` is named twice"));
            }
        }
        names.to_vec()
    }

    fn unknown_workload(&mut self, path: &Path, file: &WorkloadFile, on_cluster: &[Workload]) {
        let elsewhere = self.workloads.iter().find(|workload| workload.name == file.workload);
        let help = match elsewhere {
            Some(workload) => format!("it runs on {}", workload.cluster),
            None => suggest::help(&file.workload, on_cluster.iter().map(|workload| workload.name.as_str())),
        };
        self.error(&path.key("workload"), format!("cluster {} has no workload `{}`", file.cluster, file.workload))
            .help(help);
    }

    pub(super) fn gateway(&mut self, path: &Path, file: &GatewayFile) -> Gateway {
        self.cluster(&path.key("cluster"), &file.cluster);
        if !self.topology.mesh.gateways.contains(&file.gateway) {
            let message = format!("topology {} has no gateway `{}`", self.topology.name, file.gateway.deployment());
            self.error(&path.key("gateway"), message).help("add it to `mesh.gateways` of the topology");
        }
        Gateway { cluster: file.cluster.clone(), kind: file.gateway }
    }

    pub(super) fn duration(&mut self, path: &Path, text: Option<&str>, default: Duration) -> Duration {
        let Some(text) = text else { return default };
        match keys::parse_duration(text) {
            Ok(duration) if duration.is_zero() => {
                self.error(path, "a duration of zero leaves no time");
                default
            }
            Ok(duration) => duration,
            Err(error) => {
                self.error(path, error.to_string());
                default
            }
        }
    }
}
