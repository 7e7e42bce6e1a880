//! `meshproof images`: container images of our own programs, listed with what they weigh, packed, handed to Docker.

use bollard::Docker;
use serde_json::{Value, json};

use super::complain;
use crate::cli::args::Format;
use crate::cli::images::ImagesArgs;
use crate::image::ours::{self, Made};
use crate::image::{Image, archive, load};
use crate::provider::programs::{self, Programs};
use crate::report::{RunOutcome, words};

pub(super) async fn run(args: &ImagesArgs) -> RunOutcome {
    let made = match make(args) {
        Ok(made) => made,
        Err(outcome) => return outcome,
    };
    let images: Vec<Image> = made.iter().map(|one| one.image.clone()).collect();
    if let Some(path) = &args.out {
        let written = archive(&images).and_then(|bytes| std::fs::write(path, bytes));
        if let Err(error) = written {
            eprintln!("error: cannot write {path}: {error}");
            return RunOutcome::EnvironmentFailed;
        }
    }
    if args.load
        && let Err(outcome) = hand_over(&images).await
    {
        return outcome;
    }
    match if args.json { Format::Json } else { args.format } {
        Format::Text => crate::cli::print(&text(&made)),
        Format::Json => crate::cli::print(&format!("{:#}\n", document(&made))),
    }
    RunOutcome::Passed
}

fn make(args: &ImagesArgs) -> Result<Vec<Made>, RunOutcome> {
    let programs = found(args).map_err(|error| {
        let outcome = match error {
            programs::Error::NoEnvoy { .. } => RunOutcome::MachineCannot,
            programs::Error::NotBuilt { .. } | programs::Error::Executable(_) => RunOutcome::EnvironmentFailed,
        };
        complain(&error, outcome)
    })?;
    let word = args.word.as_deref().unwrap_or_default();
    let made = ours::some(&programs, |name| name.contains(word))
        .map_err(|error| complain(&error, RunOutcome::EnvironmentFailed))?;
    if made.is_empty() {
        eprintln!("error: no image has `{word}` in its name");
        eprintln!("  help: `meshproof images` lists them");
        return Err(RunOutcome::NothingSelected);
    }
    Ok(made)
}

fn found(args: &ImagesArgs) -> Result<Programs, programs::Error> {
    let folder = args.programs.clone().map_or_else(programs::folder, Ok)?;
    let envoy = match programs::envoy() {
        // Only one image has it.
        Err(_) if !args.word.as_ref().is_none_or(|word| ours::PROXY.contains(word.as_str())) => ours::ENVOY.into(),
        envoy => envoy?,
    };
    Ok(Programs::below(&folder, envoy))
}

async fn hand_over(images: &[Image]) -> Result<(), RunOutcome> {
    let docker = Docker::connect_with_defaults().map_err(|error| complain(&error, RunOutcome::MachineCannot))?;
    load::load(&docker, images).await.map_err(|error| {
        let outcome = complain(&error, RunOutcome::MachineCannot);
        eprintln!("  help: `meshproof doctor --provider kind` says what is wrong with Docker");
        outcome
    })
}

fn text(made: &[Made]) -> String {
    let width = made.iter().map(|one| name(one).len()).max().unwrap_or_default();
    made.iter().fold(String::new(), |mut text, one| {
        let own = words::bytes(one.own_bytes() as u64);
        let envoy = match one.envoy_bytes {
            0 => String::new(),
            bytes => format!(", and Envoy {}", words::bytes(bytes as u64)),
        };
        let id = one.image.id();
        text.push_str(&format!("{:width$}  {}  {own}{envoy}\n", name(one), &id["sha256:".len()..][..12]));
        text
    })
}

fn document(made: &[Made]) -> Value {
    let images = made.iter().map(|one| {
        json!({
            "name": name(one),
            "id": one.image.id(),
            "bytes": one.image.size(),
            "ownBytes": one.own_bytes(),
            "envoyBytes": one.envoy_bytes,
            "layers": one.image.layers.iter().map(|layer| layer.digest()).collect::<Vec<_>>(),
        })
    });
    json!({ "images": images.collect::<Vec<_>>() })
}

fn name(made: &Made) -> &str {
    made.image.names.first().map_or("", String::as_str)
}
