//! The translators from resources as people write them to objects cluster by cluster, and the state against a fresh start.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests do")]

mod access;
mod conflicts;
mod discovered;
mod failover;
mod federation;
mod history;
mod shift;
mod statuses;
mod support;
mod universe;
