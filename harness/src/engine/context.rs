//! What steps run on and what they remember.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::check::convergence;
use crate::cluster::{self, Cluster};
use crate::links::Links;
use crate::scenario::plan::ObjectRef;

/// The clusters of a run, and what else its provider has.
#[derive(Clone)]
pub struct Environment {
    clusters: BTreeMap<String, Cluster>,
    links: Option<Links>,
    artifacts: Option<Utf8PathBuf>,
}

/// A step could not be carried out. Says nothing about the mesh.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cluster refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The configuration did not arrive everywhere.
    #[error(transparent)]
    Convergence(#[from] convergence::Error),
    /// The plan names a cluster that the environment does not have.
    #[error("this environment has no cluster {0}")]
    NoCluster(String),
    /// There is no running pod of a workload.
    #[error("{cluster}: no running pod of {workload}")]
    NoPod {
        /// Cluster.
        cluster: String,
        /// Name of the workload.
        workload: String,
    },
    /// A control refers to a step that measures nothing; the plan's check lets none through.
    #[error("step {0:?} measures nothing")]
    NoMeasurement(String),
    /// The probe could not tell how a connection ended.
    #[error("the probe could not tell how the connection ended (`{0}`)")]
    Unclassified(String),
    /// A step inside this one could not be carried out; it said why.
    #[error("a step inside could not be carried out")]
    StepInside,
    /// What a control changed is still changed.
    #[error("the change of the control could not be undone")]
    NotRestored,
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl Environment {
    /// From the handles of a provider.
    #[must_use]
    pub fn new(clusters: Vec<Cluster>, links: Option<Links>) -> Self {
        let clusters = clusters.into_iter().map(|cluster| (cluster.name().to_owned(), cluster)).collect();
        Self { clusters, links, artifacts: None }
    }

    /// Faults and taps between networks; `None` where the provider has none.
    #[must_use]
    pub fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Saves the state of scenarios that do not pass below a folder, before their clean-up.
    #[must_use]
    pub fn with_artifacts(self, folder: &Utf8Path) -> Self {
        Self { artifacts: Some(folder.to_owned()), ..self }
    }

    /// Where the state of scenarios that do not pass is saved, if it is.
    pub(super) fn artifacts(&self) -> Option<&Utf8Path> {
        self.artifacts.as_deref()
    }

    /// A cluster by name.
    ///
    /// # Errors
    /// [`Error::NoCluster`].
    pub fn cluster(&self, name: &str) -> Result<&Cluster, Error> {
        self.clusters.get(name).ok_or_else(|| Error::NoCluster(name.to_owned()))
    }

    /// All clusters in the order of their names.
    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.values()
    }
}

/// Versions of objects as this run last applied them: what proxies must have acknowledged before anything is measured.
#[derive(Debug, Default)]
pub(super) struct Applied(BTreeMap<(String, ObjectRef), String>);

impl Applied {
    pub(super) fn insert(&mut self, cluster: &str, object: ObjectRef, version: String) {
        self.0.insert((cluster.to_owned(), object), version);
    }

    pub(super) fn version(&self, cluster: &str, object: &ObjectRef) -> Option<&String> {
        self.0.get(&(cluster.to_owned(), object.clone()))
    }
}
