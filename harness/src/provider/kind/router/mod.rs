//! The router between the mesh networks of an environment: a container with a leg on each, through which alone they reach each
//! other. What it drops is what faults are made of; see `rules`.
//!
//! It has no power over the host: of all capabilities it has `NET_ADMIN`, in its own network namespace.

mod delay;
mod fault;
mod rules;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::Value;
use substrate_config::control::{Direction, Link, RouterCounters, RuleCounters};

use super::addresses::MeshNetwork;
use super::engine::{self, Container, Engine};
use crate::image::ours::ROUTER;
use delay::{Delay, Queue};
pub use fault::RouterFault;
use rules::Effect;
pub use rules::Pair;

/// The router could not be had, or did not do something. Never a verdict on the mesh.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Docker, or a command in the container.
    #[error(transparent)]
    Docker(#[from] engine::Error),
    /// What a program in it wrote cannot be understood.
    #[error("`{command}` in the router says what cannot be understood: {said}")]
    Answer {
        /// The command.
        command: String,
        /// What it wrote.
        said: String,
    },
    /// There is no such link.
    #[error("there is no link between {from} and {to}; the router joins {known}")]
    NoLink {
        /// A network.
        from: String,
        /// Another.
        to: String,
        /// Those that there are.
        known: String,
    },
    /// The kernel cannot delay packets.
    #[error("the kernel of this machine cannot delay packets: {0}")]
    NoDelay(String),
    /// All bands of a leg are taken.
    #[error("{interface} of the router delays for {delays} faults already")]
    NoBand {
        /// The router's interface.
        interface: String,
        /// How many delays it has.
        delays: u16,
    },
    /// A delay has ended, and packets are still held back.
    #[error(transparent)]
    Held(eventually::TimedOut),
    /// A chance that is none.
    #[error("{0} is no chance in percent: it has to be above 0 and at most 100")]
    Chance(f64),
}

/// A router that runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    engine: Engine,
    container: String,
    pairs: Vec<Pair>,
}

/// Name of the router's container.
#[must_use]
pub fn container_name(environment: &str) -> String {
    format!("meshproof-{environment}-router")
}

impl Router {
    /// Starts it on networks that are there. Its image has to be there too.
    ///
    /// # Errors
    /// [`Error`]; nothing of it is left then.
    pub async fn start(engine: &Engine, environment: &str, networks: &[MeshNetwork]) -> Result<Self, Error> {
        let container = Container {
            name: container_name(environment),
            image: ROUTER.to_owned(),
            networks: networks.iter().map(|network| (network.docker.name.clone(), Some(network.router()))).collect(),
            capabilities: vec!["NET_ADMIN".to_owned()],
            sysctls: HashMap::from([("net.ipv4.ip_forward".to_owned(), "1".to_owned())]),
            ..Container::default()
        };
        engine.start(&container).await?;
        match Self::again(engine, environment, networks).await {
            Ok(router) => Ok(router),
            Err(error) => {
                engine.remove_container(&container.name).await?;
                Err(error)
            }
        }
    }

