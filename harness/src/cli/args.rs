//! Definitions of the command line. Comments here are what `-h` shows.

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::doctor::DoctorArgs;
use super::existing::ExistingArgs;
use super::filter::Filter;
use super::images::{BundleArgs, ImagesArgs};
use super::machines::MachineArgs;
use super::manner::{JobsArgs, MannerArgs};
use super::mesh::{DebugArgs, MeshArgs};
use super::migrate::MigrateArgs;
use super::plan::PlanArgs;
use super::report::ReportArgs;
use super::shards::ShardArgs;
use super::vm::VmArgs;
use crate::topology::Provider;

/// Proves what a multi-cluster service mesh promises.
#[derive(Debug, Parser)]
#[command(name = "meshproof", version, about, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring up an environment, run scenarios, report, tear down
    #[command(
        after_help = "Examples:\n  meshproof e2e\n  meshproof e2e -E 'area(traffic-shift)' --out target/report\n  meshproof e2e my-scenario.yaml --keep\n  meshproof e2e -E 'all()' --shard 2/3 --out shard-2"
    )]
    E2e(E2eArgs),
    /// Bring up an environment that stays; on real clusters, go on with one that was interrupted or whose topology changed
    #[command(
        after_help = "Examples:\n  meshproof up\n  meshproof up --topology scenarios/topologies/two-clusters.yaml --name mine\n  meshproof up --provider existing --context cluster1=prod-eu --context cluster2=prod-us"
    )]
    Up(UpArgs),
    /// Take an environment down
    #[command(after_help = "Examples:\n  meshproof down\n  meshproof down --name mine\n  meshproof down --all")]
    Down(DownArgs),
    /// Show environments and how their clusters are
    #[command(after_help = "Examples:\n  meshproof status\n  meshproof status --format json")]
    Status(StatusArgs),
    /// Run scenarios against an environment that stays
    #[command(
        after_help = "Examples:\n  meshproof run\n  meshproof run -E 'tag(smoke) & !area(failover)'\n  meshproof run my-scenario.yaml --name mine\n  meshproof run my-scenario.yaml --repeat 20\n  meshproof run --last-failed --until-fail"
    )]
    Run(RunArgs),
    /// Break the mesh on purpose, and demand that every assertion notices
    #[command(
        after_help = "Examples:\n  meshproof selftest\n  meshproof selftest --list\n  meshproof selftest -E 'area(mtls)' --name mine"
    )]
    Selftest(SelftestArgs),
    /// Print the kubeconfig of an environment, or of one of its clusters
    #[command(
        after_help = "Examples:\n  meshproof kubeconfig > kubeconfig.yaml\n  KUBECONFIG=$(meshproof kubeconfig cluster1 --path) kubectl get pods -A"
    )]
    Kubeconfig(KubeconfigArgs),
    /// Print logs of a pod, or of the environment itself
    #[command(
        after_help = "Examples:\n  meshproof logs\n  meshproof logs cluster1 istiod -n istio-system\n  meshproof logs cluster2 reviews-v3 -n bookinfo -c istio-proxy -f"
    )]
    Logs(LogsArgs),
    /// Bring up an environment to show: a page to open and steady traffic
    #[command(after_help = "Examples:\n  meshproof demo two-clusters\n  meshproof demo two-clusters --rate 20")]
    Demo(DemoArgs),
    /// Show what scenarios will do, how many requests they need and how long they take
    #[command(
        after_help = "Examples:\n  meshproof plan\n  meshproof plan -E 'tag(mtls)'\n  meshproof plan my-scenario.yaml --format json\n  meshproof plan --shard 2/3\n  meshproof plan --provider kind --topology scenarios/topologies/flat-network.yaml"
    )]
    Plan(PlanArgs),
    /// Find mistakes in scenarios and topologies, without an environment
    #[command(
        after_help = "Examples:\n  meshproof lint\n  meshproof lint my-scenario.yaml my-topology.yaml --format json"
    )]
    Lint(LintArgs),
    /// Show a recorded run, write its report in another form, or make one report of several shards
    #[command(
        after_help = "Examples:\n  meshproof report\n  meshproof report --list\n  meshproof report 1a2b3c4d --open\n  meshproof report --format junit > junit.xml\n  meshproof report merge shard-1 shard-2 --out merged"
    )]
    Report(ReportArgs),
    /// Add the sidecar to manifests, as the mesh's webhook would
    #[command(
        after_help = "Examples:\n  meshproof inject -f deployment.yaml\n  kubectl get deployment reviews-v1 -o yaml | meshproof inject -f -"
    )]
    Inject(InjectArgs),
    /// Say what this machine can run, and what to fix
    #[command(after_help = "Examples:\n  meshproof doctor\n  meshproof doctor --provider kind --json")]
    Doctor(DoctorArgs),
    /// Make container images of the programs of this project, without pulling anything
    #[command(
        after_help = "Examples:\n  meshproof images --load\n  meshproof images --out images.tar --format json\n  cargo xtask images    # builds small programs for it first"
    )]
    Images(ImagesArgs),
    /// Write one file with all that a machine without a network needs for kind clusters: images, Istio, the lock file
    #[command(
        after_help = "Examples:\n  cargo xtask bundle    # builds small programs for it first\n  meshproof bundle --only ours --out ours.tar.gz\n  meshproof images --bundle ours.tar.gz --load\n  meshproof up --provider kind --bundle all.tar.gz"
    )]
    Bundle(BundleArgs),
    /// Work with the management plane: register clusters, list, check and describe
    #[command(
        after_help = "Examples:\n  meshproof mesh register cluster2 --name mine\n  meshproof mesh list\n  meshproof mesh check"
    )]
    Mesh(MeshArgs),
    /// Look into the management plane
    #[command(after_help = "Examples:\n  meshproof debug snapshot --json")]
    Debug(DebugArgs),
    /// Convert resources of another management plane to ours
    #[command(after_help = "Examples:\n  meshproof migrate gloo-mesh policies.yaml > ours.yaml")]
    Migrate(MigrateArgs),
    /// Let a virtual machine join a mesh
    #[command(
        after_help = "Examples:\n  meshproof vm configure --group details-vm -n bookinfo --cluster cluster1 -o vm1"
    )]
    Vm(Box<VmArgs>),
    /// Print the JSON schema of a file format
    #[command(after_help = "Examples:\n  meshproof schema scenario > scenario.json")]
    Schema(SchemaArgs),
    /// Write the files that are generated from others: schemas, kind configuration
    #[command(after_help = "Examples:\n  meshproof generate\n  meshproof generate --check")]
    Generate(GenerateArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Which scenarios.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// Scenarios and suites; without any, the whole catalogue, for `e2e` its smoke scenarios
    #[arg(value_name = "FILE")]
    pub files: Vec<Utf8PathBuf>,
    /// Only scenarios that match: all(), name(x), tag(x), area(x), joined by & | ! ( ); a word alone is part of a name
    #[arg(short = 'E', long = "filter", value_name = "EXPRESSION")]
    pub filter: Option<Filter>,
    /// Topology to run on, in place of the one that each scenario names
    #[arg(long, value_name = "FILE")]
    pub topology: Option<Utf8PathBuf>,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
}

