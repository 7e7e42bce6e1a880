//! The probe: a client inside a pod that measures what the mesh does with its requests, and prints one JSON document.
//!
//! It reports and does not judge: a run in which every request failed is a successful run of the probe.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

mod args;
mod call;
mod clock;
mod connect;
mod connection;
mod control;
mod failure;
mod flags;
mod group;
mod heads;
mod http;
mod lines;
mod load;
mod pace;
mod report;
mod sample;
mod tally;
mod target;
mod timer;
mod transport;
mod url;
mod websocket;

pub(crate) use args::duration;
pub use args::{ConnectArgs, RunArgs};
pub use connect::{ConnectReport, HttpOutcome, TcpOutcome};
pub(crate) use control::stop_at_end_of_input;
pub use control::{Begun, Held};
pub use failure::ErrorClass;
pub use group::Group;
pub use heads::{Headers, Heads};
pub use report::{Exchanges, HistogramUs, LatencyMs, Report, Resolved};
pub use sample::{Row, Samples, TargetOf};
pub use url::{Scheme, Url};

/// What the probe can do.
#[expect(clippy::large_enum_variant, reason = "there is one, parsed once")]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Wait for SIGTERM, as the first process of a pod in which runs are started
    Serve,
    /// Send requests and print counts, groups and latencies as one JSON document
    Run(RunArgs),
    /// Try one TCP connection, optionally with one plaintext HTTP request, and print what came of it as JSON
    Connect(ConnectArgs),
}

/// Runs a command. Exit code 0 when it ran, whatever the network did.
pub async fn main(command: Command, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => {
            tracing::info!("waiting: start runs with `bookinfo probe run`");
            stop.cancelled().await;
        }
        Command::Run(args) => print(&load::run(&args, stop).await?)?,
        Command::Connect(args) => print(&connect::run(&args).await)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a document as one line of JSON.
pub(crate) fn print(document: &impl Serialize) -> anyhow::Result<()> {
    let document = serde_json::to_string(document).context("cannot write the document as JSON")?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{document}").and_then(|()| output.flush()).context("cannot write to standard output")
}
