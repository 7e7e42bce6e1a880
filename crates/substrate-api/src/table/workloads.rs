//! Deployments, ReplicaSets, DaemonSets, StatefulSets, ControllerRevisions.

use serde_json::Value;

use super::duration::age;
use super::text::{at, integer, joined, labels, list, name, or_none, selector};
use super::{Printer, number, text, wide};

pub(super) const DEPLOYMENTS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Ready"),
        text("Up-to-date"),
        text("Available"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let ready = format!("{}/{}", integer(object, "/status/readyReplicas"), integer(object, "/spec/replicas"));
        let mut cells = vec![
            name(object),
            ready.into(),
            integer(object, "/status/updatedReplicas").into(),
            integer(object, "/status/availableReplicas").into(),
            age(object, now),
        ];
        cells.extend(containers_and_images(object));
        cells.push(selector(object.pointer("/spec/selector")).into());
        cells
    },
};

pub(super) const REPLICA_SETS: Printer = Printer {
    columns: &[
        text("Name"),
        number("Desired"),
        number("Current"),
        number("Ready"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            integer(object, "/spec/replicas").into(),
            integer(object, "/status/replicas").into(),
            integer(object, "/status/readyReplicas").into(),
            age(object, now),
        ];
        cells.extend(containers_and_images(object));
        cells.push(any_selector(object).into());
        cells
    },
};

pub(super) const DAEMON_SETS: Printer = Printer {
    columns: &[
        text("Name"),
        number("Desired"),
        number("Current"),
        number("Ready"),
        number("Up-to-date"),
        number("Available"),
        text("Node Selector"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            integer(object, "/status/desiredNumberScheduled").into(),
            integer(object, "/status/currentNumberScheduled").into(),
            integer(object, "/status/numberReady").into(),
            integer(object, "/status/updatedNumberScheduled").into(),
            integer(object, "/status/numberAvailable").into(),
            labels(object.pointer("/spec/template/spec/nodeSelector")).into(),
            age(object, now),
        ];
        cells.extend(containers_and_images(object));
        cells.push(selector(object.pointer("/spec/selector")).into());
        cells
    },
};

pub(super) const STATEFUL_SETS: Printer = Printer {
    columns: &[text("Name"), text("Ready"), text("Age"), wide("Containers"), wide("Images")],
    cells: |object, now| {
        let ready = format!("{}/{}", integer(object, "/status/readyReplicas"), integer(object, "/spec/replicas"));
        let mut cells = vec![name(object), ready.into(), age(object, now)];
        cells.extend(containers_and_images(object));
        cells
    },
};

pub(super) const CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[text("Name"), text("Controller"), text("Revision"), text("Age")],
    cells: |object, now| {
        let is_controller = |owner: &&Value| owner.get("controller") == Some(&Value::Bool(true));
        let controller = list(object, "/metadata/ownerReferences").iter().find(is_controller).map(|owner| {
            let group = at(owner, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
            let kind = at(owner, "/kind").to_lowercase();
            let qualified = if group.is_empty() { kind } else { format!("{kind}.{group}") };
            format!("{qualified}/{}", at(owner, "/name"))
        });
        let revision = integer(object, "/revision");
        vec![name(object), or_none(controller.unwrap_or_default()).into(), revision.into(), age(object, now)]
    },
};

/// The names and images of the pod template's containers.
pub(super) fn containers_and_images(object: &Value) -> [Value; 2] {
    let containers = list(object, "/spec/template/spec/containers");
    [joined(containers, "name").into(), joined(containers, "image").into()]
}

/// ReplicationControllers select by a plain map, ReplicaSets by a selector object.
fn any_selector(object: &Value) -> String {
    let found = object.pointer("/spec/selector");
    if at(object, "/kind") == "ReplicationController" { labels(found) } else { selector(found) }
}
