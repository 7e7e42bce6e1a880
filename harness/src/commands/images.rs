//! `meshproof images`: container images of our own programs, listed with what they weigh, packed, handed to Docker.

use std::collections::BTreeMap;

use camino::Utf8Path;
use docker_support::Engine;
use serde_json::{Value, json};

use super::complain;
use crate::bundle::read::Problem;
use crate::bundle::{self, Bundle, Part};
use crate::cli::args::Format;
use crate::cli::images::ImagesArgs;
use crate::image::ours::{self, Made};
use crate::image::replace::Replaced;
use crate::image::{Image, archive, replace};
use crate::provider::kind::lock;
use crate::provider::programs::{self, Programs};
use crate::report::RunOutcome;

pub(super) async fn run(args: &ImagesArgs) -> RunOutcome {
    if let Some(path) = &args.bundle {
        return of_bundle(args, path).await;
    }
    let made = match make(args) {
        Ok(made) => made,
        Err(outcome) => return outcome,
    };
    match if args.json { Format::Json } else { args.format } {
        Format::Text => crate::cli::print(&text(&made)),
        Format::Json => crate::cli::print(&format!("{:#}\n", document(&made, args.limit))),
    }
    // What is too large goes nowhere.
    if let Some(too_large) = args.limit.and_then(|limit| too_large(&made, limit)) {
        eprint!("{too_large}");
        return RunOutcome::EnvironmentFailed;
    }
    let images: Vec<Image> = made.into_iter().map(|one| one.image).collect();
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
    RunOutcome::Passed
}

/// The images of a bundle, which is whole.
async fn of_bundle(args: &ImagesArgs, path: &Utf8Path) -> RunOutcome {
    let refuse = |error: &bundle::read::Error| {
        let outcome = complain(error, RunOutcome::WrongUsage);
        eprintln!("  help: {}", error.problem.cure());
        outcome
    };
    let bundle = match Bundle::open(path, lock::TEXT) {
        Ok(bundle) => bundle,
        Err(error) => return refuse(&error),
    };
    match if args.json { Format::Json } else { args.format } {
        Format::Text => crate::cli::print(&super::bundle::contents(bundle.manifest())),
        Format::Json => crate::cli::print(&format!("{:#}\n", json!(bundle.manifest()))),
    }
    if let Some(out) = &args.out {
        let archives = match bundle.archives(Part::Ours) {
            Ok(archives) => archives,
            Err(error) => return refuse(&error),
        };
        let Some((mut archive, _)) = archives.into_iter().next() else {
            return refuse(&bundle.refuse(Problem::Lacks(Part::Ours)));
        };
        if let Err(error) = std::fs::File::create(out).and_then(|mut out| std::io::copy(&mut archive, &mut out)) {
            eprintln!("error: cannot write {out}: {error}");
            return RunOutcome::EnvironmentFailed;
        }
    }
    if !args.load {
        return RunOutcome::Passed;
    }
    let engine = match connect().await {
        Ok(engine) => engine,
        Err(outcome) => return outcome,
    };
    let mut replaced = Replaced::default();
    for part in Part::ALL {
        match bundle::load::load(engine.docker(), &bundle, part).await {
            Ok(done) => replaced = replaced.and(done),
            Err(bundle::load::Error::Bundle(error)) => return refuse(&error),
            Err(error @ bundle::load::Error::Another { .. }) => return complain(&error, RunOutcome::EnvironmentFailed),
            Err(error) => return no_docker(&error),
        }
    }
    let count = bundle.manifest().files.iter().map(|file| file.images.len()).sum();
    tell(count, replaced);
    RunOutcome::Passed
}

async fn connect() -> Result<Engine, RunOutcome> {
    let connected = async { Engine::connect(&docker_support::socket()?).await };
    connected.await.map_err(|error| {
        let outcome = complain(&error, RunOutcome::MachineCannot);
        eprintln!("  help: {}", error.cure());
        outcome
    })
}

