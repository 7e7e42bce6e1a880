//! The state of the clusters and machines when a scenario has not passed, saved before its clean-up changes it: what proxies hold and
//! counted, logs, and objects. Each file is freed of secrets before it is written.
//!
//! Saving is best effort and bounded in time: what cannot be had is told, and changes no verdict.

mod collect;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use futures::StreamExt as _;

use super::context::Environment;
use crate::links::Links;
use crate::report::event::EventKind;
use crate::report::record::Artifact;
use crate::report::redact;
use crate::report::stream::EventSender;
use crate::report::words;
use crate::topology::Vm;

/// Longest time for all of it.
const DEADLINE: Duration = Duration::from_secs(45);
/// What the file of the links holds.
const COUNTERS: &str = "packets and bytes of every link and rule between the networks";
/// Questions asked at a time.
const AT_A_TIME: usize = 6;
/// The largest file; the end of what is longer is kept, for it is the newest.
const LARGEST: usize = 8 * 1024 * 1024;

/// Saves the state of every cluster and of the machines below `out` and tells what was saved.
pub(super) async fn take(
    environment: &Environment,
    machines: &[Vm],
    scenario: &str,
    out: &Utf8Path,
    events: &EventSender,
) {
    let folder = out.join("artifacts").join(file_name(scenario));
    let mut saved = Saved::default();
    if tokio::time::timeout(DEADLINE, save_all(environment, machines, &folder, &mut saved)).await.is_err() {
        saved.missing.push(format!("the rest: saving took longer than {} s", DEADLINE.as_secs()));
    }
    saved.artifacts.sort_by(|left, right| left.path.cmp(&right.path));
    saved.missing.sort();
    events.send(EventKind::ArtifactsTaken {
        scenario: scenario.to_owned(),
        folder: folder.into_string(),
        artifacts: saved.artifacts,
        missing: saved.missing,
    });
}

#[derive(Default)]
struct Saved {
    artifacts: Vec<Artifact>,
    missing: Vec<String>,
}

async fn save_all(environment: &Environment, machines: &[Vm], folder: &Utf8Path, saved: &mut Saved) {
    if let Some(links) = environment.links() {
        match save_counters(links, folder).await {
            Ok(artifact) => saved.artifacts.push(artifact),
            Err(why) => saved.missing.push(format!("{COUNTERS}: {why}")),
        }
    }
    for vm in machines {
        save_machine(environment, vm, folder, saved).await;
    }
    for cluster in environment.clusters() {
        let wanted = match collect::wanted(cluster).await {
            Ok(wanted) => wanted,
            Err(error) => {
                saved.missing.push(format!("{}: {}", cluster.name(), crate::cluster::chain(&error)));
                continue;
            }
        };
        let mut answers = futures::stream::iter(wanted)
            .map(|wanted| async move { (wanted.content(cluster).await, wanted) })
            .buffer_unordered(AT_A_TIME);
        while let Some((content, wanted)) = answers.next().await {
            let path = Utf8Path::new(&file_name(cluster.name())).join(&wanted.path);
            let what = format!("{}: {}", cluster.name(), wanted.what);
            let kept = match content {
                Ok(content) => keep(folder, &path, what, content).await.map_err(|error| error.to_string()),
                Err(error) => Err(crate::cluster::chain(&error)),
            };
            match kept {
                Ok(artifact) => saved.artifacts.push(artifact),
                Err(why) => saved.missing.push(format!("{}: {}: {why}", cluster.name(), wanted.what)),
            }
        }
    }
}

/// The state of a machine, in a folder of its name: no cluster has the same.
async fn save_machine(environment: &Environment, vm: &Vm, folder: &Utf8Path, saved: &mut Saved) {
    let machine = match environment.machine(&vm.name) {
        Ok(machine) => machine,
        Err(error) => return saved.missing.push(format!("{}: {}", vm.name, crate::cluster::chain(&error))),
    };
    for wanted in collect::of_machine(vm) {
        let path = Utf8Path::new(&file_name(&vm.name)).join(&wanted.path);
        let what = format!("{}: {}", vm.name, wanted.what);
        let kept = match wanted.content(&machine).await {
            Ok(content) => keep(folder, &path, what.clone(), content).await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        match kept {
            Ok(artifact) => saved.artifacts.push(artifact),
            Err(why) => saved.missing.push(format!("{what}: {why}")),
        }
    }
}

/// What the routers between the networks counted, link by link and rule by rule, since the environment came up.
async fn save_counters(links: &Links, folder: &Utf8Path) -> Result<Artifact, String> {
    let routers = links.counters().await.map_err(|error| crate::cluster::chain(&error))?;
    let content = serde_json::json!({ "routers": routers }).to_string();
    keep(folder, Utf8Path::new("links.json"), COUNTERS.to_owned(), content).await.map_err(|error| error.to_string())
}

async fn keep(folder: &Utf8Path, path: &Utf8Path, what: String, content: String) -> std::io::Result<Artifact> {
    let target = folder.join(path);
    // Redaction of a large configuration takes a while, and events must go on.
    let bytes = tokio::task::spawn_blocking(move || write(&target, &clean(&content)))
        .await
        .map_err(std::io::Error::other)??;
    Ok(Artifact { what, path: path.to_string(), bytes })
}

fn write(target: &Utf8PathBuf, content: &str) -> std::io::Result<u64> {
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(target, content)?;
    Ok(content.len() as u64)
}

/// Without secrets and not too long. What is JSON is redacted field by field, for names of fields tell secrets.
fn clean(content: &str) -> String {
    let clean = match serde_json::from_str::<serde_json::Value>(content) {
        Ok(mut document) => {
            redact::document(&mut document);
            format!("{document:#}\n")
        }
        Err(_) => redact::text(content).into_owned(),
    };
    let Some(cut) = clean.len().checked_sub(LARGEST).filter(|cut| *cut > 0) else { return clean };
    let cut = (cut..clean.len()).find(|index| clean.is_char_boundary(*index)).unwrap_or(clean.len());
    format!("… the first {} are left out\n{}", words::bytes(cut as u64), &clean[cut..])
}

/// A name that is one part of a path.
fn file_name(name: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let name: String = name.chars().map(|letter| if safe(letter) { letter } else { '_' }).take(120).collect();
    if name.trim_matches('.').is_empty() { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(
            [file_name("a-b.c"), file_name("../x"), file_name(".."), file_name("")],
            ["a-b.c", ".._x", "_", "_"]
        );
    }

    #[test]
    fn what_is_kept_has_no_secrets_and_an_end() {
        let secret = r#"{"items":[{"kind":"Secret","data":{"key.pem":"c2VjcmV0"}}]}"#;
        assert!(!clean(secret).contains("c2VjcmV0"));
        assert_eq!(clean("password=x1"), "password=[redacted]");
        let long = clean(&format!("{}end", "ä".repeat(LARGEST)));
        assert!(long.len() < LARGEST + 100 && long.starts_with("… the first 8.0 MiB") && long.ends_with("end"));
    }
}
