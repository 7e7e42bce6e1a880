//! The admission webhooks of istiod: `/inject` adds proxies to pods, `/validate` judges the mesh's resources. Also keeps
//! the cluster's webhook configurations trusting this istiod.

mod bundle;
mod review;
mod server;

pub use bundle::{MUTATING, VALIDATING, keep_bundles, keep_bundles_and_tell};
pub use kube_support::https::serve;
pub use review::{answer_inject, answer_validate};
pub use server::router;
