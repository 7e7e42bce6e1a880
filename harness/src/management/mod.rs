//! The management plane from outside: clusters are registered with it and taken from it, its resources are shown and checked.
//!
//! Everything goes through the API servers of the management cluster and of the cluster concerned; the manager's own view
//! ([`snapshot`]) is asked for by port-forward. Knows no provider: any kubeconfig will do.

pub mod deregistration;
pub mod describe;
pub mod facts;
pub mod health;
pub mod join;
pub mod registration;
pub mod resources;
pub mod restart;
pub mod snapshot;
pub mod table;
pub mod target;

use crate::cluster::Error as ClusterError;
use crate::install::{manifest, mesh};

/// Something that was asked of the management plane did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request cannot be carried out as it is.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        cure: String,
    },
    /// A cluster refused, or could not be reached.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The manager or an agent could not be installed.
    #[error(transparent)]
    Install(#[from] mesh::Error),
    /// A manifest of ours is broken.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// Something did not come about in time.
    #[error("{source}")]
    Late {
        /// What was awaited, and what was seen last.
        source: eventually::TimedOut,
        /// What to do.
        cure: String,
    },
}

impl Error {
    fn refused(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), cure: cure.into() }
    }

    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Refused { cure, .. } | Self::Late { cure, .. } => Some(cure.clone()).filter(|cure| !cure.is_empty()),
            Self::Install(error) => error.cure(),
            Self::Cluster(_) | Self::Manifest(_) => None,
        }
    }

    /// Whether the request was wrong, and nothing was tried.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}
