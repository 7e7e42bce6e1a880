//! The state of clusters, machines and nodes when something has not passed, saved before a clean-up changes it: what proxies hold and
//! counted, logs, and objects. Each file is freed of secrets before it is written.
//!
//! Saving is best effort and bounded in time, for each cluster by itself: what cannot be had is told, and changes no verdict.

mod collect;
mod nodes;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use futures::StreamExt as _;
use futures::future::join_all;

use crate::cluster::{Cluster, chain};
use crate::links::Links;
use crate::provider::kind::nodes::Nodes;
use crate::report::event::EventKind;
use crate::report::record::Artifact;
use crate::report::redact;
use crate::report::stream::EventSender;
use crate::report::words;
use crate::topology::Vm;

/// Longest time for one cluster, for the nodes of one, for a machine, and for what is between the networks. All are asked at once.
const DEADLINE: Duration = Duration::from_secs(45);
/// What the file of the links holds.
const COUNTERS: &str = "packets and bytes of every link and rule between the networks";
/// Questions asked at a time, of each cluster.
const AT_A_TIME: usize = 6;
/// The largest file; the end of what is longer is kept, for it is the newest.
const LARGEST: usize = 8 * 1024 * 1024;

/// Whose state is saved.
#[derive(Clone, Default)]
pub struct Subject<'all> {
    /// Clusters.
    pub clusters: Vec<&'all Cluster>,
    /// The links between their networks, and whoever plays machines, where there are such.
    pub links: Option<&'all Links>,
    /// Virtual machines.
    pub machines: &'all [Vm],
    /// The containers that are nodes, where the clusters are containers of ours.
    pub nodes: Option<&'all Nodes>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Saved {
    /// What was saved, by path.
    pub artifacts: Vec<Artifact>,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// Saves the state below `out`, in a folder for `what`: a scenario, or the bring-up. Tells what was saved.
pub(crate) async fn take(subject: &Subject<'_>, what: &str, out: &Utf8Path, events: &EventSender) {
    let folder = out.join("artifacts").join(file_name(what));
    let saved = save(subject, &folder).await;
    events.send(EventKind::ArtifactsTaken {
        scenario: what.to_owned(),
        folder: folder.into_string(),
        artifacts: saved.artifacts,
        missing: saved.missing,
    });
}

/// Saves the state in a folder. A cluster that does not answer costs the others nothing.
pub async fn save(subject: &Subject<'_>, folder: &Utf8Path) -> Saved {
    let saver = Saver { folder, saved: Mutex::default() };
    let clusters = subject.clusters.iter().map(|cluster| saver.bounded(cluster.name(), saver.cluster(cluster)));
    let machines = subject.machines.iter().map(|vm| saver.bounded(&vm.name, saver.machine(vm, subject.links)));
    let between = async {
        if let Some(links) = subject.links {
            saver.bounded(COUNTERS, saver.counters(links)).await;
        }
    };
    let nodes = async {
        if let Some(nodes) = subject.nodes {
            nodes::save(&saver, nodes).await;
        }
    };
    tokio::join!(join_all(clusters), join_all(machines), between, nodes);
    let mut saved = saver.saved.into_inner().unwrap_or_else(PoisonError::into_inner);
    saved.artifacts.sort_by(|left, right| left.path.cmp(&right.path));
    saved.missing.sort();
    saved
}

/// Where the state goes, and what was saved so far: it counts, too, where the time is up in the midst of it.
struct Saver<'folder> {
    folder: &'folder Utf8Path,
    saved: Mutex<Saved>,
}

impl Saver<'_> {
    fn change(&self, change: impl FnOnce(&mut Saved)) {
        change(&mut self.saved.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn lacks(&self, what: &str, why: &str) {
        self.change(|saved| saved.missing.push(format!("{what}: {why}")));
    }

    /// Does a part of the work, for as long as it may take.
    async fn bounded(&self, name: &str, work: impl Future<Output = ()>) {
        if tokio::time::timeout(DEADLINE, work).await.is_err() {
            self.lacks(name, &format!("the rest: saving took longer than {} s", DEADLINE.as_secs()));
        }
    }

    async fn keep(&self, path: &Utf8Path, what: String, content: Result<String, String>) {
        let kept = match content {
            Ok(content) => keep(self.folder, path, what.clone(), content).await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        match kept {
            Ok(artifact) => self.change(|saved| saved.artifacts.push(artifact)),
            Err(why) => self.lacks(&what, &why),
        }
    }

    async fn cluster(&self, cluster: &Cluster) {
        let wanted = match collect::wanted(cluster).await {
            Ok(wanted) => wanted,
            Err(error) => return self.lacks(cluster.name(), &chain(&error)),
        };
        let mut answers = futures::stream::iter(wanted)
            .map(|wanted| async move { (wanted.content(cluster).await, wanted) })
            .buffer_unordered(AT_A_TIME);
        while let Some((content, wanted)) = answers.next().await {
            let path = Utf8Path::new(&file_name(cluster.name())).join(&wanted.path);
            let what = format!("{}: {}", cluster.name(), wanted.what);
            self.keep(&path, what, content.map_err(|error| chain(&error))).await;
        }
    }

    /// The state of a machine, in a folder of its name: no cluster has the same.
    async fn machine(&self, vm: &Vm, links: Option<&Links>) {
        let Some(links) = links else { return self.lacks(&vm.name, "nobody plays machines here") };
        let machine = links.machine(&vm.name);
        for wanted in collect::of_machine(vm) {
            let path = Utf8Path::new(&file_name(&vm.name)).join(&wanted.path);
            self.keep(&path, format!("{}: {}", vm.name, wanted.what), wanted.content(&machine).await).await;
        }
    }

    /// What the routers between the networks counted, link by link and rule by rule, since the environment came up.
    async fn counters(&self, links: &Links) {
        let counted = links.counters().await.map_err(|error| chain(&error));
        let content = counted.map(|routers| serde_json::json!({ "routers": routers }).to_string());
        self.keep(Utf8Path::new("links.json"), COUNTERS.to_owned(), content).await;
    }
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
