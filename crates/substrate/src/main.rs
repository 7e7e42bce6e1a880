//! `meshproof-substrate`: the supervisor process of one embedded world. Started by the harness, not by people.

mod cure;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};
use substrate::world::{self, announce};
use substrate_config::{WorldConfig, WorldEvent};
use substrate_node::machine::docker::Shim;
use substrate_node::machine::docker::shim::ShimConfig;
use substrate_node::supervision::{self, World as Process};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a world that could not be brought up.
const ENVIRONMENT_FAILED: u8 = 105;
/// Exit code on a machine that lacks what is needed.
const MACHINE_CANNOT: u8 = 96;

/// The embedded Kubernetes of meshproof.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings a world up and keeps it until SIGTERM, or until standard input ends where the configuration says so.
    Run {
        /// The configuration, JSON.
        #[arg(long)]
        config: Utf8PathBuf,
    },
    /// Prints what this machine lacks as JSON; exit code 96 where it lacks something.
    Preflight,
}

fn main() -> ExitCode {
    // Containers are started by re-executing this program; that path must see nothing of the rest.
    substrate_node::runtime::maybe_container_init();
    substrate_node::machine::docker::shim::maybe_shim();
    match Arguments::parse().command {
        Command::Preflight => preflight(),
        Command::Run { config } => match run(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                announce(&WorldEvent::Failed { message: format!("{error:#}"), cure: cure::cure(&error).to_owned() });
                ExitCode::from(ENVIRONMENT_FAILED)
            }
        },
    }
}

fn preflight() -> ExitCode {
    let problems = supervision::preflight();
    println!("{}", serde_json::to_string_pretty(&problems).unwrap_or_default());
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(MACHINE_CANNOT) }
}

fn run(path: &Utf8Path) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let started = Instant::now();
    let text = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
    let config: WorldConfig = serde_json::from_slice(&text).with_context(|| format!("{path} is no configuration"))?;
    let shim = shim(&config).context("cannot start the process that looks after containers")?;
    // Before any thread: a process with threads cannot enter a user namespace.
    let process = supervision::enter_world()?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("MESHPROOF_LOG").unwrap_or_else(|_| "info".into()))
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(live(&config, &process, shim, started))
}

/// Where a machine is a container, what looks after it.
fn shim(config: &WorldConfig) -> io::Result<Option<Arc<Shim>>> {
    let Some(socket) = config.docker_socket.clone() else { return Ok(None) };
    let config = ShimConfig { socket, run_id: config.run_id.clone(), environment: config.name.clone() };
    Ok(Some(Arc::new(Shim::start(&config)?)))
}

async fn live(
    config: &WorldConfig,
    process: &Process,
    shim: Option<Arc<Shim>>,
    started: Instant,
) -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let leased = config.exit_on_stdin_eof;
    let looked_after = shim.clone();
    let ended = async move {
        let alone = async {
            match looked_after {
                Some(shim) => shim.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = supervision::lease_ended(), if leased => {}
            // Nobody would remove the containers of this world.
            () = alone => tracing::error!("the process that looks after containers has ended, and the world with it"),
        }
    };
    tokio::pin!(ended);
    let reaper = tokio::spawn(supervision::reap_orphans());
    let world = tokio::select! {
        world = world::bring_up(config, process, shim.as_ref(), started, &cancel) => world?,
        () = &mut ended => return Ok(()),
    };
    ended.await;
    if let Some(shim) = &shim
        && let Err(error) = shim.remove().await
    {
        // It tries again when this process has ended.
        tracing::error!(%error, "containers were not removed");
    }
    // No orderly shutdown of pods: the kernel ends every process of this PID namespace with this one.
    cancel.cancel();
    reaper.abort();
    drop(world);
    std::process::exit(0)
}
