//! The certificate authorities of an environment: made once and kept in its folder, so that one more `up` hands out the same roots
//! and keys. The key of a shared root is never kept: it signs the intermediates, and is gone.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Error;
use crate::install::echo::{self, Certificate};
use crate::install::mesh;
use crate::provider::files;
use crate::topology::Topology;
use crate::trust::LIFETIME;

const FILE: &str = "authorities.json";
/// For so long what is kept has to be valid still: as long as an environment gives credentials to anybody.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Authorities with their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authorities {
    /// Data of the secret `cacerts` by cluster.
    pub(crate) meshes: BTreeMap<String, BTreeMap<String, String>>,
    /// What `echo` serves its own TLS with.
    pub(crate) echo: Option<Certificate>,
}

/// What is handed out once it is kept, and not before: until then the roots of the environment are those of before.
#[must_use]
#[derive(Debug)]
pub(crate) struct Unwritten(State);

impl Unwritten {
    /// Keeps it in the folder of the environment.
    ///
    /// # Errors
    /// Those of the file system; then nothing of it must be handed out.
    pub(crate) fn keep(&self, directory: &Utf8Path) -> Result<(), files::Error> {
        files::write_state(&file(directory), &self.0)
    }
}

/// Something with keys, and what it was made for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept<T> {
    made_for: Value,
    valid_until: Timestamp,
    made: T,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    meshes: Option<Kept<BTreeMap<String, BTreeMap<String, String>>>>,
    echo: Option<Kept<Option<Certificate>>>,
}

impl Authorities {
    /// New ones for a topology.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub(crate) fn generate(topology: &Topology) -> Result<Self, Error> {
        let meshes = mesh::authorities(topology)?;
        let echo = Certificate::of(topology).map_err(mesh::Error::from)?;
        Ok(Self { meshes, echo })
    }

    /// Those of the environment in a folder, as far as they were made for such a topology and are valid at `now` and a day after;
    /// others are made. They are kept as soon as the second part of the answer says so: whoever only looks leaves no trace.
    ///
    /// # Errors
    /// Where the system gives no randomness, or the file cannot be read.
    pub(crate) fn of_environment(
        directory: &Utf8Path,
        topology: &Topology,
        now: Timestamp,
    ) -> Result<(Self, Unwritten), Error> {
        let state: State = files::read_state(&file(directory))?.unwrap_or_default();
        let make = || mesh::authorities(topology);
        let meshes = kept_or(state.meshes, made_for_mesh(topology), now, make)?;
        let make = || Certificate::of(topology).map_err(mesh::Error::from);
        let echo = kept_or(state.echo, json!(echo::namespaces(topology)), now, make)?;
        let authorities = Self { meshes: meshes.made.clone(), echo: echo.made.clone() };
        Ok((authorities, Unwritten(State { meshes: Some(meshes), echo: Some(echo) })))
    }
}

/// Removes them, once nothing is left of the environment.
///
/// # Errors
/// Those of the file system.
pub(crate) fn forget(directory: &Utf8Path) -> Result<(), files::Error> {
    files::remove(&file(directory))
}

fn file(directory: &Utf8Path) -> Utf8PathBuf {
    directory.join(FILE)
}

/// What the authorities of a mesh depend on: a cluster more needs an intermediate of a root whose key is gone.
fn made_for_mesh(topology: &Topology) -> Value {
    let primaries: Vec<&str> = topology.primaries().map(|cluster| cluster.name.as_str()).collect();
    json!({
        "mesh": topology.mesh.id, "root": topology.trust.root, "intermediate": topology.trust.intermediate,
        "managed": topology.trust_is_managed(), "clusters": primaries,
    })
}

fn kept_or<T: Serialize + DeserializeOwned>(
    kept: Option<Kept<T>>,
    made_for: Value,
    now: Timestamp,
    make: impl FnOnce() -> Result<T, mesh::Error>,
) -> Result<Kept<T>, mesh::Error> {
    let usable = |kept: &Kept<T>| kept.made_for == made_for && kept.valid_until - AHEAD > now;
    match kept.filter(usable) {
        Some(kept) => Ok(kept),
        None => {
            let lifetime = SignedDuration::try_from(LIFETIME).expect("invariant: some days");
            Ok(Kept { made_for, valid_until: now + lifetime, made: make()? })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn topology(change: impl Fn(&str) -> String) -> Topology {
        let text = include_str!("../../../scenarios/topologies/two-clusters-echo.yaml");
        crate::topology::validate::read("t.yaml", &change(text)).expect("a topology")
    }

    #[test]
    fn roots_and_keys_are_kept_as_long_as_they_fit_and_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let now = Timestamp::now();
        let of = |topology: &Topology, now: Timestamp| {
            let (authorities, unwritten) = Authorities::of_environment(path, topology, now).expect("made or kept");
            unwritten.keep(path).expect("kept");
            authorities
        };
        let plain = topology(str::to_owned);
        let first = of(&plain, now);
        assert!(first.meshes["cluster1"]["ca-key.pem"].contains("PRIVATE KEY") && first.echo.is_some());
        assert_eq!(first.meshes["cluster1"]["root-cert.pem"], first.meshes["cluster2"]["root-cert.pem"]);
        let mode = std::fs::metadata(file(path)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "keys are their owner's alone");
        assert_eq!(of(&plain, now).meshes, first.meshes);

        let renamed = topology(|text| text.replace("namespace: outside", "namespace: beyond"));
        assert_ne!(renamed, plain);
        assert_eq!(of(&renamed, now).meshes, first.meshes, "applications are none of their business");
        let elsewhere = topology(|text| text.replace("root: shared", "root: per-cluster"));
        let _refused = Authorities::of_environment(path, &elsewhere, now).expect("made");
        assert_eq!(of(&plain, now).meshes, first.meshes, "who only looks replaces nothing");
        let apart = of(&elsewhere, now);
        assert_ne!(apart.meshes["cluster1"]["root-cert.pem"], apart.meshes["cluster2"]["root-cert.pem"]);

        let last_day = now + SignedDuration::from_hours(13 * 24 + 1);
        assert_ne!(of(&elsewhere, last_day).meshes, apart.meshes, "they would end too soon");
    }
}
