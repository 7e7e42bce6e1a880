//! One file with everything that a machine without a network needs for kind clusters: our images, the image of a node, Istio's charts
//! and images, and the lock file.
//!
//! [`manifest`] is what a bundle says of itself, [`mod@write`] and [`read`] know its form, [`collect`] gathers what goes into one,
//! [`load`] hands its images to Docker. Why it is as it is: `docs/adr/0021-bundles.md`.

pub mod collect;
pub mod load;
pub mod manifest;
pub mod read;
pub mod write;

pub use manifest::{Manifest, Part};
pub use read::Bundle;
