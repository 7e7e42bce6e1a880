//! Why clusters on Docker could not be made or ended.

use camino::Utf8PathBuf;

use crate::bundle;
use crate::image::{load, ours};
use crate::install::manifest;
use crate::provider::kind::doctor::Check;
use crate::provider::kind::lock::UnknownRelease;
use crate::provider::kind::{engine, networks, plan, router};
use crate::provider::programs;

/// Clusters on Docker could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine cannot.
    #[error("this machine cannot run kind clusters: {}", .0.iter().map(|check| format!("{}: {}", check.name, check.found)).collect::<Vec<_>>().join("; "))]
    Lacking(Vec<Check>),
    /// A cluster of that name is there already, and not ours.
    #[error("there is a kind cluster {name} already")]
    Taken {
        /// Its name.
        name: String,
    },
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// Networks could not be made.
    #[error(transparent)]
    Networks(#[from] networks::Error),
    /// The environment cannot be written down.
    #[error(transparent)]
    State(#[from] crate::provider::kind::Error),
    /// Docker.
    #[error(transparent)]
    Docker(#[from] engine::Error),
    /// The router.
    #[error(transparent)]
    Router(#[from] router::Error),
    /// The images of our programs cannot be made.
    #[error("the images of this project cannot be made")]
    Images(#[from] ours::Error),
    /// Docker does not take them.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// A bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] bundle::read::Error),
    /// The images of a bundle cannot be handed over.
    #[error(transparent)]
    OfBundle(#[from] bundle::load::Error),
    /// Istio is wanted in a release that is not supported.
    #[error(transparent)]
    Release(#[from] UnknownRelease),
    /// The programs are not there.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// Values of Istio's charts.
    #[error(transparent)]
    Values(#[from] manifest::Error),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A command failed.
    #[error("{cluster}: `{command}` {ended}: {said}")]
    Command {
        /// The cluster.
        cluster: String,
        /// The command line.
        command: String,
        /// How it ended.
        ended: String,
        /// The end of what it said.
        said: String,
    },
    /// MetalLB does not say which addresses it gives.
    #[error(transparent)]
    LoadBalancers(#[from] eventually::TimedOut),
    /// A node, or a LoadBalancer, has no address on its network.
    #[error("{0} has no address on its network")]
    NoAddress(String),
    /// An API server does not answer after its node was started again.
    #[error("{0}")]
    Silent(String),
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Lacking(checks) => {
                let cures: Vec<&str> = checks.iter().filter_map(|check| check.cure.as_deref()).collect();
                Some(cures.join("; "))
            }
            Self::Taken { name } => Some(format!(
                "`--recreate` replaces it; `--name …` is for another environment; as it is it can be used by `provider: existing`, context kind-{name}"
            )),
            Self::Bundle(error) | Self::OfBundle(bundle::load::Error::Bundle(error)) => Some(error.problem.cure()),
            Self::Command { said, .. } if said.contains("pull image") => Some(
                "make a bundle where there is a network (`cargo xtask bundle`) and say `--bundle FILE` here; or `docker load` the image and say its name and tag by --node-image"
                    .to_owned(),
            ),
            Self::Docker(error)
            | Self::Router(router::Error::Docker(error))
            | Self::Networks(networks::Error::Docker(error)) => error.cure(),
            Self::Command { command, .. } => Some(format!("`{command}` says more when it is run by hand")),
            Self::State(error) => error.cure(),
            Self::Silent(_) => Some(
                "`docker logs` of its node says how far it came; `meshproof down`, then `up`, makes everything anew".to_owned(),
            ),
            _ => None,
        }
    }
}
