//! `cargo xtask bench vm`: how long the image of virtual machines takes to be made, and a machine from its start to its first
//! answer over the mesh, by what plays it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::build::Profile;
use crate::{bench, exit, kept, numbers, paths, start};

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many starts by each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    starts: u16,
    /// How often the image is made; the one that is there is removed for it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    images: u16,
    /// What plays the machines; may be given several times
    #[arg(long, value_parser = ["docker", "netns"], default_values = ["docker", "netns"])]
    runtime: Vec<String>,
}

/// What everybody has who has run a scenario. That of a release is no slower.
const PROFILE: Profile = Profile::Development;
const TOPOLOGY: &str = "scenarios/topologies/virtual-machines.yaml";
/// How long a start may take on 2 cores until the first answer, in milliseconds.
const TARGETS: [(&str, f64); 2] = [("docker", 3_000.0), ("netns", 1_500.0)];

/// Prints one JSON document. Ends with 1 where something could not be measured; a target that is missed is told, and fails
/// nothing: machines are shared and noisy.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let envoy = match start::prepare(PROFILE)? {
        Ok(envoy) => envoy,
        Err(findings) => return Ok(start::refuse(&findings)),
    };
    match measure(args, &envoy) {
        Ok(measured) => {
            println!("{}", serde_json::to_string_pretty(&document(&measured))?);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(exit::FAILED))
        }
    }
}

/// What was measured.
struct Measured {
    /// Of the image, where one is needed.
    image: Option<Value>,
    /// Of the starts by each runtime.
    starts: Vec<(String, Value)>,
}

fn measure(args: &Args, envoy: &Path) -> anyhow::Result<Measured> {
    let docker = args.runtime.iter().any(|runtime| runtime == "docker");
    let image = if docker { Some(image(args, envoy)?) } else { None };
    let mut starts = Vec::new();
    for runtime in &args.runtime {
        let name = format!("vm-{}-{runtime}", std::process::id());
        let words = ["starts", "--name", &name, "--times", &args.starts.to_string()].map(str::to_owned);
        let up = ["--topology", TOPOLOGY, "--vm-runtime", runtime];
        let measured = kept::within(PROFILE, envoy, &name, &up, || kept::measured(PROFILE, envoy, "machines", &words))?;
        starts.push((runtime.clone(), measured));
    }
    Ok(Measured { image, starts })
}

fn image(args: &Args, envoy: &Path) -> anyhow::Result<Value> {
    let state = paths::scratch()?.join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
    let folder = state.to_str().context("the path of the build is not UTF-8")?;
    let words = ["image", "--state", folder, "--times", &args.images.to_string()].map(str::to_owned);
    let measured = kept::measured(PROFILE, envoy, "machines", &words);
    std::fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))?;
    measured
}

fn document(measured: &Measured) -> Value {
    let targets: Map<String, Value> = measured
        .starts
        .iter()
        .map(|(runtime, measured)| {
            let target = TARGETS.iter().find(|(name, _)| name == runtime).map(|(_, target)| *target);
            let slowest = stage(measured, "proven").map(|summary| summary.max);
            let met = slowest.zip(target).map(|(slowest, target)| slowest <= target);
            (runtime.clone(), json!({ "slowestMilliseconds": slowest, "targetMilliseconds": target, "met": met }))
        })
        .collect();
    let stages = |measured: &Value| {
        let names = ["on", "registered", "healthy", "proven"];
        names.map(|name| (name.to_owned(), json!(stage(measured, name)))).into_iter().collect::<Map<_, _>>()
    };
    let starts: Map<String, Value> =
        measured.starts.iter().map(|(runtime, starts)| (runtime.clone(), stages(starts).into())).collect();
    json!({
        "measured": "vm",
        "machine": bench::machine(),
        "targets": targets,
        "imageMilliseconds": measured.image.as_ref().map(|image| json!({
            "made": numbers::summarise(&list(&image["firstMilliseconds"])),
            "cached": numbers::summarise(&list(&image["cachedMilliseconds"])),
        })),
        "startMilliseconds": starts,
    })
}

/// What all starts say of one stage.
fn stage(measured: &Value, name: &str) -> Option<numbers::Summary> {
    let samples = measured["samples"].as_array()?;
    numbers::summarise(&samples.iter().filter_map(|sample| sample[name].as_f64()).collect::<Vec<_>>())
}

fn list(values: &Value) -> Vec<f64> {
    values.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_start_is_held_against_the_target_of_its_runtime() {
        let starts =
            |proven: [f64; 2]| json!({ "samples": proven.map(|proven| json!({ "on": 1.0, "proven": proven })) });
        let starts =
            vec![("docker".to_owned(), starts([3_000.0, 2_000.0])), ("netns".to_owned(), starts([1_000.0, 1_501.0]))];
        let image = json!({ "firstMilliseconds": [900.0, 1_000.0], "cachedMilliseconds": [2.0, 1.0] });
        let document = document(&Measured { image: Some(image), starts });
        let expected = json!({ "slowestMilliseconds": 3_000.0, "targetMilliseconds": 3_000.0, "met": true });
        assert_eq!(document["targets"]["docker"], expected);
        assert_eq!(document["targets"]["netns"]["met"], false);
        assert_eq!(document["startMilliseconds"]["netns"]["proven"]["median"], 1_250.5);
        assert_eq!(document["imageMilliseconds"]["cached"]["max"], 2.0);
    }

    #[test]
    fn what_was_not_measured_meets_no_target() {
        let document = document(&Measured { image: None, starts: vec![("netns".to_owned(), json!({}))] });
        assert_eq!(document["targets"]["netns"]["met"], Value::Null);
        assert_eq!((&document["imageMilliseconds"], &document["targets"]["docker"]), (&Value::Null, &Value::Null));
    }
}
