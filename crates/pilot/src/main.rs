//! `pilot-discovery`: the control plane, and tools that run beside it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use mesh_types::Kind;
use pilot::discovery::{self, Options};
use pilot::inject::{MeshSettings, inject_manifest};
use tracing_subscriber::EnvFilter;

/// An Istio-compatible control plane.
#[derive(Debug, Parser)]
#[command(name = "pilot-discovery", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the mesh (the default).
    Discovery(Options),
    /// Asks the debug port of the control plane in this container.
    Request(RequestArguments),
    /// Adds proxies to the workloads of a manifest, as the webhook would.
    Inject(InjectArguments),
    /// Prints the `CustomResourceDefinition`s of the kinds that are served.
    Crds(CrdsArguments),
}

#[derive(Debug, Args)]
struct RequestArguments {
    /// Only GET is served.
    method: String,
    /// Path with query: `/debug/syncz`.
    path: String,
    /// Port of the control plane for monitoring.
    #[arg(long, default_value_t = mesh_types::names::PORT_MONITORING)]
    port: u16,
}

#[derive(Debug, Args)]
struct CrdsArguments {
    /// Writes one file for each kind into this directory instead.
    #[arg(long)]
    directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct InjectArguments {
    /// Manifest to read; `-` is the standard input.
    #[arg(short = 'f', long = "filename")]
    file: PathBuf,
    /// Network of the cluster.
    #[arg(long, env = "NETWORK")]
    network: Option<String>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pilot-discovery: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        None => serve(cli.options),
        Some(Command::Discovery(options)) => serve(options),
        Some(Command::Request(arguments)) => request(&arguments),
        Some(Command::Inject(arguments)) => inject(&arguments),
        Some(Command::Crds(arguments)) => crds(arguments.directory.as_deref()),
    }
}

fn serve(options: Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(discovery::run(options)).context("the control plane stops")
}

fn request(arguments: &RequestArguments) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.method.eq_ignore_ascii_case("GET"),
        "method {} is not served, only GET",
        arguments.method
    );
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let body = runtime.block_on(pilot::debug::client::get(arguments.port, &arguments.path))?;
    print!("{body}");
    Ok(())
}

fn inject(arguments: &InjectArguments) -> anyhow::Result<()> {
    let text = if arguments.file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the standard input")?;
        text
    } else {
        std::fs::read_to_string(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?
    };
    let settings = MeshSettings { network: arguments.network.clone(), ..arguments.options.mesh_settings() };
    let mut notices = Vec::new();
    let injected = inject_manifest(&text, &settings, &mut notices)?;
    for notice in notices {
        eprintln!("pilot-discovery: {notice}");
    }
    print!("{injected}");
    Ok(())
}

fn crds(directory: Option<&Path>) -> anyhow::Result<()> {
    for kind in Kind::ALL {
        let document = pilot::crds::document(kind)?;
        match directory {
            Some(directory) => {
                let path = directory.join(pilot::crds::file_name(kind));
                std::fs::write(&path, document).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => print!("---\n{document}"),
        }
    }
    Ok(())
}
