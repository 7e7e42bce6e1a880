//! Faults and taps on the links between networks, as everything after provisioning sees them: one handle, no provider.
//!
//! An environment has [`Links`] or it has none; a step that needs what is not there is skipped with the reason.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use meshproof::links::{Direction, Link, Links, Error};
//! # async fn step(links: &Links) -> Result<(), Error> {
//! let both_ways = Link { from: "network1".into(), to: "network2".into(), direction: Direction::Both };
//! let fault = links.cut(&both_ways, Duration::from_secs(60)).await?;
//! // ... measure ...
//! let healing = fault.heal().await?; // evidence, read from the kernel
//! assert!(healing.touched > 0);
//! # Ok(()) }
//! ```
//!
//! What is started ends with the value that stands for it: [`Fault`] and [`Tap`] each hold a connection of their own, and
//! the provider reverts what was started over a connection when that connection ends. So dropping one reverts it, and so
//! does the death of this process, however it dies; only [`Fault::heal`] and [`Tap::stop`] also say what became of it.
//! The time limit is the net below: a fault that outlives it heals by itself, and [`Fault::heal`] then says so.

pub(crate) mod connection;
mod fault;
mod tap;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::control::{ControlCapability, ControlRequest, ControlResponse};
pub use substrate_config::control::{
    Direction, FaultState, FiveTuple, HealedBy, Healing, Link, LinkCounters, Marker, MarkerHits, RouterCounters,
    RuleCounters, TapFlow, TapReport,
};

use crate::provider::kind::router::{self, Router};
use crate::vm::Machine;
use connection::Connection;
pub use fault::Fault;
pub use tap::Tap;

/// What to say where a router between Docker networks is asked for more than it can.
const BEYOND_ROUTERS: &str =
    "the router of the provider `kind` cuts links, delays and loses packets, and can do nothing else";

/// A fault or a tap could not be had, or did not end as it should. Never a verdict on the mesh.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be made or broke: the world has probably ended, and with it every fault.
    #[error("cannot reach the embedded world at {socket}")]
    Unreachable {
        /// The control socket.
        socket: Utf8PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The router between Docker networks.
    #[error(transparent)]
    Router(#[from] router::Error),
    /// The provider did not do it; its own words.
    #[error("{0}")]
    Refused(String),
    /// It has ended, as far as we know, but what was looked at does not show that.
    #[error("the fault has not healed: {0}")]
    NotHealed(String),
    /// The answer belongs to another question: provider and harness are of different versions.
    #[error("unexpected answer {0}; the supervisor and this program are of different versions")]
    Unexpected(String),
}

/// The links between the networks of an environment. Cheap to clone; holds no connection.
#[derive(Clone, Debug)]
pub struct Links {
    to: To,
}

/// Who has a hand on them.
#[derive(Clone, Debug)]
enum To {
    /// The embedded world, by its control socket.
    World(Utf8PathBuf),
    /// A router between Docker networks.
    Router(Router),
}

/// What [`Links::missing`] can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// [`Links::cut`]
    Cut,
    /// [`Links::delay`]
    Delay,
    /// [`Links::loss`]
    Loss,
    /// [`Links::pause_api_server`]
    PauseApiServer,
    /// [`Links::tap`]
    Tap,
}

impl Capability {
    /// As the provider and a report write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::PauseApiServer => "pause-api-server",
            Self::Tap => "tap",
        }
    }
}

impl Links {
    /// The links behind a control socket. Connects when they are used.
    #[must_use]
    pub fn new(socket: &Utf8Path) -> Self {
        Self { to: To::World(socket.to_owned()) }
    }

    /// The links that a router between Docker networks joins.
    #[must_use]
    pub fn of_router(router: Router) -> Self {
        Self { to: To::Router(router) }
    }

    /// The control socket of the world, for what a router cannot do.
    fn world(&self) -> Result<&Utf8Path, Error> {
        match &self.to {
            To::World(socket) => Ok(socket),
            To::Router(_) => Err(Error::Refused(BEYOND_ROUTERS.to_owned())),
        }
    }

    /// The virtual machine of that name. Whether there is one is said when it is asked.
    #[must_use]
    pub fn machine(&self, name: &str) -> Machine {
        // No topology with machines comes up where there is no world.
        Machine::new(name, self.world().unwrap_or(Utf8Path::new("")))
    }

