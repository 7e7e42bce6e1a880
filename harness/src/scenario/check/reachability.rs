//! Measurements of who reaches whom: that every source and service is there, and that every exception is about a pair.

use std::collections::BTreeSet;
use std::time::Duration;

use super::context::Context;
use super::expect::Measurement;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{ExpectFile, ReachabilityFile, ReachableFile, ServiceFile, SideFile};
use crate::scenario::plan::{Exception, Reachability, Side, Target};
use crate::topology::Workload;
use crate::traffic::probe::Protocol;

/// Default of `reachability.timeout`.
const TIMEOUT: Duration = Duration::from_secs(2);

impl Context<'_> {
    /// `step` is the path of the whole step, beside whose `reachability` stands `expect`.
    pub(super) fn reachability(
        &mut self,
        step: &Path,
        file: &ReachabilityFile,
        expect: Option<&[ExpectFile]>,
    ) -> Option<Reachability> {
        let path = step.key("reachability");
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), TIMEOUT);
        let from = self.sources(&path, file);
        let to = self.targets_of(&path, file);
        let expect_path = step.key("expect");
        let expectations = self.expectations(&expect_path, expect, Measurement::Reachability);
        let reachability = Reachability { from: from?, to: to?, timeout, expectations };
        self.exceptions_are_pairs(&expect_path, expect.unwrap_or_default(), &reachability);
        Some(reachability)
    }

    fn sources(&mut self, path: &Path, file: &ReachabilityFile) -> Option<Vec<Workload>> {
        if file.from.is_empty() {
            let clients: Vec<Workload> =
                self.workloads.iter().filter(|one| one.sidecar && one.port.is_none()).cloned().collect();
            if clients.is_empty() {
                let message =
                    format!("topology {} has no client with a sidecar, such as probe or sleep", self.topology.name);
                self.key_error(path, message).help("say with `from` which workloads send");
            }
            return (!clients.is_empty()).then_some(clients);
        }
        let named = file.from.iter().enumerate();
        named.map(|(index, one)| self.workload(&path.key("from").index(index), one)).collect()
    }

    fn targets_of(&mut self, path: &Path, file: &ReachabilityFile) -> Option<Vec<Target>> {
        if file.to.is_empty() {
            let services = self.workloads.iter().filter(|one| one.sidecar && one.port.is_some());
            let services: BTreeSet<(String, String)> =
                services.map(|one| (one.app.clone(), one.namespace.clone())).collect();
            return services
                .into_iter()
                .map(|(service, namespace)| {
                    let port = None;
                    let file = ServiceFile { service, namespace: Some(namespace), port, protocol: Protocol::default() };
                    self.target(path, &file)
                })
                .collect();
        }
        let named = file.to.iter().enumerate();
        named.map(|(index, one)| self.target(&path.key("to").index(index), one)).collect()
    }

    fn target(&mut self, path: &Path, file: &ServiceFile) -> Option<Target> {
        let serving: Vec<Workload> = self.workloads.iter().filter(|one| one.port.is_some()).cloned().collect();
        let named: Vec<&Workload> = serving.iter().filter(|one| one.app == file.service).collect();
        if named.is_empty() {
            let message = format!("topology {} has no Service `{}`", self.topology.name, file.service);
            let known: BTreeSet<&str> = serving.iter().map(|one| one.app.as_str()).collect();
            self.error(&path.key("service"), message).help(suggest::help(&file.service, known));
            return None;
        }
        let namespaces: BTreeSet<&str> = named.iter().map(|one| one.namespace.as_str()).collect();
        let namespace = match &file.namespace {
            Some(namespace) if namespaces.contains(namespace.as_str()) => namespace.clone(),
            Some(namespace) => {
                let message = format!("namespace `{namespace}` has no Service `{}`", file.service);
                self.error(&path.key("namespace"), message).help(suggest::help(namespace, namespaces));
                return None;
            }
            None if namespaces.len() == 1 => namespaces.first().copied().unwrap_or_default().to_owned(),
            None => {
                let all = namespaces.into_iter().collect::<Vec<_>>().join(" and ");
                self.error(&path.key("service"), format!("several namespaces have a Service `{}`", file.service))
                    .help(format!("say which with `namespace`: {all}"));
                return None;
            }
        };
        let workloads: Vec<&Workload> = named.into_iter().filter(|one| one.namespace == namespace).collect();
        let clusters: BTreeSet<&String> = workloads.iter().map(|one| &one.cluster).collect();
        Some(Target {
            service: file.service.clone(),
            namespace,
            port: file.port.or_else(|| workloads.first()?.port)?,
            protocol: file.protocol,
            requests: Target::requests_for(workloads.len()),
            clusters: clusters.into_iter().cloned().collect(),
        })
    }

    /// An exception that is about nothing is a slip of the pen.
    pub(super) fn exceptions_are_pairs(&mut self, path: &Path, files: &[ExpectFile], matrix: &Reachability) {
        for (index, file) in files.iter().enumerate() {
            let Some(reachable) = &file.reachable else { continue };
            let path = path.index(index).key("reachable").key("except");
            for (index, exception) in exceptions(reachable).iter().enumerate() {
                let covers =
                    |from: &Workload| matrix.destinations().any(|(target, to)| exception.covers(from, target, to));
                if !matrix.from.iter().any(covers) {
                    self.error(&path.index(index), format!("nothing is measured {exception}"))
                        .help("an exception is about a source and a destination of this step");
                }
            }
        }
    }
}

pub(super) fn exceptions(file: &ReachableFile) -> Vec<Exception> {
    let side = |side: &SideFile| Side {
        cluster: side.cluster.clone(),
        namespace: side.namespace.clone(),
        name: side.name.clone(),
        port: side.port,
    };
    file.except.iter().map(|pair| Exception { from: side(&pair.from), to: side(&pair.to) }).collect()
}
