//! `cargo xtask bench`: starts `meshproof` several times and joins the numbers of its reports. Measures nothing itself.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{envoy, exit, numbers, paths, start};

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// From the command to the verdict: phases and memory
    BringUp(Args),
}

/// Options of a measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many times
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Folder for the reports of the runs
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep numbers whose path in the report begins so; may be given several times
    #[arg(long, value_name = "PATH", default_values = ["/durationMs", "/phases", "/memory"])]
    only: Vec<String>,
    /// Words for `meshproof e2e`
    #[arg(last = true)]
    words: Vec<String>,
}

/// Runs a measurement; prints one JSON document. Ends with 0 where every run ended with 0.
pub(crate) fn run(what: &Bench) -> anyhow::Result<ExitCode> {
    let Bench::BringUp(args) = what;
    let envoy = match start::prepare()? {
        Ok(envoy) => envoy,
        Err(findings) => return Ok(start::refuse(&findings)),
    };
    let program = paths::program("meshproof")?;
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => paths::scratch()?.join(format!("bench-{}", std::process::id())),
    };
    let (mut reports, mut codes, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=args.runs {
        let out = folder.join(run.to_string());
        let begun = Instant::now();
        let mut command = Command::new(&program);
        command.arg("e2e").arg("--out").arg(&out).args(&args.words).env(envoy::VARIABLE, &envoy);
        // Standard output belongs to the document.
        let status = command.stdout(std::io::stderr()).status().context("cannot start meshproof")?;
        seconds.push(begun.elapsed().as_secs_f64());
        eprintln!("run {run} of {}: {status}, {:.2} s", args.runs, begun.elapsed().as_secs_f64());
        codes.push(status.code());
        if let Some(report) = read_report(&out.join("report.json")) {
            reports.push(report);
        }
    }
    let document = json!({
        "measured": "bring-up",
        "runs": args.runs,
        "exitCodes": codes,
        "machine": machine(),
        "wallSeconds": numbers::summarise(&seconds),
        "numbers": numbers::join(&reports, &args.only),
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    let good = codes.iter().all(|code| *code == Some(0)) && reports.len() == usize::from(args.runs);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

fn read_report(path: &std::path::Path) -> Option<Value> {
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let report = read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    report.inspect_err(|error| eprintln!("note: {} cannot be read: {error}", path.display())).ok()
}

/// What numbers depend on.
fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    json!({ "cores": cores, "kernel": kernel.trim(), "memoryKilobytes": kilobytes })
}