/// Options of `e2e`.
#[derive(Debug, Args)]
pub struct E2eArgs {
    /// Which scenarios.
    #[command(flatten)]
    pub selection: Selection,
    /// Which part of them.
    #[command(flatten)]
    pub shard: ShardArgs,
    /// Folder for report.html, junit.xml, report.json, events.jsonl and logs; by default one for each run, the newest 20 are kept
    #[arg(long, value_name = "DIR")]
    pub out: Option<Utf8PathBuf>,
    /// Leave the environment up at the end
    #[arg(long)]
    pub keep: bool,
    /// Only scenarios that did not pass when they last ran, by the recorded runs
    #[arg(long, conflicts_with = "shard")]
    pub last_failed: bool,
    /// How many at once, and how often.
    #[command(flatten)]
    pub manner: MannerArgs,
    /// Where clusters come from, in place of what the topology says
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// How machines are played.
    #[command(flatten)]
    pub machines: MachineArgs,
    /// For clusters that are there.
    #[command(flatten)]
    pub existing: ExistingArgs,
}

/// Options of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Topology; by default scenarios/topologies/two-clusters.yaml
    #[arg(long, value_name = "FILE")]
    pub topology: Option<Utf8PathBuf>,
    /// Name of the environment; by default that of the topology
    #[arg(long)]
    pub name: Option<String>,
    /// How machines are played.
    #[command(flatten)]
    pub machines: MachineArgs,
    /// Keep it only while the process of this id runs, then take it down; this command stays until then
    #[arg(long = "while", value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub while_runs: Option<i32>,
    /// Where clusters come from, in place of what the topology says
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// For clusters that are there.
    #[command(flatten)]
    pub existing: ExistingArgs,
    /// Folder for report.html, junit.xml, report.json and events.jsonl; by default only events.jsonl is written
    #[arg(long, value_name = "DIR")]
    pub out: Option<Utf8PathBuf>,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
}

