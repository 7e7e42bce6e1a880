//! The programs that an environment is made of: built ones beside this executable, Envoy where the user has it.

use camino::Utf8PathBuf;

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
        let executable = std::env::current_exe().map_err(|error| Error::Executable(error.to_string()))?;
        let executable = Utf8PathBuf::try_from(executable).map_err(|error| Error::Executable(error.to_string()))?;
        let directory = executable.parent().ok_or_else(|| Error::Executable(executable.to_string()))?;
        let beside = |name: &str| {
            let path = directory.join(name);
            if path.is_file() { Ok(path) } else { Err(Error::NotBuilt { path }) }
        };
        Ok(Self {
            substrate: beside("meshproof-substrate")?,
            pilot: beside("pilot-discovery")?,
            agent: beside("pilot-agent")?,
            bookinfo: beside("bookinfo")?,
            // Only topologies with a management plane need them, and say so where they are missing.
            hub_manager: directory.join("hub-manager"),
            hub_agent: directory.join("hub-agent"),
            envoy: envoy()?,
        })
    }

    /// Asks what was not built here whether it can be used.
    ///
    /// # Errors
    /// [`Error::NoEnvoy`].
    pub async fn check(&self) -> Result<(), Error> {
        super::envoy::check(&self.envoy).await.map_err(|reason| Error::NoEnvoy { reason })
    }
}

fn envoy() -> Result<Utf8PathBuf, Error> {
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
