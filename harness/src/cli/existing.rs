//! Options for real clusters: those that somebody else runs, and kind clusters. Comments here are what `-h` shows.

use camino::Utf8PathBuf;
use clap::Args;

use crate::environment::{Given, MeshSource};
use crate::provider::existing::contexts::Assigned;
use crate::provider::kind::istio::Installer;
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::topology::support::WantedManagement;

/// Options of `--provider existing`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Real clusters (--provider existing, --provider kind)")]
pub struct ExistingArgs {
    /// Context of a cluster of the topology; by default the one that is called like it. Given once for each cluster
    #[arg(long = "context", value_name = "CLUSTER=CONTEXT")]
    pub contexts: Vec<Assigned>,
    /// Kubeconfig with those contexts; by default the one that kubectl would take
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// API server of a cluster as the other clusters reach it; by default the address in the kubeconfig
    #[arg(long = "api-server", value_name = "CLUSTER=URL")]
    pub api_servers: Vec<Assigned>,
    /// Where the mesh comes from; by default it is there on clusters that are there, and is Istio on kind clusters
    #[arg(long, value_enum)]
    pub mesh: Option<MeshSource>,
    /// Whether the management plane of the topology is installed; by default it is
    #[arg(long, value_enum)]
    pub management: Option<WantedManagement>,
    /// Image of the nodes of kind clusters; by default the one that is locked for this version
    #[arg(long, value_name = "IMAGE")]
    pub node_image: Option<String>,
    /// Bundle that kind clusters are made of: images, and Istio's charts where they are in it; no registry is asked
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<Utf8PathBuf>,
    /// Which Istio kind clusters get.
    #[command(flatten)]
    pub istio: IstioArgs,
    /// Who gives LoadBalancer Services of kind clusters their addresses
    #[arg(long, value_enum, default_value_t)]
    pub load_balancers: LoadBalancers,
    /// Replace a kind cluster of somebody else's that has the name of one that is to be made; by default that is refused
    #[arg(long)]
    pub recreate: bool,
    /// Go on although `doctor --provider kind` says that this machine lacks something
    #[arg(long)]
    pub anyway: bool,
    /// Make what is missing without asking
    #[arg(long)]
    pub yes: bool,
}

/// Which Istio is installed, and by what.
#[derive(Clone, Debug, Default, Args)]
pub struct IstioArgs {
    /// Release of Istio that is installed, such as 1.29.4; by default the one that is locked for this version
    #[arg(long, value_name = "VERSION")]
    pub istio_version: Option<String>,
    /// What installs Istio on kind clusters; by default what this machine has, helm before istioctl
    #[arg(long, value_enum)]
    pub istio_installer: Option<Installer>,
}

impl ExistingArgs {
    /// As runs take it.
    #[must_use]
    pub fn given(&self) -> Given {
        Given {
            kubeconfig: self.kubeconfig.clone(),
            contexts: self.contexts.clone(),
            api_servers: self.api_servers.clone(),
            mesh: self.mesh,
            node_image: self.node_image.clone(),
            bundle: self.bundle.clone(),
            istio_version: self.istio.istio_version.clone(),
            istio_installer: self.istio.istio_installer,
            load_balancers: self.load_balancers,
            recreate: self.recreate,
            anyway: self.anyway,
            yes: self.yes,
        }
    }
}
