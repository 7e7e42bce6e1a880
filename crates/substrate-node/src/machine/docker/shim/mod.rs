//! What looks after containers: a process outside of the world, with the caller's own rights.
//!
//! The world cannot plug a link into a container, which is not its own, and does not outlive a signal that its containers
//! outlive. So whoever makes a container is the process that removes it: it ends after the world, however that ends, and by
//! then no request of its own is on the way. It makes containers of one kind only: with no network but one that is made for it
//! where that is wanted, no mount and few capabilities. Where it is killed itself, the world ends and removes them; where both are killed at once, what is left has a lease
//! that has ended, by which the next run knows that nobody owns it.
//!
//! Here is the world's side; `process` is the other.

mod network;
mod process;

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use docker_support::Engine;
use serde::{Deserialize, Serialize};
use substrate_config::machine::UserDefinedNetwork;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::DockerError;
use crate::fabric::Cable;
use crate::message;
pub use process::maybe_shim;

/// First argument of the process.
const ROLE: &str = "docker-shim";

/// What it is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShimConfig {
    /// Socket of the engine.
    pub socket: Utf8PathBuf,
    /// The run that containers are made for.
    pub run_id: String,
    /// Its environment.
    pub environment: String,
}

/// What it is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Makes a container: [`Answer::Created`].
    Create { machine: String, image: String, capabilities: Vec<String>, network: Option<UserDefinedNetwork> },
    /// Plugs a link into a container; the namespace of its router comes along: [`Answer::Done`].
    Plug { container: String, cable: Cable },
    /// Removes every container: [`Answer::Done`].
    Remove,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Created { container: String },
    Done,
    Refused { message: String, cure: String },
}

/// The process, as long as it is needed.
pub struct Shim {
    config: ShimConfig,
    control: Arc<Mutex<UnixStream>>,
    /// Ends with the process.
    alive: Mutex<Option<OwnedFd>>,
}

impl Shim {
    /// Starts the process. Must be called before the world is entered: it has the rights that its parent has.
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn start(config: &ShimConfig) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new("/proc/self/exe")
            .arg(ROLE)
            .arg(serde_json::to_string(config)?)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .spawn()?;
        let alive = child.stdout.take().map(OwnedFd::from);
        Ok(Self { config: config.clone(), control: Arc::new(Mutex::new(ours)), alive: Mutex::new(alive) })
    }

    /// Socket of the engine.
    pub(super) fn socket(&self) -> &Utf8Path {
        &self.config.socket
    }

    /// Waits until the process has ended, which it does not before the world.
    pub async fn ended(&self) {
        let alive = self.alive.lock().expect("invariant: no panic while it is locked").take();
        let Some(mut alive) = alive.and_then(|alive| pipe::Receiver::from_owned_fd(alive).ok()) else {
            return std::future::pending().await;
        };
        // It never writes.
        let _end = alive.read(&mut [0]).await;
    }

    /// Makes a container and gives its id.
    pub(super) async fn create(
        &self,
        machine: &str,
        image: &str,
        capabilities: &[String],
        network: Option<&UserDefinedNetwork>,
    ) -> Result<String, DockerError> {
        let request = Request::Create {
            machine: machine.to_owned(),
            image: image.to_owned(),
            capabilities: capabilities.to_vec(),
            network: network.cloned(),
        };
        match self.ask(request, None).await? {
            Answer::Created { container } => Ok(container),
            other => Err(unexpected(&other)),
        }
    }

    /// Plugs a container that runs into a router.
    pub(super) async fn plug(&self, container: &str, cable: Cable, router: BorrowedFd<'_>) -> Result<(), DockerError> {
        let router = router.try_clone_to_owned().map_err(DockerError::Shim)?;
        let request = Request::Plug { container: container.to_owned(), cable };
        match self.ask(request, Some(router)).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes every container; by itself where the process has ended.
    ///
    /// # Errors
    /// [`DockerError`], where something is left.
    pub async fn remove(&self) -> Result<(), DockerError> {
        match self.ask(Request::Remove, None).await {
            Ok(Answer::Done) => Ok(()),
            Ok(other) => Err(unexpected(&other)),
            Err(DockerError::Shim(_)) => {
                Ok(Engine::connect(&self.config.socket).await?.remove_run(&self.config.run_id).await?)
            }
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, request: Request, descriptor: Option<OwnedFd>) -> Result<Answer, DockerError> {
        let control = Arc::clone(&self.control);
        let asked = tokio::task::spawn_blocking(move || {
            let control = control.lock().expect("invariant: no panic while it is locked");
            let text = serde_json::to_vec(&request)?;
            message::send(&control, &text, descriptor.as_ref().map(|descriptor| descriptor.as_fd()))?;
            let (text, _) = message::receive(&control)?.ok_or_else(|| io::Error::other("it has ended"))?;
            Ok(serde_json::from_slice(&text)?)
        });
        let answer = asked.await.map_err(io::Error::other).and_then(|answer| answer).map_err(DockerError::Shim)?;
        match answer {
            Answer::Refused { message, cure } => Err(DockerError::Refused { message, cure }),
            answer => Ok(answer),
        }
    }
}

fn unexpected(answer: &Answer) -> DockerError {
    DockerError::Shim(io::Error::other(format!("it answers {answer:?}, which was not asked")))
}
