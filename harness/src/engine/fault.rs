//! Faults as leases: each is written down before it begins, ended by a step or at the end of its group, and looked at
//! whether it has healed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::context::Error;
use super::rollout::{deployments, no_pod, rollout_done, seconds};
use super::runner::{Done, Runner};
use super::{machines, storm, watch};
use crate::links::{self, HealedBy};
use crate::scenario::keys::LinkDirection;
use crate::scenario::plan::{Between, Deployment, Fault, FaultKind};
use crate::topology::Vm;

/// On a Deployment that a fault left without pods: how many it had. Whoever finds it can undo the fault.
pub(crate) const REPLICAS_BEFORE: &str = "meshproof.dev/replicas-before-fault";
/// How long pods may take to be ready again.
const HEALING: Duration = Duration::from_secs(60);

/// Faults of a scenario: those in force, and when each began and was healed.
#[derive(Default)]
pub(super) struct Faults {
    leases: BTreeMap<String, Lease>,
    history: Vec<Seen>,
}

/// When something failed.
pub(super) struct Seen {
    pub(super) step: String,
    pub(super) what: String,
    pub(super) began: SystemTime,
    pub(super) healed: Option<SystemTime>,
}

/// What ends a fault.
enum Lease {
    /// Pods that come back.
    Pods(Pods),
    /// A machine that is started again.
    Machine {
        /// Which.
        vm: Box<Vm>,
        /// Since when it is off.
        since: Instant,
    },
    /// A program of a machine that is started again.
    Program {
        /// The machine.
        vm: Box<Vm>,
        /// Which.
        program: String,
        /// When the machine's connection with the control plane began that it had then.
        connected_at: Option<String>,
        /// Since when it is off.
        since: Instant,
    },
    /// Servers that answer with errors.
    Storm(storm::Raging),
    /// Something of the provider's, which ends with this value, with this process and with its limit.
    Provider(Box<links::Fault>),
}

/// A workload that had so many pods.
struct Pods {
    workload: Deployment,
    replicas: i64,
    since: Instant,
}

impl Faults {
    pub(super) fn history(&self) -> &[Seen] {
        &self.history
    }

    fn begin(&mut self, step: &str, fault: &FaultKind, lease: Lease) {
        self.leases.insert(step.to_owned(), lease);
        let (step, what) = (step.to_owned(), fault.to_string());
        self.history.push(Seen { step, what, began: SystemTime::now(), healed: None });
    }

    fn healed(&mut self, step: &str) {
        if let Some(seen) = self.history.iter_mut().rev().find(|seen| seen.step == step) {
            seen.healed = Some(SystemTime::now());
        }
    }
}

