//! `meshproof mesh` and `meshproof debug`: definitions. Comments here are what `-h` shows.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use mesh_types::hub::Kind;

/// Options of `mesh`.
#[derive(Debug, Args)]
pub struct MeshArgs {
    /// What to do
    #[command(subcommand)]
    pub verb: MeshVerb,
}

/// What to do with the management plane.
#[derive(Debug, Subcommand)]
pub enum MeshVerb {
    /// Install the management plane's manager
    #[command(
        after_help = "Examples:\n  meshproof mesh install --management-context hub\n  meshproof mesh install --name mine --management-cluster cluster1"
    )]
    Install(InstallArgs),
    /// Register a cluster: install the agent there, and tell the management cluster
    #[command(
        after_help = "Examples:\n  meshproof mesh register east --context east --management-context hub\n  meshproof mesh register cluster2 --name mine"
    )]
    Register(RegisterArgs),
    /// Take a cluster from the management plane; nothing of the plane is left there
    #[command(
        after_help = "Examples:\n  meshproof mesh deregister east --context east --management-context hub\n  meshproof mesh deregister cluster2 --name mine --force"
    )]
    Deregister(DeregisterArgs),
    /// List registered clusters and their meshes
    #[command(after_help = "Examples:\n  meshproof mesh list\n  meshproof mesh list --management-context hub --json")]
    List(ListArgs),
    /// Look whether everything is ready and in force; ends with 105 where the plane does not work, with 100 where a resource
    /// is not in force
    #[command(after_help = "Examples:\n  meshproof mesh check\n  meshproof mesh check --management-context hub --json")]
    Check(ListArgs),
    /// Show one resource with all that the plane reports about it
    #[command(
        after_help = "Examples:\n  meshproof mesh describe traffic-policy bookinfo/reviews\n  meshproof mesh describe destination reviews--bookinfo--cluster1 --json"
    )]
    Describe(DescribeArgs),
    /// Restart control plane, gateways and workloads of a mesh, in this order
    #[command(after_help = "Examples:\n  meshproof mesh restart cluster1 --name mine")]
    Restart(RestartArgs),
}

/// Where the management plane is: an environment, or a kubeconfig.
#[derive(Clone, Debug, Default, Args)]
pub struct PlaneArgs {
    /// Name of the environment; needed where there are several
    #[arg(long, conflicts_with_all = ["management_kubeconfig", "management_context"])]
    pub name: Option<String>,
    /// Its management cluster; by default the one that its topology names
    #[arg(long, value_name = "CLUSTER", conflicts_with_all = ["management_kubeconfig", "management_context"])]
    pub management_cluster: Option<String>,
    /// Kubeconfig of the management cluster, in place of an environment; by default the one that kubectl takes
    #[arg(long, value_name = "FILE")]
    pub management_kubeconfig: Option<Utf8PathBuf>,
    /// Context in it; by default the current one
    #[arg(long, value_name = "CONTEXT")]
    pub management_context: Option<String>,
}

/// A cluster that is registered, where no environment has it.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// Kubeconfig of the cluster; by default the one that kubectl takes, with --name that of the environment's cluster
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// Context in it; by default the current one
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
}

/// Options of `mesh install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Where the plane is.
    #[command(flatten)]
    pub plane: PlaneArgs,
}

/// Options of `mesh register`.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// Name that the plane shall know the cluster by
    #[arg(value_name = "CLUSTER")]
    pub cluster: String,
    /// Where the plane is.
    #[command(flatten)]
    pub plane: PlaneArgs,
    /// The cluster.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Address at which the management cluster reaches the cluster's API server, where it is another than the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub api_server_address: Option<String>,
    /// Do not wait until the manager has reached the cluster
    #[arg(long)]
    pub no_wait: bool,
}

/// Options of `mesh deregister`.
#[derive(Debug, Args)]
pub struct DeregisterArgs {
    /// Name that the plane knows the cluster by
    #[arg(value_name = "CLUSTER")]
    pub cluster: String,
    /// Where the plane is.
    #[command(flatten)]
    pub plane: PlaneArgs,
    /// The cluster.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Where the manager does not remove what it wrote (it is down), remove it in its place
    #[arg(long)]
    pub force: bool,
    /// The cluster itself is gone for good: clean the management cluster only
    #[arg(long, requires = "force", conflicts_with_all = ["kubeconfig", "context"])]
    pub unreachable: bool,
    /// Longest wait for the manager, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// Options of `mesh list` and `mesh check`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Where the plane is.
    #[command(flatten)]
    pub plane: PlaneArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `mesh describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Which kind
    #[arg(value_enum)]
    pub kind: DescribedKind,
    /// Its name, or namespace/name
    #[arg(value_name = "RESOURCE")]
    pub resource: String,
    /// Where the plane is.
    #[command(flatten)]
    pub plane: PlaneArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Kinds that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DescribedKind {
    /// A registered cluster.
    KubernetesCluster,
    /// A control plane that was found.
    Mesh,
    /// What runs behind proxies.
    Workload,
    /// A Service of a mesh.
    Destination,
    /// Meshes that shall be one.
    VirtualMesh,
    /// How requests are treated.
    TrafficPolicy,
    /// A host over several clusters.
    VirtualDestination,
    /// Who may call whom.
    AccessPolicy,
}

impl From<DescribedKind> for Kind {
    fn from(kind: DescribedKind) -> Self {
        match kind {
            DescribedKind::KubernetesCluster => Self::KubernetesCluster,
            DescribedKind::Mesh => Self::Mesh,
            DescribedKind::Workload => Self::Workload,
            DescribedKind::Destination => Self::Destination,
            DescribedKind::VirtualMesh => Self::VirtualMesh,
            DescribedKind::TrafficPolicy => Self::TrafficPolicy,
            DescribedKind::VirtualDestination => Self::VirtualDestination,
            DescribedKind::AccessPolicy => Self::AccessPolicy,
        }
    }
}

/// Options of `mesh restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// The mesh, or the registered cluster that it is in
    #[arg(value_name = "MESH")]
    pub mesh: String,
    /// Where the plane is.
    #[command(flatten)]
    pub plane: PlaneArgs,
    /// The cluster.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Longest wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// Options of `debug`.
#[derive(Debug, Args)]
pub struct DebugArgs {
    /// What to show
    #[command(subcommand)]
    pub what: DebugWhat,
}

/// What to show of the plane's inside.
#[derive(Debug, Subcommand)]
pub enum DebugWhat {
    /// What the manager knows: inputs, what shall be in each cluster, what could not be written
    #[command(
        after_help = "Examples:\n  meshproof debug snapshot\n  meshproof debug snapshot --management-context hub --json > snapshot.json"
    )]
    Snapshot(ListArgs),
}
