//! Why a fault or a tap could not be had.

use std::io;

use camino::Utf8PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no such network.
    #[error("there is no network {name:?}; there are {known}")]
    NoNetwork {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Traffic inside a network does not pass the backbone.
    #[error("{0:?} is one network: faults and taps are between two different ones")]
    SameNetwork(String),
    /// `nft` refused, or is missing.
    #[error("the rules of the backbone could not be changed or read: {0}")]
    Rules(String),
    /// What was asked for changes nothing, or cannot be.
    #[error("{0}")]
    Effect(String),
    /// A fault was ended twice.
    #[error("fault {0} has ended before")]
    Ended(u64),
    /// The socket or the file of a tap.
    #[error("cannot capture into {file}: {source}")]
    Tap {
        /// The capture file.
        file: Utf8PathBuf,
        /// What stood against it.
        source: io::Error,
    },
    /// The rule was deleted and is still there.
    #[error("the backbone still has the rule {0}")]
    StillThere(String),
    /// The kernel refused something else.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl LinkError {
    pub(super) fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { what, source }
    }
}
