//! The `existing` provider: clusters that somebody else runs, by contexts of a kubeconfig. Nothing is started and nothing is
//! ended; what is made there is written down first, see [`crate::cluster::ledger`].

mod api_server;
pub mod contexts;
pub mod preflight;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{client, files};
use crate::cluster::ledger::{self, Entry, Foreign, Ledger};
use crate::cluster::{Access, Cluster};
use crate::install::credential::is_loopback;
use contexts::Chosen;

/// File that says which clusters an environment has; that it is there makes the environment one of this provider.
const STATE: &str = "existing.json";
/// File of what was made there.
const LEDGER: &str = "created.jsonl";

/// Clusters that were there before could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the environment cannot be read or written.
    #[error(transparent)]
    Io(#[from] files::Error),
    /// A kubeconfig cannot be used.
    #[error(transparent)]
    Kubeconfig(#[from] client::Error),
    /// A cluster does not answer.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Error),
}

/// What is remembered of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    run_id: String,
    clusters: Vec<Known>,
}

/// A cluster of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: String,
    network: String,
    context: String,
    kubeconfig: Utf8PathBuf,
    server_for_other_clusters: String,
}

/// Clusters of somebody else that an environment uses.
#[derive(Debug)]
pub struct Existing {
    directory: Utf8PathBuf,
    state: State,
}

impl Existing {
    /// Writes down which clusters an environment uses, with a kubeconfig of its own for each.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(directory: &Utf8Path, run_id: &str, chosen: &[Chosen]) -> Result<Self, Error> {
        let mut clusters = Vec::with_capacity(chosen.len());
        for one in chosen {
            let folder = directory.join("clusters").join(&one.cluster);
            files::create_private_directory(&folder)?;
            let kubeconfig = folder.join("kubeconfig");
            files::write(&kubeconfig, one.kubeconfig.to_string().as_bytes())?;
            clusters.push(Known {
                name: one.cluster.clone(),
                network: one.network.clone(),
                context: one.context.clone(),
                kubeconfig,
                server_for_other_clusters: one.server_for_other_clusters.clone(),
            });
        }
        let existing = Self { directory: directory.to_owned(), state: State { run_id: run_id.to_owned(), clusters } };
        existing.write()?;
        Ok(existing)
    }

    fn write(&self) -> Result<(), Error> {
        Ok(files::write_state(&self.directory.join(STATE), &self.state)?)
    }

    /// Asks each cluster for the address of its API server whose kubeconfig has one that no other cluster can reach.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find_api_servers(&mut self) -> Result<(), Error> {
        for (known, cluster) in self.bare_clusters().await?.iter().enumerate() {
            let known = &mut self.state.clusters[known];
            if is_loopback(&known.server_for_other_clusters)
                && let Some(url) = api_server::by_endpoints(cluster).await?
            {
                known.server_for_other_clusters = url;
            }
        }
        self.write()
    }

    /// The clusters of an environment that was brought up, or `None` where the folder is not that of one.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn attach(directory: &Utf8Path) -> Result<Option<Self>, Error> {
        let state = files::read_state(&directory.join(STATE))?;
        Ok(state.map(|state| Self { directory: directory.to_owned(), state }))
    }

    /// Id of the run that began it, which is the label of all that was made.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.state.run_id
    }

    /// Name and kubeconfig of each cluster.
    #[must_use]
    pub fn kubeconfigs(&self) -> Vec<(String, Utf8PathBuf)> {
        self.state.clusters.iter().map(|known| (known.name.clone(), known.kubeconfig.clone())).collect()
    }

    /// Handles for scenarios, which may change what is there, and change it back.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        self.with_ledger(Foreign::Changed).await
    }

    /// Handles for an installation: what is there already stays as it is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clusters_to_install_on(&self) -> Result<Vec<Cluster>, Error> {
        self.with_ledger(Foreign::Left).await
    }

    async fn with_ledger(&self, foreign: Foreign) -> Result<Vec<Cluster>, Error> {
        let path = self.ledger_path();
        let ledger = Ledger::open(&path, self.run_id(), foreign).map_err(files::failed(format!("use {path}")))?;
        let bare = self.bare_clusters().await?;
        Ok(bare.into_iter().map(|cluster| cluster.with_ledger(ledger.clone())).collect())
    }

    /// Handles that write nothing down, for what only looks or removes.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub async fn bare_clusters(&self) -> Result<Vec<Cluster>, Error> {
        let mut clusters = Vec::with_capacity(self.state.clusters.len());
        for known in &self.state.clusters {
            let access = Access {
                kubeconfig: known.kubeconfig.clone(),
                server_for_other_clusters: known.server_for_other_clusters.clone(),
            };
            clusters.push(client::cluster(&known.name, &known.network, access).await?);
        }
        Ok(clusters)
    }

    /// What was made, in that order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn made(&self) -> Result<Vec<Entry>, Error> {
        let path = self.ledger_path();
        Ok(ledger::read(&path).map_err(files::failed(format!("read {path}")))?)
    }

    /// Forgets the environment, once all that was made is gone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget(&self) -> Result<(), Error> {
        files::remove(&self.ledger_path())?;
        Ok(files::remove(&self.directory.join(STATE))?)
    }

    fn ledger_path(&self) -> Utf8PathBuf {
        self.directory.join(LEDGER)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn an_environment_is_found_again_and_its_credentials_are_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        assert!(Existing::attach(path).expect("asked").is_none());
        let chosen = Chosen {
            cluster: "cluster1".to_owned(),
            network: "network1".to_owned(),
            context: "prod-eu".to_owned(),
            kubeconfig: json!({ "kind": "Config" }),
            server_for_other_clusters: "https://10.0.0.1:6443".to_owned(),
        };
        let begun = Existing::begin(path, "1a2b", &[chosen]).expect("begun");
        let found = Existing::attach(path).expect("asked").expect("there");
        assert_eq!((found.run_id(), &found.state), ("1a2b", &begun.state));
        let (_, kubeconfig) = &found.kubeconfigs()[0];
        assert_eq!(std::fs::metadata(kubeconfig).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