    /// Why this environment cannot do something, as a sentence for the report; `None` where it can.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn missing(&self, capability: Capability) -> Result<Option<String>, Error> {
        let socket = match (&self.to, capability) {
            (To::World(socket), _) => socket,
            (To::Router(_), Capability::Cut | Capability::Loss) => return Ok(None),
            (To::Router(router), Capability::Delay) => {
                let reason = router.cannot_delay().await?;
                return Ok(reason.map(|reason| router::Error::NoDelay(reason).to_string()));
            }
            (To::Router(_), _) => return Ok(Some(BEYOND_ROUTERS.to_owned())),
        };
        let mut connection = Connection::open(socket).await?;
        match connection.ask(&ControlRequest::Capabilities).await? {
            ControlResponse::Capabilities { capabilities } => Ok(reason(&capabilities, capability.name())),
            other => Err(connection::unexpected(&other)),
        }
    }

    /// Drops all packets of a link silently, those of existing connections included, until the fault is healed or dropped
    /// and at most for `limit`.
    ///
    /// # Errors
    /// [`Error`]; nothing is cut then.
    pub async fn cut(&self, link: &Link, limit: Duration) -> Result<Fault, Error> {
        if let To::Router(router) = &self.to {
            return Ok(Fault::on_router(router.cut(link, limit).await?));
        }
        self.start(ControlRequest::Cut { link: link.clone(), limit_milliseconds: milliseconds(limit) }).await
    }

    /// Delivers the packets of a link later, by `delay` give or take up to `jitter`, in their order. Whole milliseconds.
    ///
    /// # Errors
    /// [`Error`]; nothing is delayed then.
    pub async fn delay(&self, link: &Link, delay: Duration, jitter: Duration, limit: Duration) -> Result<Fault, Error> {
        if let To::Router(router) = &self.to {
            return Ok(Fault::on_router(router.delay(link, delay, jitter, limit).await?));
        }
        let whole = |duration| u32::try_from(milliseconds(duration)).unwrap_or(u32::MAX);
        self.start(ControlRequest::Delay {
            link: link.clone(),
            milliseconds: whole(delay),
            jitter_milliseconds: whole(jitter),
            limit_milliseconds: milliseconds(limit),
        })
        .await
    }

    /// Loses packets of a link at random, each with the chance `percent` (above 0, at most 100).
    ///
    /// # Errors
    /// [`Error`]; nothing is lost then.
    pub async fn loss(&self, link: &Link, percent: f64, limit: Duration) -> Result<Fault, Error> {
        if let To::Router(router) = &self.to {
            return Ok(Fault::on_router(router.loss(link, percent, limit).await?));
        }
        self.start(ControlRequest::Loss { link: link.clone(), percent, limit_milliseconds: milliseconds(limit) }).await
    }

    /// Lets a cluster's API server answer nothing: new requests wait, watches stall; it goes on where it stopped.
    /// Streams that run already (`exec`, `port-forward`) are not stopped, but no new one begins.
    ///
    /// # Errors
    /// [`Error`]; nothing is paused then.
    pub async fn pause_api_server(&self, cluster: &str, limit: Duration) -> Result<Fault, Error> {
        let limit_milliseconds = milliseconds(limit);
        self.start(ControlRequest::PauseApiServer { cluster: cluster.to_owned(), limit_milliseconds }).await
    }

    /// Captures what two networks send each other into `file` (pcap, new, mode 0600, at most `limit_bytes` long; an
    /// absolute path), and looks for `markers` in all of it. Sees what leaves a network, also where a fault takes it then.
    ///
    /// # Errors
    /// [`Error`]; nothing is captured then.
    pub async fn tap(
        &self,
        networks: [&str; 2],
        markers: &[Marker],
        file: &Utf8Path,
        limit_bytes: u64,
    ) -> Result<Tap, Error> {
        let [from, to] = networks.map(str::to_owned);
        let request = ControlRequest::Tap { from, to, markers: markers.to_vec(), file: file.to_owned(), limit_bytes };
        let (connection, lease) = self.begin(&request).await?;
        Ok(Tap::new(connection, lease))
    }

    /// What every router has counted since the environment came up, for the artifacts of a run.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn counters(&self) -> Result<Vec<RouterCounters>, Error> {
        if let To::Router(router) = &self.to {
            return Ok(vec![router.counters().await?]);
        }
        let mut connection = Connection::open(self.world()?).await?;
        match connection.ask(&ControlRequest::Counters).await? {
            ControlResponse::Counters { routers } => Ok(routers),
            other => Err(connection::unexpected(&other)),
        }
    }

    async fn start(&self, request: ControlRequest) -> Result<Fault, Error> {
        let (connection, lease) = self.begin(&request).await?;
        Ok(Fault::new(connection, lease))
    }

    async fn begin(&self, request: &ControlRequest) -> Result<(Connection, u64), Error> {
        let mut connection = Connection::open(self.world()?).await?;
        match connection.ask(request).await? {
            ControlResponse::Started { lease } => Ok((connection, lease)),
            other => Err(connection::unexpected(&other)),
        }
    }
}

fn reason(capabilities: &[ControlCapability], name: &str) -> Option<String> {
    match capabilities.iter().find(|capability| capability.name == name) {
        Some(capability) => capability.missing.clone(),
        None => Some(format!("this environment does not know {name}")),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_that_is_not_named_is_missing() {
        let known = |name: &str, missing: Option<&str>| ControlCapability {
            name: name.to_owned(),
            missing: missing.map(str::to_owned),
        };
        let all = [known("cut", None), known("tap", Some("no AF_PACKET"))];
        assert_eq!(reason(&all, Capability::Cut.name()), None);
        assert_eq!(reason(&all, Capability::Tap.name()).as_deref(), Some("no AF_PACKET"));
        assert!(reason(&all, Capability::Delay.name()).is_some_and(|reason| reason.contains("delay")));
    }
}
