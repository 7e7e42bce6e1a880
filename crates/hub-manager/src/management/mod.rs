//! Watches the plane's own resources in the management cluster, and hands them on: to the core, to the writer of what is
//! discovered, to the writer of statuses, and registrations to whoever connects clusters.

pub mod table;

use std::collections::BTreeMap;

use futures::{StreamExt as _, pin_mut};
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use kube_support::error::describe;
use kube_support::watch::{Change, Key as Name, follow};
use mesh_types::hub::Kind;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::{Event, Events};
use crate::kinds::{Key, ResourceKind};
use crate::plane::Plane;
use crate::status::StatusWriter;
use crate::write::observation::Observation;
use crate::write::{Command, Writer};
use table::{Sight, Table};

/// Kinds that discovery writes.
pub const DISCOVERED: [Kind; 3] = [Kind::Mesh, Kind::Workload, Kind::Destination];

/// A registration as it was seen.
#[derive(Clone, Debug)]
pub enum Registration {
    /// All that there are.
    All(BTreeMap<String, Value>),
    /// One is there.
    Set(String, Value),
    /// One is gone.
    Gone(String),
}

/// Where what is seen goes.
#[derive(Clone)]
pub struct Outlets {
    /// The core.
    pub events: Events,
    /// Who writes statuses.
    pub statuses: StatusWriter,
    /// Who writes what is discovered.
    pub discovered: Writer<()>,
    /// Who connects clusters.
    pub registrations: mpsc::UnboundedSender<Registration>,
}

/// Watches a kind for as long as it is polled.
pub async fn follow_kind(client: Client, plane: Plane, kind: Kind, outlets: Outlets) {
    let resource = ResourceKind::from(kind);
    let api = match kind {
        Kind::KubernetesCluster => resource.in_namespace(client, &plane.namespace),
        _ => resource.everywhere(client),
    };
    let changes = follow(api, watcher::Config::default(), value);
    pin_mut!(changes);
    let mut table = Table::new(kind, &plane.identity);
    let mut is_listed = false;
    while let Some(change) = changes.next().await {
        let since = Instant::now();
        let registration = registration(kind, &change);
        let sight = match change {
            Change::All(listed) => {
                if DISCOVERED.contains(&kind) {
                    let there = listed.iter().map(|(name, value)| (key(kind, name), Observation::of(value)));
                    outlets.discovered.tell(Command::Listed(resource, there.collect()));
                }
                is_listed = true;
                table.all(listed)
            }
            Change::Set(name, Some(value)) => table.set(name, value),
            Change::Set(_, None) => continue,
            Change::Gone(name) => table.gone(name),
            Change::Failed(error) => {
                tracing::warn!(kind = kind.name(), error = %describe(&error), "the management cluster cannot be watched at the moment");
                continue;
            }
        };
        hand_on(kind, sight, since, &outlets);
        if std::mem::take(&mut is_listed) {
            let _stopping = outlets.events.send(Event::Listed(kind));
        }
        if let Some(registration) = registration {
            let _stopping = outlets.registrations.send(registration);
        }
    }
}

fn hand_on(kind: Kind, sight: Sight, since: Instant, outlets: &Outlets) {
    for (name, error) in sight.unreadable {
        tracing::error!(kind = kind.name(), ?name, error, "this object cannot be read; what was known of it holds on");
    }
    let discovered = DISCOVERED.contains(&kind);
    for (name, value) in &sight.there {
        let key = key(kind, name);
        outlets.statuses.seen(key.clone(), value);
        if discovered {
            outlets.discovered.tell(Command::Seen(key, Some(Box::new(Observation::of(value)))));
        }
    }
    for name in &sight.gone {
        let key = key(kind, name);
        outlets.statuses.gone(key.clone());
        if discovered {
            outlets.discovered.tell(Command::Seen(key, None));
        }
    }
    if !sight.changes.is_empty() {
        let _stopping = outlets.events.send(Event::Changes(sight.changes, since));
    }
}

fn registration(kind: Kind, change: &Change<Value>) -> Option<Registration> {
    if kind != Kind::KubernetesCluster {
        return None;
    }
    match change {
        Change::All(listed) => {
            Some(Registration::All(listed.iter().map(|((_, name), value)| (name.clone(), value.clone())).collect()))
        }
        Change::Set((_, name), Some(value)) => Some(Registration::Set(name.clone(), value.clone())),
        Change::Gone((_, name)) => Some(Registration::Gone(name.clone())),
        Change::Set(_, None) | Change::Failed(_) => None,
    }
}

fn key(kind: Kind, (namespace, name): &Name) -> Key {
    Key::new(kind, namespace, name)
}

fn value(object: DynamicObject) -> Option<Value> {
    serde_json::to_value(object).ok()
}
