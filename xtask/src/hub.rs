//! `cargo xtask bench hub`: the core of the management plane with 10 to 300 simulated clusters, and random histories against
//! fresh starts, optimised.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{bench, build, exit};

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of clusters
    #[arg(long, value_delimiter = ',', default_values_t = [10, 30, 100, 300])]
    clusters: Vec<u16>,
    /// Destinations in each cluster
    #[arg(long, default_value_t = 100)]
    destinations: u16,
    /// Traffic policies
    #[arg(long, default_value_t = 1_000)]
    policies: u16,
    /// Random histories that have to end where a fresh start ends; 0 leaves them out
    #[arg(long, default_value_t = 10_000)]
    histories: u32,
}

/// What one change may take, in milliseconds, until the set of writes.
const CHANGE_MILLISECONDS: f64 = 50.0;
/// What the translation of everything may take, in seconds.
const FULL_SECONDS: f64 = 10.0;
/// What the process may take, in megabytes.
const MEGABYTES: f64 = 1_000.0;

/// Prints one JSON document. Ends with 1 where a history did not end as a fresh start; a target that is missed is told, and
/// fails nothing: machines are shared and noisy.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut curve = Vec::new();
    for clusters in &args.clusters {
        for permissive in [false, true] {
            let point = measure(args, *clusters, permissive)?;
            eprintln!("{clusters} clusters, {}: {} s", point["federation"], point["fullTranslationSeconds"]);
            curve.push(point);
        }
    }
    let histories = if args.histories > 0 { histories(args.histories)? } else { Value::Null };
    let document = json!({
        "measured": "hub",
        "machine": bench::machine(),
        "targets": targets(&curve),
        "histories": histories,
        "curve": curve,
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    let good = histories.is_null() || histories["passed"] == true;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

/// A process of its own for each size: memory is counted by process.
fn measure(args: &Args, clusters: u16, permissive: bool) -> anyhow::Result<Value> {
    let mut command = build::cargo();
    command.args(["bench", "--quiet", "--package", "hub", "--bench", "scale", "--"]);
    for (name, number) in
        [("--clusters", clusters), ("--destinations", args.destinations), ("--policies", args.policies)]
    {
        command.arg(name).arg(number.to_string());
    }
    if permissive {
        command.arg("--permissive");
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    anyhow::ensure!(output.status.success(), "the measurement failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the measurement printed something else than JSON")
}

fn histories(count: u32) -> anyhow::Result<Value> {
    let mut command: Command = build::cargo();
    command.args(["test", "--quiet", "--release", "--package", "hub", "--test", "it", "history::"]);
    let begun = Instant::now();
    // Standard output belongs to the document.
    let status = command.env("MESHPROOF_HUB_HISTORIES", count.to_string()).stdout(std::io::stderr()).status();
    let passed = status.context("cannot start cargo")?.success();
    Ok(json!({ "histories": count, "passed": passed, "seconds": begun.elapsed().as_secs_f64() }))
}

/// The worst of the largest points against what is promised for 300 clusters.
fn targets(curve: &[Value]) -> Value {
    let largest = curve.iter().filter_map(|point| point["clusters"].as_u64()).max();
    let points: Vec<_> = curve.iter().filter(|point| point["clusters"].as_u64() == largest).collect();
    let worst = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(f64::NAN, f64::max);
    let of = |field: &str| worst(&mut points.iter().filter_map(|point| point[field].as_f64()));
    // What one policy is about; the one that is about a service of every cluster is shown beside, as what it touches grows.
    let one = ["weightOfAShift", "removedShift", "newShift", "outlierDetectionByLabelInOneCluster"];
    let change = worst(
        &mut points
            .iter()
            .flat_map(|point| one.iter().filter_map(|name| point["changes"][name]["p90Milliseconds"].as_f64())),
    );
    let row = |measured: f64, target: f64| json!({ "measured": measured, "target": target, "met": measured <= target });
    json!({
        "clusters": largest,
        "fullTranslationSeconds": row(of("fullTranslationSeconds"), FULL_SECONDS),
        "onePolicyChangeP90Milliseconds": row(change, CHANGE_MILLISECONDS),
        "peakMemoryMegabytes": row(of("peakMemoryMegabytes"), MEGABYTES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_the_worst_of_the_largest() {
        let point = |clusters: u16, seconds: f64, change: f64| {
            json!({ "clusters": clusters, "fullTranslationSeconds": seconds, "peakMemoryMegabytes": 10.0,
                "changes": { "newShift": { "p90Milliseconds": change } } })
        };
        let targets = targets(&[point(10, 99.0, 99.0), point(300, 1.0, 60.0), point(300, 2.0, 1.0)]);
        assert_eq!(targets["fullTranslationSeconds"], json!({ "measured": 2.0, "target": 10.0, "met": true }));
        assert_eq!(targets["onePolicyChangeP90Milliseconds"]["met"], false);
        assert_eq!(targets["clusters"], 300);
    }
}