    /// Sets its rules, where its container runs and may have none any more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn again(engine: &Engine, environment: &str, networks: &[MeshNetwork]) -> Result<Self, Error> {
        let router = Self::look(engine, environment, networks).await?;
        router.nft(&[&rules::counting(&router.pairs)]).await?;
        Ok(router)
    }

    /// The router that an earlier process started, by what [`Self::pairs`] told it. Nothing is asked before it is used.
    #[must_use]
    pub fn of(engine: &Engine, environment: &str, pairs: &[Pair]) -> Self {
        Self { engine: engine.clone(), container: container_name(environment), pairs: pairs.to_vec() }
    }

    /// What it joins.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    async fn look(engine: &Engine, environment: &str, networks: &[MeshNetwork]) -> Result<Self, Error> {
        let container = container_name(environment);
        let listing = json(engine, &container, &["ip", "-j", "-4", "address"]).await?;
        let legs: Vec<(&str, String)> = networks
            .iter()
            .map(|network| {
                let interface = rules::interface_with(&listing, network.router());
                interface.map(|interface| (network.name.as_str(), interface)).ok_or_else(|| Error::Answer {
                    command: "ip -j -4 address".to_owned(),
                    said: format!("it has not the address {}", network.router()),
                })
            })
            .collect::<Result<_, _>>()?;
        let pairs = legs.iter().flat_map(|from| legs.iter().map(move |to| (from, to)));
        let pairs = pairs.filter(|(from, to)| from.0 != to.0).map(|(from, to)| Pair {
            from: from.0.to_owned(),
            to: to.0.to_owned(),
            incoming: from.1.clone(),
            outgoing: to.1.clone(),
        });
        Ok(Self { engine: engine.clone(), container, pairs: pairs.collect() })
    }

    /// Lets a container on one network reach all others through the router. What it reaches there has to do the same.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn join(engine: &Engine, container: &str, own: &MeshNetwork, all: &[MeshNetwork]) -> Result<(), Error> {
        let via = own.router().to_string();
        for other in all.iter().filter(|other| other.name != own.name) {
            let subnet = other.docker.subnet.to_string();
            let command = ["ip", "route", "replace", &subnet, "via", &via];
            engine.run_in_network_of(container, ROUTER, &command).await?;
        }
        Ok(())
    }

    /// Gives a node an address more, which a LoadBalancer is reached at.
    ///
    /// # Errors
    /// [`Error::Docker`].
    pub async fn give_address(engine: &Engine, container: &str, address: Ipv4Addr) -> Result<(), Error> {
        let address = format!("{address}/32");
        let command = ["ip", "address", "replace", &address, "dev", "eth0"];
        Ok(engine.run_in_network_of(container, ROUTER, &command).await.map(drop)?)
    }

    /// Drops all packets of a link, those of connections that exist included, for at most `limit`.
    ///
    /// # Errors
    /// [`Error`]; nothing is cut then.
    pub async fn cut(&self, link: &Link, limit: Duration) -> Result<RouterFault, Error> {
        self.begin(link, Effect::Cut, limit).await
    }

    /// Loses packets of a link at random, each with the chance `percent`, for at most `limit`.
    ///
    /// # Errors
    /// [`Error`]; nothing is lost then.
    pub async fn loss(&self, link: &Link, percent: f64, limit: Duration) -> Result<RouterFault, Error> {
        if !(percent > 0.0 && percent <= 100.0) {
            return Err(Error::Chance(percent));
        }
        self.begin(link, Effect::Loss(percent), limit).await
    }

    /// Delivers the packets of a link later, by `by` give or take up to `jitter`, for at most `limit`.
    ///
    /// # Errors
    /// [`Error`]; nothing is delayed then.
    pub async fn delay(
        &self,
        link: &Link,
        by: Duration,
        jitter: Duration,
        limit: Duration,
    ) -> Result<RouterFault, Error> {
        let pairs = self.pairs_of(link)?;
        if let Some(reason) = self.cannot_delay().await? {
            return Err(Error::NoDelay(reason));
        }
        let number = number();
        // From here on whatever is made goes with the fault.
        let mut fault = RouterFault::new(self.clone(), number, limit);
        for leg in delay::legs(&pairs) {
            self.run(&delay::prepare(leg)).await?;
            let band = delay::free_band(&self.queues(leg).await?);
            let band = band.ok_or_else(|| Error::NoBand { interface: leg.to_owned(), delays: delay::MOST })?;
            let queue = Queue::new(leg, band, delay::mark(number));
            let [make, lead] = queue.make(Delay { by, jitter });
            // Another process may have taken the band meanwhile; then it is not ours to remove.
            self.run(&make).await?;
            fault.has_queue(queue);
            self.run(&lead).await?;
        }
        self.nft(&[&delay::table(number, &pairs, limit)]).await?;
        Ok(fault)
    }

    /// Why the kernel cannot delay packets; `None` where it can.
    ///
    /// # Errors
    /// [`Error`], where the router cannot be asked.
    pub async fn cannot_delay(&self) -> Result<Option<String>, Error> {
        match self.run(&delay::probe()).await {
            Ok(()) => Ok(None),
            Err(Error::Docker(engine::Error::Command { said, .. })) => Ok(Some(said)),
            Err(error) => Err(error),
        }
    }

    async fn queues(&self, leg: &str) -> Result<Value, Error> {
        json(&self.engine, &self.container, &["tc", "-s", "-j", "qdisc", "show", "dev", leg]).await
    }

    async fn begin(&self, link: &Link, effect: Effect, limit: Duration) -> Result<RouterFault, Error> {
        let pairs = self.pairs_of(link)?;
        let number = number();
        self.nft(&[&rules::fault(number, effect, &pairs, limit)]).await?;
        Ok(RouterFault::new(self.clone(), number, limit))
    }

    fn pairs_of(&self, link: &Link) -> Result<Vec<Pair>, Error> {
        let between = |from: &str, to: &str| self.pairs.iter().find(|pair| pair.from == from && pair.to == to).cloned();
        let there = between(&link.from, &link.to);
        let back = between(&link.to, &link.from);
        let (Some(there), Some(back)) = (there, back) else {
            let mut known: Vec<&str> = self.pairs.iter().map(|pair| pair.from.as_str()).collect();
            known.dedup();
            let (from, to) = (link.from.clone(), link.to.clone());
            return Err(Error::NoLink { from, to, known: known.join(", ") });
        };
        Ok(match link.direction {
            Direction::Both => vec![there, back],
            Direction::OneWay => vec![there],
        })
    }

    /// What it has counted since it was started.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn counters(&self) -> Result<RouterCounters, Error> {
        let listing = self.nft_json(&["list", "ruleset", "ip"]).await?;
        let rules = rules::counters(&listing).into_iter().filter(|counter| counter.is_ours()).map(|counter| {
            RuleCounters { table: counter.table, name: counter.comment, packets: counter.packets, bytes: counter.bytes }
        });
        Ok(RouterCounters { router: self.container.clone(), links: Vec::new(), rules: rules.collect() })
    }

    async fn run(&self, command: &[String]) -> Result<(), Error> {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        Ok(self.engine.exec(&self.container, &words).await.map(drop)?)
    }

    async fn nft(&self, words: &[&str]) -> Result<String, Error> {
        let command: Vec<&str> = ["nft"].into_iter().chain(words.iter().copied()).collect();
        Ok(self.engine.exec(&self.container, &command).await?)
    }

    async fn nft_json(&self, words: &[&str]) -> Result<Value, Error> {
        let command: Vec<&str> = ["nft", "-j"].into_iter().chain(words.iter().copied()).collect();
        json(&self.engine, &self.container, &command).await
    }
}

/// Several processes may work with one router.
fn number() -> u64 {
    u64::from(rand::random::<u32>())
}

async fn json(engine: &Engine, container: &str, command: &[&str]) -> Result<Value, Error> {
    let said = engine.exec(container, command).await?;
    serde_json::from_str(&said).map_err(|_| Error::Answer { command: command.join(" "), said })
}
