//! Faults and taps on the links between networks. They live in the backbone's namespace, where all networks are joined.
//!
//! Each cut has an nftables table of its own, so that it ends by the end of that table and nothing else has to be
//! written again; packets that are delayed or lost go through a `wire`. Whether something has ended is read back from
//! the kernel. Who may have a fault for how long is not decided here but by the supervisor's control socket.

mod counters;
mod effects;
mod error;
mod nft;
mod packet_socket;
mod rules;
mod tap;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use camino::Utf8Path;
use substrate_config::control::{Direction, Link, Marker, RouterCounters};
use tokio::sync::{Mutex, MutexGuard};

use super::namespace::Namespace;
use super::netlink::Mac;
use super::{Cidr, FabricConfig};
pub use effects::Effect;
use effects::Sum;
pub use error::LinkError;
use rules::Pair;
pub use tap::LinkTap;
use wire::Wire;

/// Where one network is plugged into the backbone.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Name of the network.
    pub(super) network: String,
    /// Index of the interface.
    pub(super) index: u32,
    /// Name of the interface.
    pub(super) interface: String,
    /// Link-layer address of the backbone's side.
    pub(super) near: Mac,
    /// Link-layer address of the network's router.
    pub(super) far: Mac,
    /// Addresses that are routed to it.
    pub(super) subnets: Vec<Cidr>,
}

/// A fault in force. It ends by [`Links::end`] only, not by being dropped.
#[derive(Debug)]
pub struct LinkFault {
    number: u64,
    pairs: Vec<Pair>,
    effect: Effect,
    /// What the wires had done before, for effects that need them.
    before: u64,
}

/// What was seen when a fault had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Packets that it touched.
    pub touched: u64,
    /// What was looked at, as a sentence.
    pub evidence: String,
}

/// The links between the networks of a world.
pub struct Links {
    backbone: Arc<Namespace>,
    routers: BTreeMap<String, Arc<Namespace>>,
    ports: BTreeMap<String, Port>,
    /// Held while rules change.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the last fault.
    last: u64,
    faults: BTreeMap<u64, (Vec<Pair>, Effect)>,
    wires: BTreeMap<Pair, Wire>,
}

impl Links {
    pub(super) fn new(backbone: Arc<Namespace>, routers: BTreeMap<String, Arc<Namespace>>, ports: Vec<Port>) -> Self {
        let ports = ports.into_iter().map(|port| (port.network.clone(), port)).collect();
        Self { backbone, routers, ports, state: Mutex::default() }
    }

    /// Loads the rules that count what passes between networks.
    pub(super) async fn count(&self) -> Result<(), LinkError> {
        let ports: Vec<&Port> = self.ports.values().collect();
        nft::load(&self.backbone, rules::counting(&ports)).await
    }

    /// Starts a fault.
    ///
    /// # Errors
    /// An unknown network, an effect that is none, or the kernel's refusal; nothing is changed then.
    pub async fn start(&self, link: &Link, effect: Effect) -> Result<LinkFault, LinkError> {
        let pairs = self.pairs(link)?;
        if let Some(problem) = effect.problem() {
            return Err(LinkError::Effect(problem));
        }
        let mut state = self.state.lock().await;
        let number = state.last + 1;
        if effect.needs_wire() {
            for pair in &pairs {
                if let Err(error) = self.string(&mut state, pair).await {
                    self.settle(&mut state).await?;
                    return Err(error);
                }
            }
        } else {
            nft::load(&self.backbone, rules::cut(number, &pairs)).await?;
        }
        let before = wired(&state, &pairs, effect);
        state.last = number;
        state.faults.insert(number, (pairs.clone(), effect));
        self.settle(&mut state).await?;
        Ok(LinkFault { number, pairs, effect, before })
    }

    /// How many packets a fault has touched so far.
    ///
    /// # Errors
    /// The kernel's refusal, or a fault that has ended.
    pub async fn touched(&self, fault: &LinkFault) -> Result<u64, LinkError> {
        self.touched_in(&*self.state.lock().await, fault).await
    }

    /// Ends a fault, and looks whether it has ended.
    ///
    /// # Errors
    /// The kernel's refusal, [`LinkError::StillThere`], or a fault that has ended before.
    pub async fn end(&self, fault: &LinkFault) -> Result<Ended, LinkError> {
        let mut state = self.state.lock().await;
        let touched = self.touched_in(&state, fault).await?;
        let failed = failed(&state, &fault.pairs);
        if !fault.effect.needs_wire() {
            nft::load(&self.backbone, rules::delete(&rules::table(fault.number))).await?;
        }
        let known = state.faults.remove(&fault.number);
        if let Err(error) = self.settle(&mut state).await {
            // Whoever asks again finds it where it was.
            state.faults.extend(known.map(|known| (fault.number, known)));
            return Err(error);
        }
        let mut evidence = self.evidence(&state, fault).await?;
        if failed > 0 {
            evidence.push_str(&format!("; the wire itself lost {failed} packets for want of room or time"));
        }
        Ok(Ended { touched, evidence })
    }

