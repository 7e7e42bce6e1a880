//! `cargo xtask bench propagation`: an environment with a management plane and 30 proxies, and how long a TrafficPolicy takes
//! from its management cluster to the last of them, stage by stage. The programs are those of a release.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::build::Profile;
use crate::{bench, exit, kept, start};

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many changes; each is another
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Proxies in all meshes together
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    proxies: u16,
    /// Environment to measure, whatever its programs were built for, brought up from a topology with a management plane; without it, one is made and taken down
    #[arg(long)]
    name: Option<String>,
    /// Print every change, too
    #[arg(long)]
    samples: bool,
}

const TOPOLOGY: &str = "scenarios/topologies/management-three-clusters.yaml";
/// What half of the changes may take until the last proxy has acknowledged, in milliseconds.
const P50: f64 = 60.0;
/// What all but one of a hundred may take.
const P99: f64 = 250.0;

/// Prints one JSON document. Ends with 1 where a change did not arrive; a target that is missed is told, and fails nothing:
/// machines are shared and noisy.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let envoy = match start::prepare(Profile::Release)? {
        Ok(envoy) => envoy,
        Err(findings) => return Ok(start::refuse(&findings)),
    };
    let measured = match &args.name {
        Some(name) => measure(args, &envoy, name),
        None => {
            let name = format!("propagation-{}", std::process::id());
            let up = ["--topology", TOPOLOGY];
            kept::within(Profile::Release, &envoy, &name, &up, || measure(args, &envoy, &name))
        }
    };
    let measured = match measured {
        Ok(measured) => measured,
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(exit::FAILED));
        }
    };
    println!("{}", serde_json::to_string_pretty(&document(measured, args.samples))?);
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, envoy: &Path, name: &str) -> anyhow::Result<Value> {
    let (changes, proxies) = (args.changes.to_string(), args.proxies.to_string());
    let words = ["--name", name, "--changes", &changes, "--proxies", &proxies].map(str::to_owned);
    kept::measured(Profile::Release, envoy, "propagation", &words)
}

fn document(mut measured: Value, with_samples: bool) -> Value {
    let samples = measured.as_object_mut().and_then(|fields| fields.remove("samples"));
    let row = |percentile: &str, target: f64| {
        let value = measured["milliseconds"]["propagation"][percentile].as_f64();
        json!({ "measured": value, "target": target, "met": value.map(|value| value <= target) })
    };
    let mut document = json!({
        "measured": "propagation",
        "machine": bench::machine(),
        "targets": { "p50Milliseconds": row("p50", P50), "p99Milliseconds": row("p99", P99) },
    });
    if let (Some(fields), Value::Object(measured)) = (document.as_object_mut(), measured) {
        fields.extend(measured);
        fields.extend(samples.filter(|_| with_samples).map(|samples| ("samples".to_owned(), samples)));
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_stands_beside_the_targets() {
        let measured =
            json!({ "proxies": 30, "samples": [1], "milliseconds": { "propagation": { "p50": 60.0, "p99": 251.0 } } });
        let document = document(measured.clone(), false);
        assert_eq!(document["targets"]["p50Milliseconds"], json!({ "measured": 60.0, "target": 60.0, "met": true }));
        assert_eq!(document["targets"]["p99Milliseconds"]["met"], false);
        assert_eq!((&document["proxies"], &document["samples"]), (&json!(30), &Value::Null));
        assert_eq!(super::document(measured, true)["samples"], json!([1]));
    }

    #[test]
    fn what_was_not_measured_meets_no_target() {
        assert_eq!(document(json!({}), false)["targets"]["p50Milliseconds"]["met"], Value::Null);
    }
}
