//! Virtual machines: the files by which one joins a mesh, as `istioctl x workload entry configure` writes them, and the
//! machines of an environment.
//!
//! [`files`] is pure: from what a cluster says to the content of each file. [`mod@configure`] asks the cluster and writes;
//! [`istioctl`] lets Istio's own program generate them.
//! [`machine`] is a machine that can be asked, [`mod@join`] lets it join, and [`plan`] says what the provider has to play.
//! [`runtime`] settles what plays it, [`image`] makes what containers are made of, and [`served`] says whether anything leads to it.

mod certificate;
pub mod configure;
pub mod files;
pub mod image;
pub mod istioctl;
pub mod join;
pub mod machine;
pub mod plan;
pub mod runtime;
pub mod served;

pub use configure::{Error, Wanted, configure};
pub use files::{Facts, Files};
pub use machine::Machine;