    /// Starts a tap between two networks, which writes into a new file of at most so many bytes.
    ///
    /// # Errors
    /// An unknown network, an empty marker, or what stands against the socket or the file.
    pub async fn tap(
        &self,
        between: [&str; 2],
        markers: &[Marker],
        file: &Utf8Path,
        limit: u64,
    ) -> Result<LinkTap, LinkError> {
        let [from, to] = between;
        let ports = [self.port(from)?.clone(), self.port(to)?.clone()];
        if from == to {
            return Err(LinkError::SameNetwork(from.to_owned()));
        }
        if let Some(marker) = markers.iter().find(|marker| marker.bytes.is_empty()) {
            return Err(LinkError::Effect(format!(
                "the marker {:?} is empty and would be found everywhere",
                marker.name
            )));
        }
        let (markers, path) = (markers.to_vec(), file.to_owned());
        let prepare = move || {
            let [one, two] = &ports;
            tap::prepare(&tap::Request { between: [one, two], markers: &markers, file: &path, limit })
        };
        let prepared = self.backbone.run(move |_| prepare()).await;
        let started = prepared.and_then(tap::Prepared::start);
        started.map_err(|source| LinkError::Tap { file: file.to_owned(), source })
    }

    /// Why packets can be neither delayed nor lost here; `None` where they can.
    pub async fn why_no_wire(&self) -> Option<String> {
        let port = self.ports.values().next()?.clone();
        let tried = self.backbone.run(move |_| wire::open(&port, &port).map(drop)).await;
        tried.err().map(|error| format!("the kernel refuses packet sockets that carry whole frames: {error}"))
    }

    /// Why there can be no tap here; `None` where there can.
    pub async fn why_no_tap(&self) -> Option<String> {
        let tried = self.backbone.run(|_| tap::try_open()).await;
        tried.err().map(|error| format!("the kernel refuses packet sockets with shared memory: {error}"))
    }