impl Runner<'_> {
    pub(super) async fn fault(&self, step: &str, fault: &Fault) -> Result<Done, Error> {
        match &fault.kind {
            FaultKind::Kill(Deployment { vm: Some(vm), .. }) => self.machine_gone(step, &fault.kind, vm, true).await,
            FaultKind::ScaleToZero(Deployment { vm: Some(vm), .. }) => {
                self.machine_gone(step, &fault.kind, vm, false).await
            }
            FaultKind::KillProgram { machine: Deployment { vm: Some(vm), .. }, program } => {
                self.program_gone(step, &fault.kind, vm, program).await
            }
            FaultKind::Kill(workload) => self.kill(step, &fault.kind, workload).await,
            FaultKind::ScaleToZero(workload) => self.scale_to_zero(step, &fault.kind, workload).await,
            FaultKind::Storm(wanted) => {
                let raging = storm::begin(self.environment, wanted, fault.limit).await?;
                let evidence =
                    format!("{} in {} pods, for {} at most", fault.kind, raging.pods(), seconds(fault.limit));
                self.faults.borrow_mut().begin(step, &fault.kind, Lease::Storm(raging));
                Ok(Done::passed(evidence))
            }
            of_links => {
                let lease = self.of_links(of_links, fault.limit).await?;
                self.faults.borrow_mut().begin(step, of_links, Lease::Provider(Box::new(lease)));
                Ok(Done::passed(format!("{of_links}, for {} at most", seconds(fault.limit))))
            }
        }
    }

    async fn machine_gone(&self, step: &str, kind: &FaultKind, vm: &Vm, by_force: bool) -> Result<Done, Error> {
        let lease = Lease::Machine { vm: Box::new(vm.clone()), since: Instant::now() };
        self.faults.borrow_mut().begin(step, kind, lease);
        self.take_away(vm, by_force).await?;
        Ok(Done::passed(kind.to_string()))
    }

    async fn program_gone(&self, step: &str, kind: &FaultKind, vm: &Vm, program: &str) -> Result<Done, Error> {
        let connected_at = machines::connected_at(self.environment, vm).await?;
        let (vm_of_lease, program_of_lease) = (Box::new(vm.clone()), program.to_owned());
        let lease = Lease::Program { vm: vm_of_lease, program: program_of_lease, connected_at, since: Instant::now() };
        self.faults.borrow_mut().begin(step, kind, lease);
        self.environment.machine(&vm.name)?.kill_program(program).await?;
        Ok(Done::passed(kind.to_string()))
    }

    async fn of_links(&self, kind: &FaultKind, limit: Duration) -> Result<links::Fault, Error> {
        let links = self.environment.links().ok_or_else(|| Error::Lacking(kind.to_string()))?;
        let fault = match kind {
            FaultKind::Cut(between) => links.cut(&link(between), limit).await?,
            FaultKind::Delay { between, by, jitter } => links.delay(&link(between), *by, *jitter, limit).await?,
            FaultKind::Loss { between, percent } => links.loss(&link(between), *percent, limit).await?,
            FaultKind::PauseApiServer(cluster) => links.pause_api_server(cluster, limit).await?,
            FaultKind::Kill(_) | FaultKind::ScaleToZero(_) | FaultKind::KillProgram { .. } | FaultKind::Storm(_) => {
                return Err(Error::Lacking(kind.to_string()));
            }
        };
        Ok(fault)
    }

    async fn kill(&self, step: &str, kind: &FaultKind, workload: &Deployment) -> Result<Done, Error> {
        let cluster = self.environment.cluster(&workload.cluster)?;
        let pods = cluster.pods(&workload.namespace, &workload.selector).await?;
        if pods.is_empty() {
            return Err(no_pod(workload));
        }
        let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(cluster.client(), &workload.namespace);
        let replicas = pods.len() as i64;
        let lease = Lease::Pods(Pods { workload: workload.clone(), replicas, since: Instant::now() });
        self.faults.borrow_mut().begin(step, kind, lease);
        for pod in &pods {
            api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                .await
                .map_err(|source| cluster.api_error(format!("delete Pod {}", pod.name_any()), source))?;
        }
        let names: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
        Ok(Done::passed(format!("killed {} on {}", names.join(", "), workload.cluster)))
    }

    async fn scale_to_zero(&self, step: &str, kind: &FaultKind, workload: &Deployment) -> Result<Done, Error> {
        let cluster = self.environment.cluster(&workload.cluster)?;
        let (api, what) = deployments(cluster, workload).await?;
        let object =
            api.get(&workload.name).await.map_err(|source| cluster.api_error(format!("get {what}"), source))?;
        let replicas = object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        if replicas == 0 {
            return Err(no_pod(workload));
        }
        let lease = Lease::Pods(Pods { workload: workload.clone(), replicas, since: Instant::now() });
        self.faults.borrow_mut().begin(step, kind, lease);
        let change = json!({
            "metadata": { "annotations": { REPLICAS_BEFORE: replicas.to_string() } },
            "spec": { "replicas": 0 },
        });
        self.patch_deployment(workload, change).await?;
        self.rolled_out(workload, 0, HEALING).await?;
        Ok(Done::passed(format!("{workload} had {replicas} pods and has none")))
    }

    /// Ends a fault and waits until its pods are ready. One that was healed before is not healed again.
    pub(super) async fn heal(&self, step: &str) -> Result<Done, Error> {
        let Some(lease) = self.faults.borrow_mut().leases.remove(step) else {
            let began = self.faults.borrow().history.iter().any(|seen| seen.step == step);
            let words = if began { "it has been healed before" } else { "it did not begin" };
            return Ok(Done::passed(words));
        };
        let evidence = match lease {
            Lease::Pods(pods) => self.pods_are_back(&pods).await?,
            Lease::Machine { vm, since } => {
                // Whatever it takes until it serves again is what a fail-back is measured by.
                let healed = || self.faults.borrow_mut().healed(step);
                let began = machines::started(self.environment, &vm, HEALING, healed).await?;
                return Ok(Done::passed(format!("{began}; the fault lasted {}", seconds(since.elapsed()))));
            }
            Lease::Program { vm, program, connected_at, since } => {
                let healed = || self.faults.borrow_mut().healed(step);
                let before = connected_at.as_deref();
                let began = machines::program_started(self.environment, &vm, &program, before, HEALING, healed).await?;
                return Ok(Done::passed(format!("{began}; the fault lasted {}", seconds(since.elapsed()))));
            }
            Lease::Storm(storm) => storm.end().await?,
            Lease::Provider(fault) => {
                let healing = fault.heal().await?;
                let lasted = seconds(Duration::from_millis(healing.lasted_milliseconds));
                let by_itself = if healing.by == HealedBy::Request { "" } else { "; it had ended before it was to" };
                format!("{}; it lasted {lasted} and touched {}{by_itself}", healing.evidence, healing.touched)
            }
        };
        self.faults.borrow_mut().healed(step);
        Ok(Done::passed(evidence))
    }

    async fn pods_are_back(&self, pods: &Pods) -> Result<String, Error> {
        let back = json!({
            "metadata": { "annotations": { REPLICAS_BEFORE: null } },
            "spec": { "replicas": pods.replicas },
        });
        self.patch_deployment(&pods.workload, back).await?;
        self.rolled_out(&pods.workload, pods.replicas, HEALING).await?;
        let lasted = seconds(pods.since.elapsed());
        Ok(format!("{} has {} ready pods again; the fault lasted {lasted}", pods.workload, pods.replicas))
    }
}

