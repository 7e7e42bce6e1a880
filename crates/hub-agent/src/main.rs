//! The agent of the management plane in a registered cluster.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use hub_agent::program::{self, Options};
use tracing_subscriber::EnvFilter;

/// The agent of the management plane: keys and certificates, restarts and telemetry of one cluster.
#[derive(Parser)]
#[command(name = "hub-agent", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match serve(Cli::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hub-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(program::run(options)).context("the agent stops")
}
