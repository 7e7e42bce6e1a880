//! `hub-manager`: the manager of the management plane.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use hub_manager::run::{Options, run};
use tracing_subscriber::EnvFilter;

/// Makes many meshes one: discovers, federates, translates policies, writes what follows into every cluster.
#[derive(Debug, Parser)]
#[command(name = "hub-manager", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    match start(cli.options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(run(options)).context("the manager ends")
}