/// Options of `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Name of the environment; needed where there are several
    #[arg(long)]
    pub name: Option<String>,
    /// Take every environment down
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Name of the environment; by default all
    #[arg(long)]
    pub name: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which scenarios.
    #[command(flatten)]
    pub selection: Selection,
    /// Which part of them.
    #[command(flatten)]
    pub shard: ShardArgs,
    /// Name of the environment; needed where there are several. Given several times, each scenario runs on one of them that was
    /// brought up from its topology, so that what disturbs each other runs at once
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Folder for report.html, junit.xml, report.json, events.jsonl and logs; by default one for each run, the newest 20 are kept
    #[arg(long, value_name = "DIR")]
    pub out: Option<Utf8PathBuf>,
    /// Only scenarios that did not pass when they last ran, by the recorded runs
    #[arg(long, conflicts_with = "shard")]
    pub last_failed: bool,
    /// How many at once, and how often.
    #[command(flatten)]
    pub manner: MannerArgs,
}

/// Options of `selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Which scenarios.
    #[command(flatten)]
    pub selection: Selection,
    /// Run on this environment, which stays, or on several; by default on one for each topology, which goes
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Only list the controls and what they change, without an environment
    #[arg(long, conflicts_with_all = ["name", "out", "jobs"])]
    pub list: bool,
    /// Folder for report.html, junit.xml, report.json, events.jsonl and logs; by default one for each run, the newest 20 are kept
    #[arg(long, value_name = "DIR")]
    pub out: Option<Utf8PathBuf>,
    /// How machines are played.
    #[command(flatten)]
    pub machines: MachineArgs,
    /// How many at once.
    #[command(flatten)]
    pub jobs: JobsArgs,
    /// How to print the table
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Options of `kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// One cluster; by default all, with a context for each
    pub cluster: Option<String>,
    /// Name of the environment; needed where there are several
    #[arg(long)]
    pub name: Option<String>,
    /// Print the path of the file, not its content
    #[arg(long)]
    pub path: bool,
}

/// Options of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The cluster; without one, the log of the environment itself
    pub cluster: Option<String>,
    /// The pod, or the Deployment it belongs to
    #[arg(requires = "cluster")]
    pub pod: Option<String>,
    /// Its namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// One container of it; by default the first
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on as more is logged
    #[arg(short, long)]
    pub follow: bool,
    /// The log of the container before its last restart
    #[arg(long)]
    pub previous: bool,
    /// Name of the environment; needed where there are several
    #[arg(long)]
    pub name: Option<String>,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Topology: a name below scenarios/topologies, or a file
    #[arg(default_value = "two-clusters")]
    pub topology: String,
    /// Name of the environment; by default that of the topology
    #[arg(long)]
    pub name: Option<String>,
    /// How machines are played.
    #[command(flatten)]
    pub machines: MachineArgs,
    /// Requests a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
}

/// Options of `lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Scenarios and topologies; by default all of them
    #[arg(value_name = "FILE")]
    pub files: Vec<Utf8PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
}

/// Options of `inject`.
#[derive(Debug, Args)]
pub struct InjectArgs {
    /// Manifests; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: Utf8PathBuf,
    /// Name of the cluster that the workloads are meant for
    #[arg(long, default_value = "Kubernetes")]
    pub cluster: String,
    /// Its network
    #[arg(long, default_value = "")]
    pub network: String,
    /// Mesh id
    #[arg(long, default_value = "mesh1")]
    pub mesh_id: String,
    /// Trust domain
    #[arg(long, default_value = "cluster.local")]
    pub trust_domain: String,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// Topology files.
    Topology,
    /// Scenario files.
    Scenario,
    /// Suite files.
    Suite,
    /// report.json.
    Report,
    /// A line of events.jsonl.
    Events,
}

/// Options of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Which format
    #[arg(value_enum)]
    pub name: SchemaName,
}

/// Options of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Write nothing; fail when a file is not as it would be generated
    #[arg(long)]
    pub check: bool,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
}