fn link(between: &Between) -> links::Link {
    let direction = match between.direction {
        LinkDirection::Both => links::Direction::Both,
        LinkDirection::Forward => links::Direction::OneWay,
    };
    links::Link { from: between.from.clone(), to: between.to.clone(), direction }
}

/// Undoes faults that a run left which was killed, waits until their pods are ready, and names what they were about.
///
/// # Errors
/// Where a cluster cannot be asked, or pods do not come back.
pub(crate) async fn heal_left(cluster: &crate::cluster::Cluster) -> Result<Vec<String>, Error> {
    let resource = kube::api::ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
    let all: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
    let listed = all
        .list(&kube::api::ListParams::default())
        .await
        .map_err(|source| cluster.api_error("list Deployments".to_owned(), source))?;
    let mut healed = Vec::new();
    for object in listed.items {
        let Some(replicas) = object.annotations().get(REPLICAS_BEFORE).and_then(|text| text.parse::<i64>().ok()) else {
            continue;
        };
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client(), &namespace, &resource);
        let back = json!({
            "metadata": { "annotations": { REPLICAS_BEFORE: null } }, "spec": { "replicas": replicas },
        });
        api.patch(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(back))
            .await
            .map_err(|source| cluster.api_error(format!("patch Deployment {namespace}/{name}"), source))?;
        let workload = format!("{namespace}/{name} of {}", cluster.name());
        match watch::until(api, &name, HEALING, |object| rollout_done(object, replicas)).await {
            Ok(_) => healed.push(workload),
            Err(watch::Error::TimedOut { waited, last }) => {
                return Err(Error::NotRolledOut { workload, waited: seconds(waited), last });
            }
            Err(watch::Error::Watch(source)) => {
                return Err(cluster.api_error(format!("watch Deployment {workload}"), source).into());
            }
        }
    }
    Ok(healed)
}