    /// What every router has counted.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn counters(&self) -> Result<Vec<RouterCounters>, LinkError> {
        let behind = |interface: &str| {
            let port = self.ports.values().find(|port| port.interface == interface);
            port.map(|port| format!("{interface} ({})", port.network))
        };
        let mut routers = vec![RouterCounters {
            router: "backbone".to_owned(),
            links: counters::links(&self.backbone, behind).await?,
            rules: rules::counters(&nft::list(&self.backbone, &["ruleset"]).await?),
        }];
        for (network, namespace) in &self.routers {
            let links = counters::links(namespace, |_| None).await?;
            routers.push(RouterCounters { router: network.clone(), links, rules: Vec::new() });
        }
        Ok(routers)
    }

    /// Puts a wire between two networks where there is none yet. It carries everything at once until it is told more.
    async fn string(&self, state: &mut State, pair: &Pair) -> Result<(), LinkError> {
        if state.wires.contains_key(pair) {
            return Ok(());
        }
        let (from, to) = (self.port(&pair.from)?.clone(), self.port(&pair.to)?.clone());
        let ends = self.backbone.run(move |_| wire::open(&from, &to)).await;
        let ends = ends.map_err(LinkError::kernel("open the packet sockets of a wire"))?;
        // What arrives from now on waits in the socket: rather twice than never.
        nft::load(&self.backbone, rules::wire(pair)).await?;
        match Wire::start(ends, Sum::default()) {
            Ok(wire) => drop(state.wires.insert(pair.clone(), wire)),
            Err(error) => {
                nft::load(&self.backbone, rules::delete(&rules::wire_table(pair))).await?;
                return Err(LinkError::kernel("start the thread of a wire")(error));
            }
        }
        Ok(())
    }

    /// Lets every wire do what the faults ask for, and takes away those that no fault needs.
    async fn settle(&self, state: &mut MutexGuard<'_, State>) -> Result<(), LinkError> {
        let pairs: Vec<Pair> = state.wires.keys().cloned().collect();
        for pair in pairs {
            let on_pair = state.faults.values().filter(|(pairs, _)| pairs.contains(&pair));
            let effects: Vec<Effect> = on_pair.map(|(_, effect)| *effect).collect();
            let needed = effects.iter().any(Effect::needs_wire);
            // One that goes carries on until the kernel's own forwarding is back.
            let sum = if needed { Sum::of(&effects) } else { Sum::default() };
            if let Some(wire) = state.wires.get(&pair) {
                wire.set(sum);
            }
            if !needed {
                nft::load(&self.backbone, rules::delete(&rules::wire_table(&pair))).await?;
                if let Some(wire) = state.wires.remove(&pair) {
                    let ended = tokio::task::spawn_blocking(move || wire.end()).await;
                    ended.map_err(|error| LinkError::kernel("end a wire")(error.into()))?;
                }
            }
        }
        Ok(())
    }

    async fn touched_in(&self, state: &State, fault: &LinkFault) -> Result<u64, LinkError> {
        if !state.faults.contains_key(&fault.number) {
            return Err(LinkError::Ended(fault.number));
        }
        if fault.effect.needs_wire() {
            return Ok(wired(state, &fault.pairs, fault.effect) - fault.before);
        }
        let table = rules::table(fault.number);
        let listing = nft::list(&self.backbone, &["table", "ip", &table]).await?;
        Ok(rules::counters(&listing).iter().map(|counter| counter.packets).sum())
    }

    /// Looks for what is left of a fault.
    async fn evidence(&self, state: &State, fault: &LinkFault) -> Result<String, LinkError> {
        let tables = rules::tables(&nft::list(&self.backbone, &["tables"]).await?);
        let between: Vec<_> = fault.pairs.iter().map(Pair::to_string).collect();
        let between = between.join(", ");
        if !fault.effect.needs_wire() {
            let table = rules::table(fault.number);
            let gone = !tables.contains(&table);
            let evidence = format!("the backbone has no rule {table} ({between}) any more");
            return if gone { Ok(evidence) } else { Err(LinkError::StillThere(table)) };
        }
        let sockets = self.backbone.run(|_| counters::packet_sockets()).await;
        let sockets = sockets.map_err(LinkError::kernel("read the packet sockets of the backbone"))?;
        for pair in fault.pairs.iter().filter(|pair| !state.wires.contains_key(pair)) {
            let table = rules::wire_table(pair);
            if tables.contains(&table) || self.is_wired(state, &sockets, pair) {
                return Err(LinkError::StillThere(table));
            }
        }
        if fault.pairs.iter().any(|pair| state.wires.contains_key(pair)) {
            return Ok(format!("the wire carries on without it, for other faults ({between})"));
        }
        Ok(format!("the backbone forwards by itself again, without rule and without wire ({between})"))
    }

    /// Whether a wire that should be gone still takes the packets of a link.
    fn is_wired(&self, state: &State, sockets: &[u32], pair: &Pair) -> bool {
        // Another wire from the same network reads the same link.
        let shared = state.wires.keys().any(|other| other.from == pair.from);
        !shared && self.ports.get(&pair.from).is_some_and(|port| sockets.contains(&port.index))
    }

    fn pairs(&self, link: &Link) -> Result<Vec<Pair>, LinkError> {
        let (from, to) = (self.port(&link.from)?, self.port(&link.to)?);
        if link.from == link.to {
            return Err(LinkError::SameNetwork(link.from.clone()));
        }
        let there = Pair::new(from, to);
        Ok(match link.direction {
            Direction::OneWay => vec![there],
            Direction::Both => vec![there, Pair::new(to, from)],
        })
    }

    fn port(&self, network: &str) -> Result<&Port, LinkError> {
        let known = || self.ports.keys().cloned().collect::<Vec<_>>().join(", ");
        self.ports.get(network).ok_or_else(|| LinkError::NoNetwork { name: network.to_owned(), known: known() })
    }
}

/// How many packets the wires of some ways have treated with an effect.
fn wired(state: &State, pairs: &[Pair], effect: Effect) -> u64 {
    let tallies = pairs.iter().filter_map(|pair| state.wires.get(pair)).map(Wire::tally);
    let touched = tallies.map(|tally| match effect {
        Effect::Cut => 0,
        Effect::Delay { .. } => tally.delayed.load(Ordering::Relaxed),
        Effect::Loss { .. } => tally.lost.load(Ordering::Relaxed),
    });
    touched.sum()
}

/// How many packets the wires of some ways have lost against their will.
fn failed(state: &State, pairs: &[Pair]) -> u64 {
    let wires = pairs.iter().filter_map(|pair| state.wires.get(pair));
    wires.map(|wire| wire.tally().failed.load(Ordering::Relaxed)).sum()
}

/// Node subnets of a network: what the backbone routes to it.
pub(super) fn subnets(config: &FabricConfig, network: &str) -> Vec<Cidr> {
    let clusters = config.clusters.iter().filter(|cluster| cluster.network == network);
    let machines = config.machines.iter().filter(|machine| machine.network == network);
    let addresses = machines.map(|machine| Cidr::host(machine.address));
    clusters.map(|cluster| cluster.node_subnet).chain(addresses).collect()
}
