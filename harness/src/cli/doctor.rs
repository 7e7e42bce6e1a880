//! Definitions of `meshproof doctor`.

use camino::Utf8PathBuf;
use clap::Args;

use super::args::Format;
use crate::environment::MeshSource;
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::topology::Provider;

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which provider the machine is looked at for
    #[arg(long, value_enum, default_value_t)]
    pub provider: Provider,
    /// For kind: the topology that it is to run; by default scenarios/topologies/two-clusters.yaml
    #[arg(long, value_name = "FILE")]
    pub topology: Option<Utf8PathBuf>,
    /// For kind: image of the nodes
    #[arg(long, value_name = "IMAGE")]
    pub node_image: Option<String>,
    /// For kind: release of Istio; by default the one that is locked for this version
    #[arg(long, value_name = "VERSION")]
    pub istio_version: Option<String>,
    /// For kind: the mesh that is to be installed, Istio by default
    #[arg(long, value_enum)]
    pub mesh: Option<MeshSource>,
    /// For kind: who is to give LoadBalancer Services their addresses
    #[arg(long, value_enum, default_value_t)]
    pub load_balancers: LoadBalancers,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
    /// The same as `--format json`
    #[arg(long)]
    pub json: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