fn no_docker(error: &(dyn std::error::Error + 'static)) -> RunOutcome {
    let outcome = complain(error, RunOutcome::MachineCannot);
    eprintln!("  help: `meshproof doctor --provider kind` says what is wrong with Docker");
    outcome
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
    let replaced = replace(connect().await?.docker(), images).await.map_err(|error| no_docker(&error))?;
    tell(images.len(), replaced);
    Ok(())
}

fn tell(count: usize, replaced: Replaced) {
    eprintln!("Docker has {count} images");
    if replaced.removed > 0 {
        eprintln!("  removed {} that had their names before", replaced.removed);
    }
    if replaced.in_use > 0 {
        eprintln!("  kept {} that had their names before: containers have them", replaced.in_use);
    }
}

/// What is over the limit, as people are told; `None` where nothing is.
fn too_large(made: &[Made], limit: u64) -> Option<String> {
    let over = made.iter().filter(|one| one.own_bytes() as u64 > limit * 1_000_000);
    let named: Vec<String> = over
        .map(|one| {
            format!(
                "error: {} has {} beside Envoy, and the limit is {limit} MB\n",
                name(one),
                megabytes(one.own_bytes())
            )
        })
        .collect();
    let help = "  help: `cargo xtask images` builds the programs small; the table says whether programs or libraries are large\n";
    (!named.is_empty()).then(|| named.concat() + help)
}

/// As registries and Docker count: a megabyte has a million bytes.
fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn text(made: &[Made]) -> String {
    let width = made.iter().map(|one| name(one).len()).max().unwrap_or_default().max(5);
    let mut text = format!(
        "{:width$}  {:12}  {:>12}  {:>8}  {:>9}  {:>8}\n",
        "image", "id", "beside Envoy", "programs", "libraries", "Envoy"
    );
    for one in made {
        let envoy = if one.envoy_bytes == 0 { "-".to_owned() } else { megabytes(one.envoy_bytes) };
        let id = one.image.id();
        text.push_str(&format!(
            "{:width$}  {}  {:>12}  {:>8}  {:>9}  {envoy:>8}\n",
            name(one),
            &id["sha256:".len()..][..12],
            megabytes(one.own_bytes()),
            megabytes(one.own_bytes() - one.library_bytes),
            megabytes(one.library_bytes),
        ));
    }
    let (count, plural) = (made.len(), if made.len() == 1 { "" } else { "s" });
    text.push_str(&format!(
        "{count} image{plural}, together {}: a layer that several have counts once\n",
        megabytes(together(made))
    ));
    text
}

/// What all take beside each other, in bytes.
fn together(made: &[Made]) -> usize {
    let layers = made.iter().flat_map(|one| &one.image.layers);
    let sizes: BTreeMap<&str, usize> = layers.map(|layer| (layer.digest(), layer.bytes().len())).collect();
    sizes.values().sum()
}

fn document(made: &[Made], limit: Option<u64>) -> Value {
    let images = made.iter().map(|one| {
        let layers =
            one.image.layers.iter().map(|layer| json!({ "digest": layer.digest(), "bytes": layer.bytes().len() }));
        json!({
            "name": name(one),
            "id": one.image.id(),
            "bytes": one.image.size(),
            "ownBytes": one.own_bytes(),
            "libraryBytes": one.library_bytes,
            "envoyBytes": one.envoy_bytes,
            "layers": layers.collect::<Vec<_>>(),
        })
    });
    json!({
        "images": images.collect::<Vec<_>>(),
        "bytes": together(made),
        "limitBytes": limit.map(|limit| limit * 1_000_000),
    })
}

fn name(made: &Made) -> &str {
    made.image.names.first().map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::image::{Config, Entry, Layer};

    /// An image with so many bytes, some of which are Envoy's.
    fn made(name: &str, bytes: usize, envoy_bytes: usize) -> Made {
        let layer = |path: &str, bytes| Arc::new(Layer::new([Entry::program(path, vec![0; bytes])]).expect("a layer"));
        let image = Image {
            names: vec![name.to_owned()],
            layers: vec![layer("/lib", 1_000_000), layer("/program", bytes - 1_000_000)],
            config: Config::default(),
        };
        Made { image, envoy_bytes, library_bytes: 1_000_000 }
    }

    #[test]
    fn what_is_over_the_limit_beside_envoy_is_named() {
        let images =
            [made("a:dev", 2_000_000, 0), made("b:dev", 5_000_000, 3_500_000), made("c:dev", 4_000_000, 500_000)];
        assert_eq!(too_large(&images, 4), None);
        let said = too_large(&images, 3).expect("c is too large");
        assert!(said.starts_with("error: c:dev has 3.5 MB beside Envoy, and the limit is 3 MB\n  help:"), "{said}");
        assert_eq!(document(&images, Some(3))["limitBytes"], 3_000_000);
    }

    #[test]
    fn the_table_has_what_each_weighs_and_counts_shared_layers_once() {
        let images = [made("long-name:dev", 2_000_000, 0), made("b:dev", 5_000_000, 3_500_000)];
        let table = text(&images);
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect())
            .collect();
        assert_eq!(lines[0], ["image", "id", "beside Envoy", "programs", "libraries", "Envoy"]);
        assert_eq!([lines[1][0], lines[1][2], lines[1][4], lines[1][5]], ["long-name:dev", "2.0 MB", "1.0 MB", "-"]);
        assert_eq!([lines[2][0], lines[2][2], lines[2][3], lines[2][5]], ["b:dev", "1.5 MB", "0.5 MB", "3.5 MB"]);
        assert_eq!(lines[3], ["2 images, together 6.0 MB: a layer that several have counts once"]);
    }
}
