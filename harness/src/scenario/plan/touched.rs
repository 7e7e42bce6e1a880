//! What a scenario changes of the world and has to put back: the objects that its steps name.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Action, Deployment, FaultKind, ObjectRef, Plan, Step};

/// An object on a cluster that a scenario changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The cluster.
    pub cluster: String,
    /// The object.
    pub object: ObjectRef,
    /// What of it has to be as before.
    pub part: Part,
}

/// What of an object has to be as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// That it is there, or that it is not: whoever keeps it may make it anew, as a remote secret has another token each time.
    Existence,
    /// How many pods it asks for: a restart changes the rest on purpose.
    Replicas,
    /// Everything that its author wrote.
    Whole,
}

impl Plan {
    /// Every object that a step of the plan changes, clean-ups and controls included.
    #[must_use]
    pub fn touched(&self) -> BTreeSet<Touched> {
        let mut all = BTreeSet::new();
        collect(&self.steps, &mut all);
        collect(&self.finally, &mut all);
        let written: BTreeSet<Touched> = all.iter().filter(|one| one.part == Part::Whole).cloned().collect();
        let is_written = |one: &Touched| written.contains(&Touched { part: Part::Whole, ..one.clone() });
        all.retain(|one| one.part != Part::Existence || !is_written(one));
        all
    }
}

fn collect(steps: &[Step], all: &mut BTreeSet<Touched>) {
    for step in steps {
        step.members().into_iter().for_each(|members| collect(members, all));
        collect(&step.cleanup, all);
        match &step.action {
            Action::Apply(apply) => {
                all.extend(on_each(&apply.clusters, apply.objects.iter().map(ObjectRef::of), Part::Whole));
            }
            // What a plan deletes and never writes comes back by whoever keeps it, who may make it anew.
            Action::Delete(delete) => {
                all.extend(on_each(&delete.clusters, delete.objects.iter().cloned(), Part::Existence));
            }
            Action::Patch(patch) => all.extend(on_each(&patch.clusters, [patch.object.clone()], Part::Whole)),
            Action::Scale(scale) => {
                all.insert(replicas(&scale.workload));
            }
            Action::Fault(fault) => {
                if let FaultKind::ScaleToZero(workload) = &fault.kind {
                    all.insert(replicas(workload));
                }
            }
            Action::Link(link) => all.extend(link.pairs.iter().map(|(reader, of)| Touched {
                cluster: reader.clone(),
                object: ObjectRef::of(&crate::install::remote_secret::name_of(of)),
                part: Part::Existence,
            })),
            Action::Register(register) => all.extend(register.clusters.iter().map(|cluster| Touched {
                cluster: register.management.clone(),
                object: ObjectRef::of(&crate::management::resources::registered(cluster)),
                part: Part::Existence,
            })),
            Action::Control(control) => {
                collect(&control.change, all);
                collect(&control.restore, all);
            }
            _ => {}
        }
    }
}

fn on_each(clusters: &[String], objects: impl IntoIterator<Item = ObjectRef>, part: Part) -> Vec<Touched> {
    let of = |object: ObjectRef| {
        clusters.iter().map(move |cluster| Touched { cluster: cluster.clone(), object: object.clone(), part })
    };
    objects.into_iter().flat_map(of).collect()
}

fn replicas(workload: &Deployment) -> Touched {
    let object = ObjectRef::of(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "namespace": workload.namespace, "name": workload.name },
    }));
    Touched { cluster: workload.cluster.clone(), object, part: Part::Replicas }
}
