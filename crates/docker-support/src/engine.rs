//! The engine of this machine: where it is, and what is spoken with it.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use bollard::Docker;
use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::{ApiVersion, Error};

/// Where an engine listens where nobody says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// An engine that takes longer to say its version is in trouble.
const GREETING: Duration = Duration::from_secs(10);
/// Longest time for one request, in seconds. Loading an image may take long on a busy disk.
const PATIENCE: u64 = 120;

/// A Docker engine that answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    socket: Utf8PathBuf,
    version: ApiVersion,
    name: String,
}

/// What an engine says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Greeting {
    version: String,
    api_version: String,
}

/// The socket of the engine: that of `DOCKER_HOST`, or the usual one.
///
/// # Errors
/// [`Error::Host`].
pub fn socket() -> Result<Utf8PathBuf, Error> {
    match std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        None => Ok(SOCKET.into()),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(path.into()),
            _ => Err(Error::Host(host)),
        },
    }
}

impl Engine {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// [`Error`], each with its cure.
    pub async fn connect(socket: &Utf8Path) -> Result<Self, Error> {
        let strange = |problem: String| Error::Strange { socket: socket.to_owned(), problem };
        let late = |_| strange(format!("it says nothing for {} s", GREETING.as_secs()));
        let greeting = tokio::time::timeout(GREETING, greet(socket)).await.map_err(late)??;
        let version: ApiVersion = greeting
            .api_version
            .parse()
            .map_err(|()| strange(format!("it says that its API has version {:?}", greeting.api_version)))?;
        let spoken = version.spoken().ok_or(Error::TooOld { found: version })?;
        let docker =
            Docker::connect_with_unix(socket.as_str(), PATIENCE, &spoken).map_err(Error::refused("be connected"))?;
        Ok(Self { docker, socket: socket.to_owned(), version, name: greeting.version })
    }

    /// Its client.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> &Utf8Path {
        &self.socket
    }

    /// Version of the engine, such as `20.10.24`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of its API.
    #[must_use]
    pub fn api_version(&self) -> ApiVersion {
        self.version
    }

    /// Why links cannot be plugged into the network of its containers from here; `None` where they can. It needs root's own
    /// rights on the machine that the engine runs on, and sight of its processes.
    ///
    /// # Errors
    /// Where the engine cannot be reached.
    pub async fn no_links(&self) -> Result<Option<String>, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Some("only root can plug a link into the network of a container".to_owned()));
        }
        let stream = open(&self.socket).await?;
        let peer = nix::sys::socket::getsockopt(&stream.as_fd(), nix::sys::socket::sockopt::PeerCredentials);
        let engine = peer.map(|peer| peer.pid()).unwrap_or_default();
        let same = |kind: &str| {
            let own = std::fs::read_link(format!("/proc/self/ns/{kind}"));
            let its = std::fs::read_link(format!("/proc/{engine}/ns/{kind}"));
            matches!((own, its), (Ok(own), Ok(its)) if own == its)
        };
        // A process of another PID namespace has the number 0 here.
        if engine == 0 || !same("pid") || !same("user") {
            let why = "the Docker engine runs outside of the container that this is, whose root cannot plug links into others";
            return Ok(Some(why.to_owned()));
        }
        Ok(None)
    }
}

async fn open(socket: &Utf8Path) -> Result<UnixStream, Error> {
    UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Absent(socket.to_owned()),
        io::ErrorKind::PermissionDenied => Error::Permission(socket.to_owned()),
        io::ErrorKind::ConnectionRefused => Error::Down(socket.to_owned()),
        _ => Error::Strange { socket: socket.to_owned(), problem: error.to_string() },
    })
}

/// Asks for the version by a path without one: an engine refuses to speak of anything by a version that it does not know.
async fn greet(socket: &Utf8Path) -> Result<Greeting, Error> {
    let stream = open(socket).await?;
    let asked = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = hyper::Request::get("/version").header("host", "docker").body(Empty::<Bytes>::new());
        let request = request.expect("invariant: a constant request is right");
        let answer = async {
            let response = sender.send_request(request).await?;
            response.into_body().collect().await.map(http_body_util::Collected::to_bytes)
        };
        tokio::pin!(answer);
        // The connection only makes progress while somebody polls it.
        tokio::select! {
            answer = &mut answer => answer,
            ended = connection => { ended?; answer.await }
        }
    };
    let strange = |problem: String| Error::Strange { socket: socket.to_owned(), problem };
    let body = asked.await.map_err(|error| strange(error.to_string()))?;
    serde_json::from_slice(&body).map_err(|_| {
        let text = String::from_utf8_lossy(&body);
        strange(format!("it answers {:?}", text.chars().take(100).collect::<String>()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use nix::unistd::{Uid, setfsuid};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    /// A socket whose every connection is answered by these bytes.
    fn answering(folder: &tempfile::TempDir, answer: &'static str) -> Utf8PathBuf {
        let path = Utf8PathBuf::try_from(folder.path().join("docker.sock")).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /version "), "{}", String::from_utf8_lossy(&request[..read]));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        path
    }

    async fn refusal(socket: &Utf8Path) -> Error {
        Engine::connect(socket).await.expect_err("it cannot be used")
    }

    #[tokio::test]
    async fn where_nobody_is_it_says_which_of_the_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(folder.path().join("docker.sock")).unwrap();
        assert!(matches!(refusal(&path).await, Error::Absent(_)));
        drop(UnixListener::bind(&path).unwrap());
        let down = refusal(&path).await;
        assert!(matches!(down, Error::Down(_)), "{down}");
        assert!(down.cure().contains("systemctl start docker"));
    }

    #[tokio::test]
    async fn what_is_too_old_or_strange_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let old = "HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n{\"Version\":\"18.09.1\",\"ApiVersion\":\"1.39\"}";
        let error = refusal(&answering(&folder, old)).await;
        assert!(matches!(error, Error::TooOld { found } if found.minor == 39), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = refusal(&answering(&folder, "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno\n")).await;
        assert!(error.to_string().contains("it answers \"no\\n\""), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let error = refusal(&answering(&folder, "SSH-2.0-OpenSSH\r\n")).await;
        assert!(matches!(error, Error::Strange { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_version_between_is_spoken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"Version\":\"25.0.3\",\"ApiVersion\":\"1.44\"}";
        let engine = Engine::connect(&answering(&folder, answer)).await.unwrap();
        assert_eq!(engine.docker().client_version().minor_version, 44);
        assert_eq!(engine.name(), "25.0.3");
    }

    #[tokio::test]
    async fn a_socket_of_somebody_else_is_told_from_one_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = answering(&folder, "");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root may open everything, but not this thread of it: its rights over files are those of `nobody`.
        let own = setfsuid(Uid::from_raw(65534));
        let error = refusal(&path).await;
        setfsuid(own);
        assert!(matches!(error, Error::Permission(_)), "{error}");
        assert!(error.cure().contains("usermod -aG docker"));
    }
}
