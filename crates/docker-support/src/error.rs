//! What can be wrong with an engine, and what mends it.

use camino::Utf8PathBuf;

use crate::version::{ApiVersion, OLDEST};

/// An engine cannot be used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `DOCKER_HOST` names no Unix socket.
    #[error("DOCKER_HOST is {0:?}, and only engines behind a Unix socket of this machine can be used")]
    Host(String),
    /// There is no socket.
    #[error("no Docker engine: there is no socket {0}")]
    Absent(Utf8PathBuf),
    /// Nobody listens on it.
    #[error("no Docker engine: nobody answers on {0}")]
    Down(Utf8PathBuf),
    /// It may not be opened.
    #[error("no permission for the socket of the Docker engine, {0}")]
    Permission(Utf8PathBuf),
    /// Something answers, and not as an engine does.
    #[error("what answers on {socket} is no Docker engine: {problem}")]
    Strange {
        /// Where.
        socket: Utf8PathBuf,
        /// What it said.
        problem: String,
    },
    /// Its API is older than what is tried.
    #[error("the Docker engine speaks version {found} of its API, and {OLDEST} is the oldest that is supported")]
    TooOld {
        /// What it speaks.
        found: ApiVersion,
    },
    /// It refused.
    #[error("the Docker engine cannot {action}: {}", said(source))]
    Refused {
        /// What was asked.
        action: String,
        /// Its answer.
        source: Box<bollard::errors::Error>,
    },
    /// What was to be removed is still there.
    #[error("left on the Docker engine: {0}")]
    Left(String),
}

impl Error {
    /// For `map_err`: says what was asked.
    pub fn refused(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let action = action.into();
        move |source| Self::Refused { action, source: Box::new(source) }
    }

    /// The status that the engine answered with, such as 404.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { source, .. } => status(source),
            _ => None,
        }
    }

    /// Whether what was asked about is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether a network was refused because another one has some of its addresses.
    #[must_use]
    pub fn is_overlap(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if OVERLAPS.iter().any(|words| said(source).contains(words)))
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::Host(_) => "unset DOCKER_HOST, or let it name a socket: unix:///var/run/docker.sock".to_owned(),
            Self::Absent(_) => {
                "install Docker 20.10 or newer (`sudo apt-get install docker.io`), or start it: `sudo systemctl start docker`"
                    .to_owned()
            }
            Self::Down(_) => "start it: `sudo systemctl start docker`".to_owned(),
            Self::Permission(_) => {
                "run as root, or let this user use Docker (`sudo usermod -aG docker $USER`, then log in again)"
                    .to_owned()
            }
            Self::Strange { socket, .. } => format!("let DOCKER_HOST name the engine's socket in place of {socket}"),
            Self::TooOld { .. } => "install Docker 20.10 or newer".to_owned(),
            Self::Refused { source, .. } => of_refusal(&said(source)),
            Self::Left(_) => "remove it by hand: `docker rm --force NAME`, `docker network rm NAME`".to_owned(),
        }
    }
}

/// What an engine says of a network some of whose addresses another one has: of a pool, or of a bridge.
const OVERLAPS: [&str; 2] = ["overlaps with other one on this address space", "networks have overlapping"];

/// The engine's own words are all that tells its failures apart.
fn of_refusal(said: &str) -> String {
    let lower = said.to_lowercase();
    let known = [
        (
            "no space left",
            "free some space where Docker keeps its data: `docker system df` says what takes it, `docker system prune` removes what nobody uses",
        ),
        ("address pool", "remove networks that nobody uses: `docker network prune`"),
        ("overlap", "remove the network that has these addresses: `docker network ls`, `docker network inspect NAME`"),
        ("no such image", "build or load the image first; nothing is pulled"),
        (
            "address already in use",
            "see what else has the address: `docker network inspect NAME` for one of a network, `ss -ltnp` for a port",
        ),
        ("already in use", "end the environment that has the name first: `meshproof down`"),
        ("timeout", "see what keeps the engine busy: `docker ps`, `journalctl -u docker`"),
    ];
    let found = known.iter().find(|(words, _)| lower.contains(words)).map(|(_, cure)| *cure);
    found.unwrap_or("look into the engine's own log: `journalctl -u docker`").to_owned()
}

fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn said(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> Error {
        Error::refused("create a container")(bollard::errors::Error::DockerResponseServerError {
            status_code: 500,
            message: message.to_owned(),
        })
    }

    #[test]
    fn the_engines_words_lead_to_a_cure() {
        for (said, cure) in [
            ("write /var/lib/docker/tmp/x: no space left on device", "docker system prune"),
            // As Docker 20.10 says it, and as Docker 28 does.
            (
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                "docker network prune",
            ),
            ("all predefined address pools have been fully subnetted", "docker network prune"),
            ("No such image: x:latest", "nothing is pulled"),
            ("Pool overlaps with other one on this address space", "docker network inspect"),
            ("Address already in use", "docker network inspect"),
            ("The container name \"/a\" is already in use by container \"b\"", "meshproof down"),
            ("something else", "journalctl"),
        ] {
            let error = refused(said);
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.cure().contains(cure), "{said}: {}", error.cure());
        }
    }
    #[test]
    fn addresses_that_another_network_has_are_told_from_addresses_that_are_all_taken() {
        for (said, overlaps) in [
            // As Docker 20.10 says it, as Docker 28 does, and as its bridges do.
            ("Pool overlaps with other one on this address space", true),
            ("invalid pool request: Pool overlaps with other one on this address space", true),
            ("cannot create network a (br-a): conflicts with network b (br-b): networks have overlapping IPv4", true),
            ("could not find an available, non-overlapping IPv4 address pool among the defaults", false),
            ("all predefined address pools have been fully subnetted", false),
        ] {
            assert_eq!(refused(said).is_overlap(), overlaps, "{said}");
        }
        assert!(!Error::Left("Pool overlaps with other one on this address space".to_owned()).is_overlap());
    }
}
