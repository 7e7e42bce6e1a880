//! Tests in the environment that all tests of a run share: a part of the catalogue, and scenarios that are written in Rust.

mod one_version;
mod trust;

use rstest::fixture;
use scenarios::{Environment, topology};

/// Two clusters on two networks, with bookinfo over both.
#[fixture]
fn two_clusters() -> Environment {
    Environment::of(topology("two-clusters"))
}
