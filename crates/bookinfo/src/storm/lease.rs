//! Asks a server of the same pod for a storm, and holds it until standard input ends or says `stop`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::{Damage, Wish, connect};
use crate::probe::{duration, print, stop_at_end_of_input};

/// Options of `storm`.
#[derive(Clone, Debug, Args)]
pub struct StormArgs {
    /// Port of the server
    #[arg(long, default_value_t = 9080)]
    port: u16,
    /// Status of the answers that it strikes
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(500..600))]
    status: u16,
    /// How many of a hundred requests it strikes
    #[arg(long, default_value_t = 100.0)]
    percent: f64,
    /// After this time it ends in any case
    #[arg(long, default_value = "60s", value_parser = duration)]
    lasting: Duration,
}

/// Holds a storm. Writes one line when it has begun, and one with what it did when it is over.
///
/// # Errors
/// Where there is no server, it refuses, or it ends meanwhile.
pub async fn main(args: StormArgs, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let mut server = BufReader::new(connect(args.port)?);
    let milliseconds = u64::try_from(args.lasting.as_millis()).unwrap_or(u64::MAX);
    let wish = Wish { status: args.status, percent: args.percent, milliseconds };
    server.write_all(format!("{}\n", serde_json::to_string(&wish)?).as_bytes()).await?;
    let mut line = String::new();
    server.read_line(&mut line).await.context("the server does not answer")?;
    if line.trim() != "storm" {
        bail!("the server refuses: {}", line.trim());
    }
    print(&serde_json::json!({ "startedAt": jiff::Timestamp::now().to_string() }))?;
    stop_at_end_of_input(stop.clone());
    line.clear();
    let over = tokio::select! {
        read = server.read_line(&mut line) => read,
        () = stop.cancelled() => {
            // A server that is done already has closed its side.
            let _ = server.get_mut().shutdown().await;
            server.read_line(&mut line).await
        }
    };
    over.context("the server ended before its storm did")?;
    let damage: Damage = serde_json::from_str(&line).context("the server ended before its storm did")?;
    print(&damage)?;
    Ok(ExitCode::SUCCESS)
}
