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

/// The labels of something that a run makes and that goes with the process which made it.
#[must_use]
pub fn of(run_id: &str, environment: &str, lease: &Lease, role: &str) -> HashMap<String, String> {
    let mut labels = lasting(run_id, environment);
    labels.extend([(LEASE.to_owned(), lease.to_string()), (ROLE.to_owned(), role.to_owned())]);
    labels
}

/// The labels of something that a run makes and that stays until somebody removes it.
#[must_use]
pub fn lasting(run_id: &str, environment: &str) -> HashMap<String, String> {
    [(RUN_ID, run_id), (ENVIRONMENT, environment)].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
