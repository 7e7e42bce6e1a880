//! Virtual machines: the files by which one joins a mesh, as `istioctl x workload entry configure` writes them.
//!
//! [`files`] is pure: from what a cluster says to the content of each file. [`mod@configure`] asks the cluster and writes.

pub mod configure;
pub mod files;

pub use configure::{Error, Wanted, configure};
pub use files::{Facts, Files};
