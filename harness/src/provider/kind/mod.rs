//! The `kind` provider: real clusters in containers, a Docker bridge for each mesh network, and a router between them.
//!
//! What an environment has is written down before it is made, and carries the run's id as a label: `down` finds all of it,
//! also after a run that was killed.

pub mod addresses;
pub mod commands;
pub mod doctor;
pub mod engine;
pub mod istio;
pub mod load_balancers;
pub mod lock;
pub mod networks;
pub mod nodes;
pub mod plan;
pub mod remembered;
pub mod repair;
pub mod router;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{client, files};
use crate::cluster::{Access, Cluster};
use crate::links::Links;
use addresses::MeshNetwork;
use engine::Engine;
use nodes::Nodes;
use plan::Plan;
use remembered::{Remembered, Wrong};
use router::{Pair, Router};

/// File that says what an environment has on Docker; that it is there makes the environment one of this provider.
const STATE: &str = "kind.json";
/// Label that kind gives to the containers of a cluster's nodes.
pub const CLUSTER: &str = "io.x-k8s.kind.cluster";

/// Clusters in containers could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the environment cannot be read or written.
    #[error(transparent)]
    Io(#[from] files::Error),
    /// A kubeconfig cannot be used.
    #[error(transparent)]
    Kubeconfig(#[from] client::Error),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] engine::Error),
    /// The router.
    #[error(transparent)]
    Router(#[from] router::Error),
    /// Containers are not as they were left.
    #[error("containers of environment {environment} are not as `up` left them: {}", sentences(.wrong))]
    Changed {
        /// The environment.
        environment: String,
        /// What is wrong.
        wrong: Vec<Wrong>,
    },
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Docker(error) | Self::Router(router::Error::Docker(error)) => error.cure(),
            Self::Changed { environment, .. } => {
                Some(format!("`meshproof up --name {environment}`, with all that was said the first time, mends it"))
            }
            Self::Io(_) | Self::Kubeconfig(_) | Self::Router(_) => None,
        }
    }
}

/// What is wrong with containers, in one line.
#[must_use]
pub fn sentences(wrong: &[Wrong]) -> String {
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What is remembered of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    run_id: String,
    environment: String,
    clusters: Vec<Known>,
    /// Its networks and their subnets, once they are made.
    #[serde(default)]
    networks: Vec<(String, String)>,
    /// What the router joins, once there is one.
    router: Vec<Pair>,
    /// Nodes and router, as they were once everything was set in them.
    #[serde(default)]
    containers: Vec<Remembered>,
}

/// A cluster of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    name: String,
    network: String,
    kind_name: String,
    kubeconfig: Utf8PathBuf,
    server_for_other_clusters: String,
}

impl Known {
    async fn cluster(&self) -> Result<Cluster, client::Error> {
        let access = Access {
            kubeconfig: self.kubeconfig.clone(),
            server_for_other_clusters: self.server_for_other_clusters.clone(),
        };
        client::cluster(&self.name, &self.network, access).await
    }
}

/// Clusters on Docker.
#[derive(Debug)]
pub struct Kind {
    directory: Utf8PathBuf,
    state: State,
}

