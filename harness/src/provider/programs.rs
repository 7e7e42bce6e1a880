//! The programs that an environment is made of: built ones beside this executable, Envoy where the user has it.

use camino::{Utf8Path, Utf8PathBuf};

/// Paths of every program, all absolute.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The embedded Kubernetes.
    pub substrate: Utf8PathBuf,
    /// The mesh control plane.
    pub pilot: Utf8PathBuf,
    /// What runs beside each Envoy.
    pub agent: Utf8PathBuf,
    /// The sample applications.
    pub bookinfo: Utf8PathBuf,
    /// The management plane's manager.
    pub hub_manager: Utf8PathBuf,
    /// The management plane's agent.
    pub hub_agent: Utf8PathBuf,
    /// The first process of virtual machines that are containers.
    pub machine_init: Utf8PathBuf,
    /// Envoy, 1.40 or newer.
    pub envoy: Utf8PathBuf,
}

/// A program is not where it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not beside this executable.
    #[error("{path} does not exist; `cargo xtask` builds it, or run `cargo build --workspace --bins`")]
    NotBuilt {
        /// Where it was looked for.
        path: Utf8PathBuf,
    },
    /// There is no Envoy.
    #[error(
        "no Envoy: {reason}; `cargo xtask` fetches one, or set MESHPROOF_ENVOY to a binary of version 1.40 or newer"
    )]
    NoEnvoy {
        /// Where it was looked for.
        reason: String,
    },
    /// The path of this executable is unknown or not UTF-8.
    #[error("cannot tell where this program lies: {0}")]
    Executable(String),
}

impl Programs {
    /// Finds them all.
    ///
    /// # Errors
    /// The first that is missing.
    ///
    /// Whether Envoy can be used is another question: [`Self::check`].
    pub fn find() -> Result<Self, Error> {
        Self::built_in(&folder()?, envoy()?)
    }

    /// Those in a folder, each of which has to be there.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] for the first that is missing.
    pub fn built_in(folder: &Utf8Path, envoy: Utf8PathBuf) -> Result<Self, Error> {
        let programs = Self::below(folder, envoy);
        // Only topologies with a management plane need its programs, and say so where they are missing.
        let needed = [&programs.substrate, &programs.pilot, &programs.agent, &programs.bookinfo];
        let missing = needed.into_iter().find(|path| !path.is_file()).cloned();
        missing.map_or(Ok(programs), |path| Err(Error::NotBuilt { path }))
    }

    /// Where they lie below a folder, whether they are there or not.
    #[must_use]
    pub fn below(folder: &Utf8Path, envoy: Utf8PathBuf) -> Self {
        Self {
            substrate: folder.join("meshproof-substrate"),
            pilot: folder.join("pilot-discovery"),
            agent: folder.join("pilot-agent"),
            bookinfo: folder.join("bookinfo"),
            hub_manager: folder.join("hub-manager"),
            hub_agent: folder.join("hub-agent"),
            machine_init: folder.join("meshproof-machine-init"),
            envoy,
        }
    }

    /// Asks what was not built here whether it can be used.
    ///
    /// # Errors
    /// [`Error::NoEnvoy`].
    pub async fn check(&self) -> Result<(), Error> {
        super::envoy::check(&self.envoy).await.map_err(|reason| Error::NoEnvoy { reason })
    }
}

/// The folder of this executable, where those that were built with it lie.
///
/// # Errors
/// [`Error::Executable`].
pub fn folder() -> Result<Utf8PathBuf, Error> {
    let executable = std::env::current_exe().map_err(|error| Error::Executable(error.to_string()))?;
    let executable = Utf8PathBuf::try_from(executable).map_err(|error| Error::Executable(error.to_string()))?;
    let folder = executable.parent().ok_or_else(|| Error::Executable(executable.to_string()))?;
    Ok(folder.to_owned())
}

/// Where the user has Envoy.
///
/// # Errors
/// [`Error::NoEnvoy`].
pub fn envoy() -> Result<Utf8PathBuf, Error> {
    let missing = |reason: String| Error::NoEnvoy { reason };
    if let Ok(path) = std::env::var("MESHPROOF_ENVOY") {
        let path = Utf8PathBuf::from(path);
        return match path.canonicalize_utf8() {
            Ok(path) if path.is_file() => Ok(path),
            _ => Err(missing(format!("MESHPROOF_ENVOY names {path}, which is not a file"))),
        };
    }
    let directories = std::env::var("PATH").unwrap_or_default();
    directories
        .split(':')
        .map(|directory| Utf8PathBuf::from(directory).join("envoy"))
        .find(|path| path.is_file())
        .ok_or_else(|| missing("neither MESHPROOF_ENVOY nor `envoy` on PATH".to_owned()))
}
