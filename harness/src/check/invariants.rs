//! What holds of every scenario, whatever it is about: no proxy refused its configuration, no container was restarted, and
//! the objects that the scenario changed are as before. Pure: two looks at the clusters go in, what differs comes out.
//!
//! Each look is at what the scenario itself may change, and at counters, so that scenarios that run at the same time do
//! not accuse each other of objects. A refusal or a crash concerns whatever was measured meanwhile, so each tells it.
//!
//! Plaintext at workloads that demand mutual TLS is not among them: such a proxy has no way in for plaintext, so its
//! counters have none either. What passes between networks is looked at by the tap of `mtls`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::Value;

use super::convergence::SyncStatus;
use crate::scenario::plan::{Part, Touched};

/// Counts every change of a Deployment, also one that takes another back.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// One look at one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// How often containers were restarted, by namespace, pod, its uid and container.
    pub restarts: BTreeMap<Container, i32>,
    /// What proxies refused, by proxy and type.
    pub refusals: BTreeMap<Stream, Refused>,
    /// The part of each object that has to be as before; `None` where the object is not there.
    pub objects: BTreeMap<Touched, Option<Value>>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    pod: String,
    uid: String,
    name: String,
}

/// What a control plane sends to a proxy of one type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    proxy: String,
    kind: String,
}

/// Refusals of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How often on its connection.
    pub times: u64,
    /// Its words, where what it refused is still in force.
    pub standing: Option<String>,
}

/// What does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// By the mesh: a sentence each.
    pub of_mesh: Vec<String>,
    /// By the scenario, which did not clean up: a sentence each. Says nothing about the mesh.
    pub left: Vec<String>,
}

impl Look {
    /// Restarts of the containers of all pods.
    #[must_use]
    pub fn restarts(pods: &[Pod]) -> BTreeMap<Container, i32> {
        let of_pod = |pod: &Pod| {
            let statuses = pod.status.iter().filter_map(|status| status.container_statuses.clone()).flatten();
            let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
            let uid = pod.uid().unwrap_or_default();
            let one = move |container: String| Container { pod: name.clone(), uid: uid.clone(), name: container };
            statuses.map(move |status| (one(status.name), status.restart_count)).collect::<Vec<_>>()
        };
        pods.iter().flat_map(of_pod).collect()
    }

    /// Refusals of all proxies.
    #[must_use]
    pub fn refusals(status: &SyncStatus) -> BTreeMap<Stream, Refused> {
        let mut all = BTreeMap::new();
        for proxy in status.proxies.iter().filter(|proxy| proxy.connected) {
            let name = format!("{}/{}", proxy.namespace, proxy.pod);
            for (kind, held) in &proxy.types {
                let refused = Refused { times: held.rejections, standing: held.error.clone() };
                all.insert(Stream { proxy: name.clone(), kind: kind.clone() }, refused);
            }
        }
        all
    }
}

/// Labels and annotations without entries are none, to Kubernetes, of the object and of what it makes pods from.
fn without_empty_maps(object: &mut Value) {
    for place in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = object.pointer_mut(place).and_then(Value::as_object_mut) {
            metadata.retain(|_, value| value.as_object().is_none_or(|entries| !entries.is_empty()));
        }
    }
}

/// The part of an object that has to be as before. One that is about to go counts as gone.
#[must_use]
pub fn part(part: Part, mut object: Value) -> Option<Value> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return None;
    }
    match part {
        Part::Existence => Some(Value::Null),
        Part::Replicas => Some(object.pointer("/spec/replicas").cloned().unwrap_or(Value::Null)),
        Part::Whole => {
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
                metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations"));
            }
            if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
                annotations.remove(REVISION);
            }
            without_empty_maps(&mut object);
            Some(object)
        }
    }
}

/// What differs between two looks at a cluster.
#[must_use]
pub fn violations(cluster: &str, before: &Look, after: &Look) -> Violations {
    Violations {
        of_mesh: [refused(cluster, before, after), restarted(cluster, before, after)].concat(),
        left: left(before, after),
    }
}

fn refused(cluster: &str, before: &Look, after: &Look) -> Vec<String> {
    let sentence = |(stream, now): (&Stream, &Refused)| {
        let then = before.refusals.get(stream).cloned().unwrap_or_default();
        // A proxy that connected anew counts from zero.
        let times = now.times.checked_sub(then.times).unwrap_or(now.times);
        let words = now.standing.as_ref().map(|words| format!("; it still does: {words}")).unwrap_or_default();
        let said = times > 0 || now.standing.is_some();
        said.then(|| format!("{cluster}: {} refused {} {times} times meanwhile{words}", stream.proxy, stream.kind))
    };
    after.refusals.iter().filter_map(sentence).collect()
}

fn restarted(cluster: &str, before: &Look, after: &Look) -> Vec<String> {
    let sentence = |(container, now): (&Container, &i32)| {
        let times = now - before.restarts.get(container).copied().unwrap_or(0);
        (times > 0).then(|| {
            format!("{cluster}: container {} of {} was restarted {times} times", container.name, container.pod)
        })
    };
    after.restarts.iter().filter_map(sentence).collect()
}

fn left(before: &Look, after: &Look) -> Vec<String> {
    let sentence = |(touched, now): (&Touched, &Option<Value>)| {
        let then = before.objects.get(touched)?;
        let what = match (then, now) {
            (None, Some(_)) => "was left behind".to_owned(),
            (Some(_), None) => "is gone".to_owned(),
            (Some(then), Some(now)) if then != now => difference(then, now),
            _ => return None,
        };
        Some(format!("{}: {} {what}", touched.cluster, touched.object.key()))
    };
    after.objects.iter().filter_map(sentence).collect()
}

/// The first place where two objects differ.
fn difference(then: &Value, now: &Value) -> String {
    let patch = json_patch::diff(then, now);
    let place = patch.0.first().map(|operation| operation.path().to_string()).unwrap_or_default();
    let value = |object: &Value| object.pointer(&place).map_or_else(|| "nothing".to_owned(), Value::to_string);
    let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
    format!("is not as before{at}: {} in place of {}", value(now), value(then))
}

#[cfg(test)]
mod tests;
