//! What a scenario reads and writes of the world, so that those that do not disturb each other can run at once. Pure.
//!
//! Careful by construction: whatever is not known to keep to its own corner has the world to itself. A wrong
//! independence would be a wrong verdict, a wrong dependence costs time only.

mod checks;
mod objects;
mod steps;

use std::collections::BTreeSet;

use super::plan::{ObjectRef, Plan};
use crate::topology::GatewayKind;

/// A part of the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// The pods of a workload with their proxies: whether they run, what they let in, what they count.
    Workload {
        /// Its cluster.
        cluster: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// What callers on a cluster do when they call a service.
    Route {
        /// The cluster.
        cluster: String,
        /// The service.
        service: Service,
    },
    /// What the east-west gateway of a cluster does with calls to a service.
    Entrance {
        /// The cluster.
        cluster: String,
        /// The service.
        service: Service,
    },
    /// Calls from a workload to a service: whoever balances them goes by all that are under way.
    Calls {
        /// Cluster of the caller.
        cluster: String,
        /// Namespace of the caller.
        namespace: String,
        /// Its value of the label `app`.
        app: String,
        /// The service.
        to: Service,
    },
    /// What a gateway counts.
    Gateway {
        /// Its cluster.
        cluster: String,
        /// Which.
        kind: GatewayKind,
    },
    /// An object of the API.
    Object(ObjectRef),
}

/// A Service of the topology, on every cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name, also the label `app` of its pods.
    pub name: String,
}

/// What a scenario needs and changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Why nothing else may run meanwhile.
    alone: Option<String>,
    reads: BTreeSet<Thing>,
    writes: BTreeSet<Thing>,
}

impl Footprint {
    /// Of a checked scenario.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        steps::footprint(plan)
    }

    /// Why nothing else may run beside it, whatever that is.
    #[must_use]
    pub fn alone(&self) -> Option<&str> {
        self.alone.as_deref()
    }

    /// Whether two scenarios may run at once: neither writes what the other reads or writes.
    #[must_use]
    pub fn may_run_beside(&self, other: &Self) -> bool {
        let disturbs =
            |one: &Self, other: &Self| !one.writes.is_disjoint(&other.reads) || !one.writes.is_disjoint(&other.writes);
        self.alone.is_none() && other.alone.is_none() && !disturbs(self, other) && !disturbs(other, self)
    }

    /// The first reason counts.
    fn be_alone(&mut self, reason: impl Into<String>) {
        self.alone.get_or_insert_with(|| reason.into());
    }
}

#[cfg(test)]
mod tests;
