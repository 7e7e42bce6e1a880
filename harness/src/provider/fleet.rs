//! The clusters of an environment that runs, whoever runs them: the embedded world, Docker, or somebody who gave us kubeconfigs.

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::machine::MachineRuntime;

use super::embedded::{self, World};
use super::existing::{self, Existing};
use super::kind::nodes::Nodes;
use super::kind::{self, Kind};
use crate::cluster::Cluster;
use crate::links::Links;
use crate::topology::vm::VmRuntime;

/// Clusters that run.
pub enum Fleet {
    /// One process of ours holds them all.
    Embedded(Box<World>),
    /// They were there before, and stay.
    Existing(Existing),
    /// Containers of a run of ours.
    Kind(Kind),
    /// Containers of a run of ours, and beside them clusters that were there before.
    Mixed(Kind, Existing),
}

/// The clusters of an environment could not be had or given back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The embedded world.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// Clusters that were there before.
    #[error(transparent)]
    Existing(#[from] existing::Error),
    /// Clusters in containers.
    #[error(transparent)]
    Kind(#[from] kind::Error),
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Embedded(embedded::Error::Failed { cure, .. }) if !cure.is_empty() => Some(cure.clone()),
            Self::Embedded(embedded::Error::Left(error)) => Some(error.cure()),
            Self::Kind(error) => error.cure(),
            Self::Embedded(_) | Self::Existing(_) => None,
        }
    }
}

impl Fleet {
    /// The clusters of an environment that was kept, or `None` where none run under that state folder.
    ///
    /// # Errors
    /// Where what was written of them cannot be read.
    pub fn attach(directory: &Utf8Path) -> Result<Option<Self>, Error> {
        Ok(match (Kind::attach(directory)?, Existing::attach(directory)?) {
            (Some(kind), existing) => Some(Self::on_docker(kind, existing)),
            (None, Some(existing)) => Some(Self::Existing(existing)),
            (None, None) => World::attach(directory)?.map(|world| Self::Embedded(Box::new(world))),
        })
    }

    /// Clusters on Docker, and those beside them.
    #[must_use]
    pub fn on_docker(kind: Kind, existing: Option<Existing>) -> Self {
        match existing {
            Some(existing) => Self::Mixed(kind, existing),
            None => Self::Kind(kind),
        }
    }

    /// Id of the run that brought the environment up.
    #[must_use]
    pub fn run_id(&self) -> &str {
        match self {
            Self::Embedded(world) => &world.state().run_id,
            Self::Existing(existing) => existing.run_id(),
            Self::Kind(kind) | Self::Mixed(kind, _) => kind.run_id(),
        }
    }

    /// Name and kubeconfig of each cluster.
    #[must_use]
    pub fn kubeconfigs(&self) -> Vec<(String, Utf8PathBuf)> {
        match self {
            Self::Embedded(world) => {
                let clusters = world.state().clusters.iter();
                clusters.map(|cluster| (cluster.name.clone(), cluster.kubeconfig.clone())).collect()
            }
            Self::Existing(existing) => existing.kubeconfigs(),
            Self::Kind(kind) => kind.kubeconfigs(),
            Self::Mixed(kind, existing) => kind.kubeconfigs().into_iter().chain(existing.kubeconfigs()).collect(),
        }
    }

    /// What plays a virtual machine; `None` where there is no such machine.
    #[must_use]
    pub fn vm_runtime(&self, vm: &str) -> Option<VmRuntime> {
        let Self::Embedded(world) = self else { return None };
        let machine = world.state().machines.iter().find(|machine| machine.name == vm)?;
        Some(match machine.runtime {
            MachineRuntime::Netns => VmRuntime::Netns,
            MachineRuntime::Docker { .. } => VmRuntime::Docker,
        })
    }

    /// Handles of the clusters.
    ///
    /// # Errors
    /// Where a kubeconfig cannot be used.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        match self {
            Self::Embedded(world) => Ok(world.clusters().await?),
            Self::Existing(existing) => Ok(existing.clusters().await?),
            Self::Kind(kind) => Ok(kind.clusters().await?),
            Self::Mixed(kind, existing) => {
                let mut clusters = kind.clusters().await?;
                clusters.extend(existing.clusters().await?);
                Ok(clusters)
            }
        }
    }

    /// The links between their networks, where the provider has a hand on them.
    #[must_use]
    pub fn links(&self) -> Option<Links> {
        match self {
            Self::Embedded(world) => world.links(),
            Self::Existing(_) => None,
            Self::Kind(kind) | Self::Mixed(kind, _) => kind.links(),
        }
    }

    /// The containers that are nodes of its clusters, where they are ours to ask.
    #[must_use]
    pub fn nodes(&self) -> Option<Nodes> {
        match self {
            Self::Embedded(_) | Self::Existing(_) => None,
            Self::Kind(kind) | Self::Mixed(kind, _) => Some(kind.nodes()),
        }
    }

    /// Says so where the clusters have ended, which explains whatever else went wrong.
    pub async fn died(&self) -> Option<Error> {
        match self {
            Self::Embedded(world) => world.died().await.map(Error::from),
            Self::Existing(_) | Self::Kind(_) | Self::Mixed(..) => self.changed().await,
        }
    }

    /// Says so where containers are no longer as they were left, such as after a restart of Docker: nobody may measure there. Where
    /// Docker may not be asked nothing is known of it.
    pub async fn changed(&self) -> Option<Error> {
        match self {
            Self::Embedded(_) | Self::Existing(_) => None,
            Self::Kind(kind) | Self::Mixed(kind, _) => match kind.is_as_it_was().await {
                Err(error @ kind::Error::Changed { .. }) => Some(error.into()),
                _ => None,
            },
        }
    }

    /// Does work that is lost once the clusters end.
    ///
    /// # Errors
    /// As soon as they have ended; the work is dropped then.
    pub async fn while_alive<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        match self {
            Self::Embedded(world) => Ok(world.while_alive(work).await?),
            // They belong to somebody else. What does not answer shows in the work itself.
            Self::Existing(_) | Self::Kind(_) | Self::Mixed(..) => Ok(work.await),
        }
    }

    /// Lets the environment go on without this process.
    ///
    /// # Errors
    /// Where the embedded world cannot be told.
    pub async fn keep(self) -> Result<(), Error> {
        match self {
            Self::Embedded(world) => Ok((*world).keep().await?),
            Self::Existing(_) | Self::Kind(_) | Self::Mixed(..) => Ok(()),
        }
    }
}
