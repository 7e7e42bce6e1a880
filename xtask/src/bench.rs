//! `cargo xtask bench`: what can be measured, and `bring-up`, which starts `meshproof` several times and joins the numbers
//! of its reports.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::build::Profile;
use crate::{envoy, exit, hub, load, machines, numbers, paths, propagation, start, verdicts};

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// From the command to the verdict: phases and memory
    BringUp(Args),
    /// How long the management plane's core takes, and how much memory, by the number of clusters; and ten thousand histories
    Hub(hub::Args),
    /// How fast and how punctual the probe sends, beside wrk and h2load
    Load(load::Args),
    /// How long a TrafficPolicy takes from the management cluster to every proxy of all clusters
    Propagation(propagation::Args),
    /// How often verdicts err, beside what they promise
    Verdicts(verdicts::Args),
    /// How long the image of virtual machines takes, and a machine from its start to its first answer over the mesh
    Vm(machines::Args),
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
    let args = match what {
        Bench::BringUp(args) => args,
        Bench::Hub(args) => return hub::run(args),
        Bench::Load(args) => return load::run(args),
        Bench::Propagation(args) => return propagation::run(args),
        Bench::Verdicts(args) => return verdicts::run(args),
        Bench::Vm(args) => return machines::run(args),
    };
    let envoy = match start::prepare(Profile::Development)? {
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
        "targets": targets(&reports, &seconds),
        "wallSeconds": numbers::summarise(&seconds),
        "numbers": numbers::join(&reports, &args.only),
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    let good = codes.iter().all(|code| *code == Some(0)) && reports.len() == usize::from(args.runs);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// The figures that have a target on 2 cores, from every report that has them. A target that is missed is told and fails
/// nothing: machines are shared and noisy.
fn targets(reports: &[Value], wall_seconds: &[f64]) -> Value {
    let from = |figure: fn(&Value) -> Option<f64>| reports.iter().filter_map(figure).collect::<Vec<_>>();
    let row = |values: &[f64], target: f64| {
        let summary = numbers::summarise(values);
        let met = summary.as_ref().map(|summary| summary.median <= target);
        json!({ "measured": summary, "target": target, "medianMeetsTarget": met })
    };
    json!({
        "commandToFirstCrossClusterRequestSeconds": row(&from(first_request), 6.0),
        "meanMeshedPodMegabytes": row(&from(|report| Some(memory(report)? / 1e6)), 35.0),
        "tearDownSeconds": row(&from(|report| Some(phase(report, "tear-down")?.1 / 1e3)), 1.0),
        "commandToVerdictSeconds": row(wall_seconds, 40.0),
    })
}

/// When the first request across clusters was proven, in seconds since the command began.
fn first_request(report: &Value) -> Option<f64> {
    let (started, duration) = phase(report, "crossing")?;
    Some((started + duration) / 1e3)
}

/// Proportional set size of a pod with a proxy, in bytes; a report without such pods has no such figure.
fn memory(report: &Value) -> Option<f64> {
    report.pointer("/memory/meanMeshedPodBytes")?.as_f64().filter(|bytes| *bytes > 0.0)
}

/// Begin and duration of a phase in milliseconds.
fn phase(report: &Value, id: &str) -> Option<(f64, f64)> {
    let phase = report.get("phases")?.as_array()?.iter().find(|phase| phase["id"] == id)?;
    Some((phase["startedMs"].as_f64()?, phase["durationMs"].as_f64()?))
}

fn read_report(path: &std::path::Path) -> Option<Value> {
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let report = read.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    report.inspect_err(|error| eprintln!("note: {} cannot be read: {error}", path.display())).ok()
}

/// What numbers depend on.
pub(crate) fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    json!({ "cores": cores, "kernel": kernel.trim(), "memoryKilobytes": kilobytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_reports_and_compared() {
        let report = json!({
            "phases": [
                { "id": "crossing", "startedMs": 2400, "durationMs": 100 },
                { "id": "tear-down", "startedMs": 9000, "durationMs": 1500 },
            ],
            "memory": { "meanMeshedPodBytes": 27_000_000 },
        });
        let targets = targets(&[report], &[10.0]);
        let figure =
            |name: &str| (targets[name]["measured"]["median"].as_f64(), targets[name]["medianMeetsTarget"].clone());
        assert_eq!(figure("commandToFirstCrossClusterRequestSeconds"), (Some(2.5), json!(true)));
        assert_eq!(figure("meanMeshedPodMegabytes"), (Some(27.0), json!(true)));
        assert_eq!(figure("tearDownSeconds"), (Some(1.5), json!(false)));
        assert_eq!(figure("commandToVerdictSeconds"), (Some(10.0), json!(true)));
    }

    #[test]
    fn what_was_not_measured_meets_no_target() {
        let targets = targets(&[json!({ "memory": { "meanMeshedPodBytes": 0 } })], &[]);
        assert_eq!(targets["meanMeshedPodMegabytes"]["medianMeetsTarget"], Value::Null);
        assert_eq!(targets["tearDownSeconds"]["measured"], Value::Null);
    }
}
