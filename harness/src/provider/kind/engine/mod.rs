//! What this provider asks of Docker besides what everybody does: networks with addresses of their own, containers on several of
//! them, and commands in containers. Connecting, errors, labels and removal are `docker-support`'s.

mod container;
mod exec;
mod inspect;
mod network;

use std::collections::HashMap;
use std::sync::Arc;

use bollard::Docker;
use docker_support::{Kind, Thing, labels};
use tokio::sync::OnceCell;

pub use container::Container;
pub use network::Network;

/// Docker did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be used, or refuses.
    #[error(transparent)]
    Docker(#[from] docker_support::Error),
    /// A command in a container failed.
    #[error("`{command}` in container {container} ended with {code}: {said}")]
    Command {
        /// The container.
        container: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i64,
        /// What it said.
        said: String,
    },
}

impl Error {
    /// What to do about it, where that is known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match self {
            Self::Docker(error) => Some(error.cure()),
            Self::Command { .. } => None,
        }
    }
}

/// A Docker engine, and whose things are made there. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    connected: Arc<OnceCell<docker_support::Engine>>,
    run_id: String,
    environment: String,
}

fn refused(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Error {
    let refused = docker_support::Error::refused(action);
    move |source| Error::Docker(refused(source))
}

impl Engine {
    /// The engine of this machine; it is asked when it is first needed.
    #[must_use]
    pub fn new(run_id: &str, environment: &str) -> Self {
        Self { connected: Arc::default(), run_id: run_id.to_owned(), environment: environment.to_owned() }
    }

    async fn connected(&self) -> Result<&docker_support::Engine, Error> {
        let connect = async || docker_support::Engine::connect(&docker_support::socket()?).await;
        Ok(self.connected.get_or_try_init(connect).await?)
    }

    /// The client, for what is not asked often enough to have a name here.
    ///
    /// # Errors
    /// Where the engine cannot be used.
    pub async fn docker(&self) -> Result<&Docker, Error> {
        Ok(self.connected().await?.docker())
    }

    /// Everything that there is of this run.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn things(&self) -> Result<Vec<Thing>, Error> {
        Ok(self.connected().await?.things(Some(&self.run_id)).await?)
    }

    /// Removes everything that there is of this run, and says what it was.
    ///
    /// # Errors
    /// The first that cannot be removed; the rest was still tried.
    pub async fn sweep(&self) -> Result<Vec<Thing>, Error> {
        let things = self.things().await?;
        self.connected().await?.remove(&things).await?;
        Ok(things)
    }

    async fn remove(&self, kind: Kind, name: &str) -> Result<(), Error> {
        Ok(self.connected().await?.remove(&[Thing::named(kind, name)]).await?)
    }

    fn labels(&self) -> HashMap<String, String> {
        labels::lasting(&self.run_id, &self.environment)
    }
}
