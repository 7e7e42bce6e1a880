//! The `existing` provider: clusters that somebody else runs, by contexts of a kubeconfig. Nothing is started and nothing is
//! ended; what is made there is written down first, see [`crate::cluster::ledger`].

mod api_server;
pub mod contexts;
pub mod preflight;

use camino::{Utf8Path, Utf8PathBuf};
use kube::config::Kubeconfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{client, files};
use crate::cluster::ledger::{self, Entry, Foreign, Ledger};
use crate::cluster::{Access, Cluster};
use crate::install::credential::{Endpoint, is_loopback};
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
    /// The environment is one of other clusters.
    #[error("{0}")]
    Others(String),
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

    /// Goes on with an environment that was begun before, by credentials that may be newer.
    ///
    /// # Errors
    /// [`Error::Others`] where these are other clusters, and [`Error::Io`].
    pub fn go_on(self, chosen: &[Chosen]) -> Result<Self, Error> {
        let names = |mut names: Vec<&str>| {
            names.sort_unstable();
            names.join(", ")
        };
        let begun = names(self.state.clusters.iter().map(|known| known.name.as_str()).collect());
        let wanted = names(chosen.iter().map(|one| one.cluster.as_str()).collect());
        if begun != wanted {
            return Err(Error::Others(format!("it was begun with the clusters {begun}, not with {wanted}")));
        }
        let mut chosen = chosen.to_vec();
        for one in &mut chosen {
            let known = self.state.clusters.iter().find(|known| known.name == one.cluster);
            let known = known.expect("invariant: the names are the same");
            let (then, now) = (server_of(&known.kubeconfig)?, server_in(&one.kubeconfig));
            if now.as_ref() != Some(&then) {
                let now = now.map_or("nothing".to_owned(), |now| now.server);
                let what = format!("{} was at {}, and context {} is {now}", known.name, then.server, one.context);
                return Err(Error::Others(what));
            }
            // Where the user says nothing, what was said or found before holds.
            if one.server_for_other_clusters == then.server {
                one.server_for_other_clusters.clone_from(&known.server_for_other_clusters);
            }
        }
        Self::begin(&self.directory, &self.state.run_id, &chosen)
    }

    /// Its folder.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
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

/// How the API server of a kubeconfig in our folder is reached, and told from others.
fn server_of(kubeconfig: &Utf8Path) -> Result<Endpoint, Error> {
    let broken = |message: String| client::Error { path: kubeconfig.to_owned(), message };
    let config = Kubeconfig::read_from(kubeconfig).map_err(|error| broken(error.to_string()))?;
    Ok(Endpoint::of(&config, None).map_err(broken)?)
}

fn server_in(kubeconfig: &Value) -> Option<Endpoint> {
    let config: Kubeconfig = serde_json::from_value(kubeconfig.clone()).ok()?;
    Endpoint::of(&config, None).ok()
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

    fn chosen(cluster: &str, server: &str, token: &str) -> Chosen {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "me" } }],
            "users": [{ "name": "me", "user": { "token": token } }],
        });
        Chosen {
            cluster: cluster.to_owned(),
            network: "network1".to_owned(),
            context: "c".to_owned(),
            kubeconfig,
            server_for_other_clusters: server.to_owned(),
        }
    }

    #[test]
    fn one_goes_on_with_newer_credentials_and_never_on_other_clusters() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let kubeconfig = |existing: &Existing| std::fs::read_to_string(&existing.kubeconfigs()[0].1).expect("there");
        Existing::begin(path, "1a2b", &[chosen("cluster1", "https://one:6443", "old")]).expect("begun");
        let again = |one: Chosen| Existing::attach(path).expect("asked").expect("there").go_on(&[one]);

        let newer = again(chosen("cluster1", "https://one:6443", "new")).expect("the same");
        assert!(newer.run_id() == "1a2b" && kubeconfig(&newer).contains("new"));
        let moved = again(chosen("cluster1", "https://two:6443", "other")).expect_err("another");
        assert_eq!(moved.to_string(), "cluster1 was at https://one:6443, and context c is https://two:6443");
        let more = again(chosen("cluster2", "https://one:6443", "new")).expect_err("others");
        assert_eq!(more.to_string(), "it was begun with the clusters cluster1, not with cluster2");
        assert!(kubeconfig(&newer).contains("https://one"), "`down` still knows where");
    }

    #[test]
    fn neither_their_order_nor_what_was_known_of_them_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let [first, second] = ["one", "two"].map(|name| chosen(name, &format!("https://{name}:6443"), "token"));
        let told = "https://10.0.0.1:6443";
        let said = Chosen { server_for_other_clusters: told.to_owned(), ..first.clone() };
        Existing::begin(path, "1a2b", &[said, second.clone()]).expect("begun");
        let again = |all: &[Chosen]| {
            let existing = Existing::attach(path).expect("asked").expect("there").go_on(all).expect("the same");
            let known = existing.state.clusters.iter().find(|known| known.name == "one").expect("it is there");
            known.server_for_other_clusters.clone()
        };
        assert_eq!(again(&[second.clone(), first.clone()]), told);
        let moved = Chosen { server_for_other_clusters: "https://10.0.0.2:6443".to_owned(), ..first };
        assert_eq!(again(&[moved, second]), "https://10.0.0.2:6443", "the newest word holds");
    }
}