impl Kind {
    /// Writes down that something is about to be made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(directory: &Utf8Path, run_id: &str, environment: &str) -> Result<Self, Error> {
        let state = State {
            run_id: run_id.to_owned(),
            environment: environment.to_owned(),
            clusters: Vec::new(),
            networks: Vec::new(),
            router: Vec::new(),
            containers: Vec::new(),
        };
        let kind = Self { directory: directory.to_owned(), state };
        kind.write()?;
        Ok(kind)
    }

    /// Writes down which clusters are about to be made. Of those that there are it is known where others reach them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_clusters(&mut self, plan: &Plan) -> Result<(), Error> {
        let before = std::mem::take(&mut self.state.clusters);
        let server =
            |name: &str| before.iter().find(|known| known.name == name).map(|known| &known.server_for_other_clusters);
        let clusters = plan.clusters.iter().map(|cluster| Known {
            name: cluster.name.clone(),
            network: cluster.network.clone(),
            kind_name: cluster.kind_name.clone(),
            kubeconfig: cluster.kubeconfig.clone(),
            server_for_other_clusters: server(&cluster.name).cloned().unwrap_or_default(),
        });
        self.state.clusters = clusters.collect();
        self.write()
    }

    /// Writes down which networks were made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_networks(&mut self, networks: &[MeshNetwork]) -> Result<(), Error> {
        let networks = networks.iter().map(|network| (network.name.clone(), network.docker.subnet.to_string()));
        self.state.networks = networks.collect();
        self.write()
    }

    /// The networks that were made.
    #[must_use]
    pub fn networks(&self) -> Vec<MeshNetwork> {
        let known = self.state.networks.iter();
        known
            .filter_map(|(name, subnet)| Some(addresses::mesh_network(self.environment(), name, subnet.parse().ok()?)))
            .collect()
    }

    /// Its folder.
    #[must_use]
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    fn write(&self) -> Result<(), Error> {
        Ok(files::write_state(&self.directory.join(STATE), &self.state)?)
    }

    /// The environment of a folder, or `None` where it is not one of this provider.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn attach(directory: &Utf8Path) -> Result<Option<Self>, Error> {
        let state = files::read_state(&directory.join(STATE))?;
        Ok(state.map(|state| Self { directory: directory.to_owned(), state }))
    }

    /// Forgets the environment, once all of it is gone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget(&self) -> Result<(), Error> {
        Ok(files::remove(&self.directory.join(STATE))?)
    }

    /// Removes the files with images, which are large.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_archives(&self) -> Result<(), Error> {
        files::remove_folder(&self.directory.join(plan::BUNDLE))?;
        Ok(files::remove(&self.directory.join(plan::ARCHIVE))?)
    }

    /// Id of the run that began it, which is the label of what it made.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.state.run_id
    }

    /// Name of the environment.
    #[must_use]
    pub fn environment(&self) -> &str {
        &self.state.environment
    }

    /// The names of its clusters for kind.
    pub fn kind_names(&self) -> impl Iterator<Item = &str> {
        self.state.clusters.iter().map(|known| known.kind_name.as_str())
    }

    /// The names of its clusters in the topology.
    pub fn cluster_names(&self) -> impl Iterator<Item = &str> {
        self.state.clusters.iter().map(|known| known.name.as_str())
    }

    /// Name and kubeconfig of each cluster.
    #[must_use]
    pub fn kubeconfigs(&self) -> Vec<(String, Utf8PathBuf)> {
        self.state.clusters.iter().map(|known| (known.name.clone(), known.kubeconfig.clone())).collect()
    }

    /// Remembers where the other clusters reach the API server of one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_server(&mut self, cluster: &str, url: &str) -> Result<(), Error> {
        for known in self.state.clusters.iter_mut().filter(|known| known.name == cluster) {
            url.clone_into(&mut known.server_for_other_clusters);
        }
        self.write()
    }

    /// Remembers the router between its networks, or that there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_router(&mut self, router: Option<&Router>) -> Result<(), Error> {
        self.state.router = router.map(|router| router.pairs().to_vec()).unwrap_or_default();
        self.write()
    }

    /// Remembers nodes and router, as they are.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_containers(&mut self, containers: Vec<Remembered>) -> Result<(), Error> {
        self.state.containers = containers;
        self.write()
    }

    /// Forgets containers that are about to be made anew.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_no_longer(&mut self, gone: impl Fn(&str) -> bool) -> Result<(), Error> {
        self.state.containers.retain(|known| !gone(&known.container));
        self.write()
    }

    /// Nodes and router, as they were.
    #[must_use]
    pub fn containers(&self) -> &[Remembered] {
        &self.state.containers
    }

    /// What is wrong with nodes and router.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn wrong(&self) -> Result<Vec<Wrong>, Error> {
        Ok(repair::wrong(&self.engine(), self.containers()).await?)
    }

    /// The same as an error, where something is wrong.
    ///
    /// # Errors
    /// [`Error::Changed`], and where Docker cannot be asked.
    pub async fn is_as_it_was(&self) -> Result<(), Error> {
        let wrong = self.wrong().await?;
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::Changed { environment: self.environment().to_owned(), wrong })
    }

    /// Docker, with the labels of this environment.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::new(self.run_id(), self.environment())
    }

    /// Its containers, to be asked when something has failed.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        let clusters = self.state.clusters.iter().map(|known| (known.name.clone(), known.kind_name.clone()));
        let router = (self.state.networks.len() > 1).then(|| router::container_name(self.environment()));
        Nodes::new(self.engine(), clusters.collect(), router)
    }

    /// The links between its networks, where there are several.
    #[must_use]
    pub fn links(&self) -> Option<Links> {
        let pairs = &self.state.router;
        (!pairs.is_empty()).then(|| Links::of_router(Router::of(&self.engine(), self.environment(), pairs)))
    }

    /// Handles of the clusters.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        self.clusters_where(|_| true).await
    }

    /// Handles of those whose names fit.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`].
    pub async fn clusters_where(&self, fits: impl Fn(&str) -> bool) -> Result<Vec<Cluster>, Error> {
        let mut clusters = Vec::with_capacity(self.state.clusters.len());
        for known in self.state.clusters.iter().filter(|known| fits(&known.name)) {
            clusters.push(known.cluster().await?);
        }
        Ok(clusters)
    }

    /// Handles of those clusters whose API servers answer.
    pub async fn answering_clusters(&self) -> Vec<Cluster> {
        let looks = self.state.clusters.iter().map(async |known| {
            let cluster = known.cluster().await.ok()?;
            cluster.client().apiserver_version().await.ok().map(|_| cluster)
        });
        futures::future::join_all(looks).await.into_iter().flatten().collect()
    }
}
