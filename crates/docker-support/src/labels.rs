//! Labels of everything that is made on an engine. Pure.

use std::collections::HashMap;

use crate::Lease;

/// The run that made it.
pub const RUN_ID: &str = "meshproof.dev/run-id";
/// The environment that it is a part of.
pub const ENVIRONMENT: &str = "meshproof.dev/environment";
/// The process that removes it: what carries a lease whose process has ended has no owner.
pub const LEASE: &str = "meshproof.dev/lease";
/// What it plays, by name.
pub const ROLE: &str = "meshproof.dev/role";

/// The labels of something that a run makes.
#[must_use]
pub fn of(run_id: &str, environment: &str, lease: &Lease, role: &str) -> HashMap<String, String> {
    let pairs = [(RUN_ID, run_id), (ENVIRONMENT, environment), (ROLE, role)];
    let mut labels: HashMap<_, _> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    labels.insert(LEASE.to_owned(), lease.to_string());
    labels
}
