//! Options for clusters that somebody else runs. Comments here are what `-h` shows.

use camino::Utf8PathBuf;
use clap::Args;

use crate::environment::{Given, MeshSource};
use crate::provider::existing::contexts::Assigned;

/// Options of `--provider existing`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Clusters that are there (--provider existing)")]
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
    /// Where the mesh comes from
    #[arg(long, value_enum, default_value_t)]
    pub mesh: MeshSource,
    /// Make what is missing without asking
    #[arg(long)]
    pub yes: bool,
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
            yes: self.yes,
        }
    }
}
