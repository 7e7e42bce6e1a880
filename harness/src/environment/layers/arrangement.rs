//! How the clusters of an environment work together, on disk: where their mesh comes from, how they find each other, whether they are
//! joined. Some of that is in no layer, and nothing takes it away but `down`; so an environment that is there keeps to it.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::environment::existing::MeshSource;
use crate::provider::existing::contexts::Refusal;
use crate::provider::files::{self, Error};
use crate::topology::{Discovery, Topology};

const FILE: &str = "arrangement.json";
/// What helps where only the whole environment goes.
const ANEW: &str = "`meshproof down`, then `up`";

/// What one more `up` has to leave as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arrangement {
    mesh: MeshSource,
    discovery: Discovery,
    virtual_mesh: bool,
}

impl Arrangement {
    /// The one that is wanted.
    #[must_use]
    pub(crate) fn of(topology: &Topology, mesh: MeshSource) -> Self {
        Self { mesh, discovery: topology.discovery, virtual_mesh: topology.virtual_mesh().is_some() }
    }

    /// That of the environment in a folder, once it was begun.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub(crate) fn read(directory: &Utf8Path) -> Result<Option<Self>, Error> {
        files::read_state(&directory.join(FILE))
    }

    /// From here on it is that of the environment.
    ///
    /// # Errors
    /// [`Error`]; then nothing must be made.
    pub(crate) fn keep(self, directory: &Utf8Path) -> Result<(), Error> {
        files::write_state(&directory.join(FILE), &self)
    }

    /// What cannot become of an environment that has this one.
    #[must_use]
    pub(crate) fn refusals(self, wanted: Self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        // Over one that is there and not ours, the look at the clusters decides.
        if self.mesh != MeshSource::Present && self.mesh != wanted.mesh {
            let (then, now) = (of_mesh(self.mesh), of_mesh(wanted.mesh));
            refusals.push(Refusal::new(
                format!(
                    "an earlier `up` began this environment with `--mesh {then}`, and a mesh does not become `{now}`"
                ),
                format!("say `--mesh {then}`; otherwise {ANEW}"),
            ));
        }
        if self.discovery != wanted.discovery {
            let (then, now) = (of_discovery(self.discovery), of_discovery(wanted.discovery));
            let message = format!(
                "an earlier `up` began this environment with `discovery: {then}`, and what that made stays in force under `{now}`"
            );
            refusals.push(Refusal::new(message, format!("keep `discovery: {then}`; otherwise {ANEW}")));
        }
        if self.virtual_mesh != wanted.virtual_mesh {
            let (then, now) = if self.virtual_mesh { ("a", "none") } else { ("no", "one") };
            refusals.push(Refusal::new(
                format!("an earlier `up` began this environment with {then} virtual mesh, and now {now} is wanted"),
                format!("keep `virtualMesh` as it was; otherwise {ANEW}"),
            ));
        }
        refusals
    }
}

fn of_mesh(mesh: MeshSource) -> &'static str {
    match mesh {
        MeshSource::Present => "present",
        MeshSource::Embedded => "embedded",
        MeshSource::Istio => "istio",
    }
}

fn of_discovery(discovery: Discovery) -> &'static str {
    match discovery {
        Discovery::RemoteSecrets => "remote-secrets",
        Discovery::Hub => "hub",
        Discovery::None => "none",
    }
}

/// Removes it, once nothing is left of the environment.
///
/// # Errors
/// [`Error`].
pub(crate) fn forget(directory: &Utf8Path) -> Result<(), Error> {
    files::remove(&directory.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: Arrangement =
        Arrangement { mesh: MeshSource::Embedded, discovery: Discovery::RemoteSecrets, virtual_mesh: false };

    fn messages(begun: Arrangement, wanted: Arrangement) -> String {
        let refusals = begun.refusals(wanted);
        refusals.iter().map(|refusal| format!("{}\n  {}\n", refusal.message, refusal.cure)).collect()
    }

    #[test]
    fn what_stays_in_force_cannot_be_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        assert_eq!(Arrangement::read(path).expect("read"), None);
        BEGUN.keep(path).expect("written");
        let begun = Arrangement::read(path).expect("read").expect("it is there");
        assert_eq!(messages(begun, BEGUN), "");
        let wanted = Arrangement { mesh: MeshSource::Istio, discovery: Discovery::Hub, virtual_mesh: true };
        insta::assert_snapshot!(messages(begun, wanted), @r"
        an earlier `up` began this environment with `--mesh embedded`, and a mesh does not become `istio`
          say `--mesh embedded`; otherwise `meshproof down`, then `up`
        an earlier `up` began this environment with `discovery: remote-secrets`, and what that made stays in force under `hub`
          keep `discovery: remote-secrets`; otherwise `meshproof down`, then `up`
        an earlier `up` began this environment with no virtual mesh, and now one is wanted
          keep `virtualMesh` as it was; otherwise `meshproof down`, then `up`
        ");
        forget(path).expect("removed");
        assert_eq!(Arrangement::read(path).expect("read"), None);
    }

    #[test]
    fn a_mesh_of_somebody_else_binds_nobody() {
        let present = Arrangement { mesh: MeshSource::Present, ..BEGUN };
        assert_eq!(messages(present, BEGUN), "");
        assert_ne!(messages(BEGUN, present), "");
    }
}
