//! `meshproof bundle`: one file with all that a machine without a network needs for kind clusters.

use std::collections::BTreeSet;
use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::complain;
use crate::bundle::collect::{self, Missing, Wanted, collect};
use crate::bundle::write::{Content, Written, write};
use crate::bundle::{Manifest, Part};
use crate::cli::args::Format;
use crate::cli::images::BundleArgs;
use crate::image::archive::architecture;
use crate::provider::kind::lock::Lock;
use crate::provider::programs::{self, Programs};
use crate::report::{RunOutcome, words};

pub(super) async fn run(args: &BundleArgs) -> RunOutcome {
    let lock = Lock::read();
    let release = match lock.istio.release(args.istio_version.as_deref()) {
        Ok(release) => release,
        Err(error) => return complain(&error, RunOutcome::WrongUsage),
    };
    let parts: BTreeSet<Part> =
        if args.only.is_empty() { Part::ALL.into() } else { args.only.iter().copied().collect() };
    let programs = match parts.contains(&Part::Ours).then(|| found(args)).transpose() {
        Ok(programs) => programs,
        Err(error) => {
            let is_envoy = matches!(error, programs::Error::NoEnvoy { .. });
            return complain(&error, if is_envoy { RunOutcome::MachineCannot } else { RunOutcome::EnvironmentFailed });
        }
    };
    let has_istio = parts.contains(&Part::Istio);
    let node_image = args.node_image.as_deref().unwrap_or(lock.node_image());
    let wanted = Wanted { parts, programs, node_image, release: &release, charts: &args.charts, lock: &lock };
    let contents = match collect(&wanted).await {
        Ok(contents) => contents,
        Err(collect::Error::Missing(missing)) => {
            eprint!("{}", what_is_missing(&missing, &wanted.parts));
            return RunOutcome::MachineCannot;
        }
        Err(error) => return complain(&error, RunOutcome::EnvironmentFailed),
    };
    let out = args.out.clone().unwrap_or_else(default_name);
    let target = out.clone();
    let istio = has_istio.then_some(release.version);
    let written = tokio::task::spawn_blocking(move || put(&target, istio.as_deref(), contents)).await;
    match written.map_err(std::io::Error::other).flatten() {
        Ok(written) => {
            match if args.json { Format::Json } else { args.format } {
                Format::Text => crate::cli::print(&text(&out, &written)),
                Format::Json => crate::cli::print(&format!("{:#}\n", document(&out, &written))),
            }
            RunOutcome::Passed
        }
        Err(error) => {
            eprintln!("error: cannot write {out}: {error}");
            RunOutcome::EnvironmentFailed
        }
    }
}

fn found(args: &BundleArgs) -> Result<Programs, programs::Error> {
    let folder = args.programs.clone().map_or_else(programs::folder, Ok)?;
    Ok(Programs::below(&folder, programs::envoy()?))
}

fn default_name() -> Utf8PathBuf {
    format!("meshproof-bundle-{}-{}.tar.gz", env!("CARGO_PKG_VERSION"), architecture()).into()
}

/// Writes beside the file and puts that in its place once it is whole.
fn put(out: &Utf8Path, istio: Option<&str>, contents: Vec<Content>) -> std::io::Result<Written> {
    let folder = out.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(".".into());
    let mut file = tempfile::Builder::new().prefix(".meshproof-bundle-").tempfile_in(folder)?;
    let mut buffered = std::io::BufWriter::new(file.as_file_mut());
    let written = write(&mut buffered, istio, contents)?;
    buffered.flush()?;
    drop(buffered);
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(out)?;
    Ok(written)
}

/// What is not here, each with the command that gets it, and how to do without.
fn what_is_missing(missing: &[Missing], wanted: &BTreeSet<Part>) -> String {
    let things =
        if missing.len() == 1 { "one thing that is".to_owned() } else { format!("{} things that are", missing.len()) };
    let mut text = format!("error: the bundle needs {things} not on this machine; nothing is pulled by itself\n");
    for Missing { part, what, cure } in missing {
        text.push_str(&format!("  {part}: {what}\n    help: {cure}\n"));
    }
    let lacking: BTreeSet<Part> = missing.iter().map(|missing| missing.part).collect();
    let rest: Vec<String> = wanted.difference(&lacking).map(ToString::to_string).collect();
    if !rest.is_empty() {
        text.push_str(&format!("  to leave them out: --only {}\n", rest.join(",")));
    }
    text
}

fn text(out: &Utf8Path, written: &Written) -> String {
    let mut text = contents(&written.manifest);
    text.push_str(&format!("{out}: {}\n{}\n", words::bytes(written.bytes), written.digest));
    text
}

/// What is in a bundle, as people read it.
pub(super) fn contents(manifest: &Manifest) -> String {
    let mut text = String::new();
    for file in &manifest.files {
        text.push_str(&format!("{}  {}  {}\n", file.path, words::bytes(file.bytes), file.digest));
        for image in &file.images {
            text.push_str(&format!("  {}  {}\n", image.name, image.id));
        }
    }
    let left_out: Vec<String> =
        Part::ALL.iter().filter(|part| !manifest.parts.contains(part)).map(ToString::to_string).collect();
    if !left_out.is_empty() {
        text.push_str(&format!("left out: {}\n", left_out.join(", ")));
    }
    text
}

fn document(out: &Utf8Path, written: &Written) -> serde_json::Value {
    json!({ "file": out, "bytes": written.bytes, "digest": written.digest, "manifest": written.manifest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_cures_and_the_way_to_do_without() {
        let missing = |part, what: &str| Missing { part, what: what.to_owned(), cure: format!("docker pull {what}") };
        let two = [missing(Part::Node, "node:1"), missing(Part::Istio, "pilot:1")];
        let said = what_is_missing(&two, &Part::ALL.into());
        assert_eq!(
            said,
            "error: the bundle needs 2 things that are not on this machine; nothing is pulled by itself\n  \
             node: node:1\n    help: docker pull node:1\n  \
             istio: pilot:1\n    help: docker pull pilot:1\n  \
             to leave them out: --only ours\n"
        );
        let said = what_is_missing(&two[..1], &[Part::Node].into());
        assert!(said.starts_with("error: the bundle needs one thing that is not on"), "{said}");
        assert!(!said.contains("leave"), "nothing would be left: {said}");
    }
}
