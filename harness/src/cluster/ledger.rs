//! What was made on clusters that belong to somebody else, so that exactly that can be removed, also after this process was
//! killed: every object is written down before it is made, and carries the id of the run.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8Path;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Label of what a run made on clusters that were there before; its value is the id of the run.
pub const LABEL_RUN: &str = "meshproof.dev/run";

/// An object that was made, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Cluster.
    pub cluster: String,
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, for kinds that have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Entry {
    /// The object of a manifest.
    #[must_use]
    pub fn of(cluster: &str, manifest: &Value) -> Self {
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Self {
            cluster: cluster.to_owned(),
            api_version: text("/apiVersion").unwrap_or_default(),
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
        }
    }

    /// A manifest that names the object and says nothing more of it.
    #[must_use]
    pub fn manifest(&self) -> Value {
        let mut manifest =
            json!({ "apiVersion": self.api_version, "kind": self.kind, "metadata": { "name": self.name } });
        if let Some(namespace) = &self.namespace {
            manifest["metadata"]["namespace"] = namespace.as_str().into();
        }
        manifest
    }

    /// As people name it.
    #[must_use]
    pub fn named(&self) -> String {
        let namespace = self.namespace.as_ref().map_or(String::new(), |namespace| format!("{namespace}/"));
        format!("{} {namespace}{}", self.kind, self.name)
    }
}

/// What happens to objects that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// They are left as they are: what is installed is only what is missing.
    Left,
    /// They are changed: a scenario says what it changes, and changes it back.
    Changed,
}

/// The file, and what is in it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    run_id: Arc<str>,
    foreign: Foreign,
    file: Arc<Mutex<Written>>,
}

#[derive(Debug)]
struct Written {
    file: File,
    entries: HashSet<Entry>,
}

impl Ledger {
    /// Opens the ledger of a run; one that is not there begins empty.
    ///
    /// # Errors
    /// Those of the file system, and a line that cannot be read.
    pub fn open(path: &Utf8Path, run_id: &str, foreign: Foreign) -> io::Result<Self> {
        let entries = read(path)?.into_iter().collect();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { run_id: run_id.into(), foreign, file: Arc::new(Mutex::new(Written { file, entries })) })
    }

    /// Whether an object that is there is to be left as it is.
    pub(super) fn leaves(&self, object: &DynamicObject) -> bool {
        self.foreign == Foreign::Left && !is_of(object, &self.run_id)
    }

    /// The manifest of an object that is about to be made, which is written down first.
    ///
    /// # Errors
    /// Those of the file system; then it must not be made.
    pub(super) fn record(&self, cluster: &str, manifest: &Value) -> io::Result<Value> {
        let entry = Entry::of(cluster, manifest);
        let mut written = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if written.entries.insert(entry.clone()) {
            let mut line = serde_json::to_vec(&entry).map_err(io::Error::other)?;
            line.push(b'\n');
            written.file.write_all(&line)?;
            written.file.sync_data()?;
        }
        Ok(self.labelled(manifest))
    }

    /// The same manifest with the id of the run, where the object is one of the run's.
    pub(super) fn kept(&self, there: &DynamicObject, manifest: &Value) -> Value {
        if is_of(there, &self.run_id) { self.labelled(manifest) } else { manifest.clone() }
    }

    fn labelled(&self, manifest: &Value) -> Value {
        let mut manifest = manifest.clone();
        let metadata = &mut manifest["metadata"];
        if !metadata["labels"].is_object() {
            metadata["labels"] = json!({});
        }
        metadata["labels"][LABEL_RUN] = self.run_id.as_ref().into();
        manifest
    }
}

/// Whether an object says that a run made it.
#[must_use]
pub fn is_of(object: &DynamicObject, run_id: &str) -> bool {
    object.labels().get(LABEL_RUN).is_some_and(|label| label == run_id)
}

/// What was written down, in the order in which it was made. A last line that is cut off was never acted upon.
///
/// # Errors
/// Those of the file system, and a line that cannot be read.
pub fn read(path: &Utf8Path) -> io::Result<Vec<Entry>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| io::Error::other(format!("{path}:{}: {error}", index + 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "reviews", "namespace": "bookinfo", "labels": { "app": "reviews" } },
        })
    }

    fn object(labels: &Value) -> DynamicObject {
        serde_json::from_value(json!({ "metadata": { "name": "reviews", "labels": labels } })).expect("an object")
    }

    #[test]
    fn what_is_made_is_on_disk_first_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8").join("created.jsonl");
        let ledger = Ledger::open(&path, "1a2b", Foreign::Left).expect("opened");
        let labelled = ledger.record("cluster1", &manifest()).expect("written");
        assert_eq!(labelled["metadata"]["labels"], json!({ "app": "reviews", LABEL_RUN: "1a2b" }));
        let again = Ledger::open(&path, "1a2b", Foreign::Left).expect("opened again");
        again.record("cluster1", &manifest()).expect("known");
        again.record("cluster2", &manifest()).expect("written");
        let entries = read(&path).expect("read");
        let clusters: Vec<&str> = entries.iter().map(|entry| entry.cluster.as_str()).collect();
        assert_eq!(clusters, ["cluster1", "cluster2"]);
        assert_eq!(entries[0].manifest()["metadata"], json!({ "name": "reviews", "namespace": "bookinfo" }));
    }

    #[test]
    fn a_line_that_was_cut_off_is_no_object() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8").join("created.jsonl");
        let ledger = Ledger::open(&path, "1a2b", Foreign::Left).expect("opened");
        ledger.record("cluster1", &manifest()).expect("written");
        let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"{\"cluster\": \"clus").expect("written");
        assert_eq!(read(&path).expect("read").len(), 1);
        file.write_all(b"\n").expect("written");
        assert!(read(&path).expect_err("damaged").to_string().contains("created.jsonl:2"));
    }

    #[test]
    fn what_somebody_else_made_is_left_where_that_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8").join("created.jsonl");
        let installing = Ledger::open(&path, "1a2b", Foreign::Left).expect("opened");
        let running = Ledger::open(&path, "1a2b", Foreign::Changed).expect("opened");
        let (own, of_another) = (object(&json!({ LABEL_RUN: "1a2b" })), object(&json!({ LABEL_RUN: "ffff" })));
        assert!(installing.leaves(&of_another) && installing.leaves(&object(&json!({}))));
        assert!(!installing.leaves(&own) && !running.leaves(&of_another));
        assert_eq!(running.kept(&of_another, &manifest()), manifest(), "it does not become ours");
        assert_eq!(running.kept(&own, &manifest())["metadata"]["labels"][LABEL_RUN], "1a2b");
    }
}
