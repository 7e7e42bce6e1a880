//! Whom to restart next for new roots: the steps of a WorkloadRestart in order, each begun when the one before is rolled out. Pure.

#[cfg(test)]
mod tests;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use mesh_types::hub::Object;
use mesh_types::hub::certificate::{
    IssueState, IssuedCertificateStatus, RestartStep, WorkloadRestart, WorkloadRestartStatus,
};

use crate::certificate::time;
use crate::trust::{ProxyPod, Trust, is_older};

pub use workload::{Rollout, WorkloadKind, daemon_set, deployment, stateful_set};

/// A controller of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Labels by which it selects its pods.
    pub selector: BTreeMap<String, String>,
    /// [`Trust::digest`] that it was restarted for.
    pub restarted_for: Option<String>,
    /// How far its pods are.
    pub rollout: Rollout,
}

impl Controller {
    /// `Deployment bookinfo/reviews-v1`.
    fn title(&self) -> String {
        format!("{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}

/// A pod, with or without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// What is known of it.
    pub pod: ProxyPod,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a proxy.
    pub proxy: bool,
}

/// What a decision depends on.
pub struct Inputs<'a> {
    /// What is wanted.
    pub wanted: &'a Object<WorkloadRestart>,
    /// How far the certificate is.
    pub certificate: &'a IssuedCertificateStatus,
    /// When the control plane's Secret was written last.
    pub installed: Option<SystemTime>,
    /// Controllers of all namespaces.
    pub controllers: &'a [Controller],
    /// Pods of all namespaces.
    pub pods: &'a [Pod],
}

/// A controller to restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// [`Trust::digest`] that it is restarted for.
    pub trust: String,
}

/// What to do and what to report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Controllers to restart now.
    pub patches: Vec<Patch>,
    /// The status.
    pub status: WorkloadRestartStatus,
}

/// Decides.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    let trust = Trust(inputs.certificate.trusted_roots.clone());
    let before = &inputs.wanted.status;
    let known = Trust(before.trusted_roots.clone());
    let mut status = WorkloadRestartStatus {
        observed_generation: inputs.wanted.metadata.generation.unwrap_or_default(),
        root_fingerprint: trust.root().to_owned(),
        trusted_roots: trust.0.clone(),
        ..WorkloadRestartStatus::default()
    };
    let nothing = |status| Decision { patches: Vec::new(), status };
    let in_force = matches!(inputs.certificate.state, IssueState::Issued | IssueState::Finished);
    if trust.0.is_empty() || !in_force {
        status = before.clone();
        status.observed_generation = inputs.wanted.metadata.generation.unwrap_or_default();
        return nothing(status);
    }
    if known.serves(&trust) {
        status.steps_done = before.steps_done;
        status.state = before.state;
    }
    if status.state == IssueState::Finished {
        return nothing(status);
    }
    carry_on(inputs, &trust, status)
}

/// Goes on where the steps stand, as far as possible without waiting.
fn carry_on(inputs: &Inputs<'_>, trust: &Trust, mut status: WorkloadRestartStatus) -> Decision {
    let steps = &inputs.wanted.spec.steps;
    loop {
        let done = usize::try_from(status.steps_done).unwrap_or(usize::MAX);
        let Some(step) = steps.get(done) else {
            status.state = IssueState::Finished;
            return Decision { patches: Vec::new(), status };
        };
        match (Targets { inputs, trust, step, earlier: &steps[..done] }).next() {
            Next::Done => status.steps_done += 1,
            Next::Restart(patches) => {
                status.error = format!("step {} of {}: restarting {} workloads", done + 1, steps.len(), patches.len());
                return Decision { patches, status };
            }
            Next::Wait(reason) => {
                status.error = format!("step {} of {}: {reason}", done + 1, steps.len());
                return Decision { patches: Vec::new(), status };
            }
        }
    }
}

enum Next {
    Done,
    Restart(Vec<Patch>),
    Wait(String),
}

/// The workloads of a step.
struct Targets<'a> {
    inputs: &'a Inputs<'a>,
    trust: &'a Trust,
    step: &'a RestartStep,
    earlier: &'a [RestartStep],
}

impl Targets<'_> {
    fn next(&self) -> Next {
        let Some(since) = self.since() else {
            return Next::Wait(self.inputs.certificate.error.clone());
        };
        let controllers = self.controllers();
        let stale = controllers.iter().filter(|controller| self.is_stale(controller, since));
        let patches: Vec<Patch> = stale
            .map(|controller| Patch {
                kind: controller.kind,
                namespace: controller.namespace.clone(),
                name: controller.name.clone(),
                trust: self.trust.digest(),
            })
            .collect();
        if !patches.is_empty() {
            return Next::Restart(patches);
        }
        // What was restarted for this, by whom ever, has to be there before the next step begins.
        let restarted = controllers.iter().filter(|one| one.restarted_for.as_ref() == Some(&self.trust.digest()));
        let unfinished = restarted.filter_map(|one| Some((one, one.rollout.missing()?))).next();
        match unfinished {
            Some((controller, missing)) => Next::Wait(format!("waiting for {}: {missing}", controller.title())),
            None => Next::Done,
        }
    }

    /// Since when a new pod of this step runs with the roots; nothing where they have not arrived.
    fn since(&self) -> Option<SystemTime> {
        match self.step.after_root_in {
            // Whoever reads the Secret itself has it from the moment in which it is written.
            None => self.inputs.installed,
            Some(_) => self.inputs.certificate.trusted_since.as_deref().and_then(time),
        }
    }

    fn controllers(&self) -> Vec<&Controller> {
        let named: BTreeSet<(&str, &str)> =
            self.pods().map(|pod| (pod.pod.namespace.as_str(), pod.pod.name.as_str())).collect();
        let has_pods = |controller: &&Controller| {
            self.pods_of(controller).any(|pod| named.contains(&(pod.pod.namespace.as_str(), pod.pod.name.as_str())))
        };
        self.inputs.controllers.iter().filter(has_pods).collect()
    }

    /// The pods of this step that are not of an earlier one.
    fn pods(&self) -> impl Iterator<Item = &Pod> {
        let earlier = |pod: &&Pod| !self.earlier.iter().any(|step| is_of(pod, step));
        self.inputs.pods.iter().filter(|pod| is_of(pod, self.step)).filter(earlier)
    }

    fn pods_of<'a>(&'a self, controller: &'a Controller) -> impl Iterator<Item = &'a Pod> {
        let selected = move |pod: &&Pod| {
            pod.pod.namespace == controller.namespace
                && !controller.selector.is_empty()
                && is_within(&controller.selector, &pod.labels)
        };
        self.inputs.pods.iter().filter(selected)
    }

    /// Whether a pod of it may run with older roots, and it was not restarted for these yet.
    fn is_stale(&self, controller: &Controller, since: SystemTime) -> bool {
        controller.restarted_for.as_ref() != Some(&self.trust.digest())
            && self.pods_of(controller).any(|pod| is_older(&pod.pod, self.trust, since))
    }
}

fn is_of(pod: &Pod, step: &RestartStep) -> bool {
    let here = step.namespace.is_empty() || step.namespace == pod.pod.namespace;
    here && if step.labels.is_empty() { pod.proxy } else { is_within(&step.labels, &pod.labels) }
}

fn is_within(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}
