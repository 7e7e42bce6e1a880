//! The control socket of a running world: faults and taps on the links between its networks. Plain data, JSON on the wire.
//!
//! A Unix stream socket, [`WorldState::control_socket`](crate::WorldState). The client writes one [`ControlRequest`]
//! a line and reads one [`ControlResponse`] a line, in the same order.
//!
//! **A connection is a lease.** Whatever was started over a connection ends when that connection ends, however its
//! client ended, or when its own time limit has passed, whichever comes first. That something has ended is read from
//! the kernel, never assumed.
//!
//! All of it happens where the networks are joined: the host's networks are not touched, and neither are pods.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::machine::{MachineAction, MachineAnswer};

/// Two networks, and which of the packets between them are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Link {
    /// A network.
    pub from: String,
    /// Another network.
    pub to: String,
    /// Both ways, or only packets from `from` to `to`.
    pub direction: Direction,
}

/// Which packets of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From either network to the other.
    Both,
    /// Only from the first network to the second. A TCP connection needs both ways, a datagram does not.
    OneWay,
}

/// What a tap looks for in payloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Marker {
    /// How the report calls it.
    pub name: String,
    /// What has to appear in a payload, byte for byte; not empty.
    pub bytes: Vec<u8>,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ControlRequest {
    /// What this world can do: [`ControlResponse::Capabilities`].
    Capabilities,
    /// Drops packets between two networks silently, those of connections that exist included.
    Cut {
        /// Where.
        link: Link,
        /// After so long it heals by itself.
        limit_milliseconds: u64,
    },
    /// Delivers packets later.
    Delay {
        /// Where.
        link: Link,
        /// Added to each packet's way.
        milliseconds: u32,
        /// Up to so much more or less, evenly spread; packets keep their order.
        jitter_milliseconds: u32,
        /// After so long it heals by itself.
        limit_milliseconds: u64,
    },
    /// Loses packets at random, each independently of the others.
    Loss {
        /// Where.
        link: Link,
        /// Chance of each packet, in percent: above 0, at most 100.
        percent: f64,
        /// After so long it heals by itself.
        limit_milliseconds: u64,
    },
    /// Lets an API server answer nothing: new requests wait, watches stall. Connections stay open, and streams that
    /// run (`exec`, `port-forward`) go on.
    PauseApiServer {
        /// Whose.
        cluster: String,
        /// After so long it answers again by itself.
        limit_milliseconds: u64,
    },
    /// Captures the packets between two networks into a file and looks for markers in them.
    Tap {
        /// One network.
        from: String,
        /// The other.
        to: String,
        /// What to look for.
        markers: Vec<Marker>,
        /// The capture file, made new with mode 0600; an absolute path.
        file: Utf8PathBuf,
        /// The file grows no larger; everything is searched all the same.
        limit_bytes: u64,
    },
    /// Ends a tap of this connection: [`ControlResponse::Tap`].
    TapStop {
        /// Which.
        lease: u64,
    },
    /// Ends a fault of this connection: [`ControlResponse::State`].
    Revert {
        /// Which.
        lease: u64,
    },
    /// Asks for a fault of this connection: [`ControlResponse::State`].
    Status {
        /// Which.
        lease: u64,
    },
    /// Links, rules and their counters on every router: [`ControlResponse::Counters`].
    Counters,
    /// A token of a ServiceAccount that has expired, by the cluster's own signature: [`ControlResponse::Token`]. The API gives
    /// none for less than ten minutes.
    ExpiredToken {
        /// Whose API server signs it.
        cluster: String,
        /// Namespace of the account.
        namespace: String,
        /// Its name.
        account: String,
        /// Whom the token was for.
        audience: String,
    },
    /// Something about a host outside the clusters: [`ControlResponse::Machine`]. It outlives the connection.
    Machine {
        /// Name of the host.
        name: String,
        /// What.
        action: MachineAction,
    },
    /// Runs a command beside a program of a host for as long as this connection lives: [`ControlResponse::Attached`]. From
    /// then on the connection carries the command's standard input one way, and one [`Attached`] a line the other way.
    Attach {
        /// Name of the host.
        name: String,
        /// Which program.
        program: String,
        /// Program and arguments.
        command: Vec<String>,
        /// Whether the command reads what the client writes. Where it does not, the end of the client's side ends the command.
        stdin: bool,
    },
}

/// What the world answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ControlResponse {
    /// What can be asked for here.
    Capabilities {
        /// One for each request that starts something.
        capabilities: Vec<ControlCapability>,
    },
    /// It was started.
    Started {
        /// Its number in [`ControlRequest::Revert`], [`ControlRequest::Status`] and [`ControlRequest::TapStop`].
        lease: u64,
    },
    /// How a fault is.
    State {
        /// The state.
        state: FaultState,
    },
    /// What a tap saw.
    Tap {
        /// All of it.
        report: TapReport,
    },
    /// What the routers counted.
    Counters {
        /// Each of them.
        routers: Vec<RouterCounters>,
    },
    /// What was asked for.
    Token {
        /// The token.
        token: String,
    },
    /// What a host answers.
    Machine {
        /// The answer.
        answer: MachineAnswer,
    },
    /// The command runs; the connection is its own now.
    Attached,
    /// It was not done, and nothing was changed.
    Refused {
        /// Why, and what to do about it.
        message: String,
    },
}

/// What a command writes, and how it ends. The end is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Attached {
    /// Whole lines of standard output; the last one may have no line feed.
    Stdout {
        /// The text.
        text: String,
    },
    /// Whole lines of standard error.
    Stderr {
        /// The text.
        text: String,
    },
    /// It has ended.
    Exit {
        /// Exit code; 128 plus the signal's number where a signal ended it.
        code: i32,
    },
    /// It is not known how it ended.
    Lost {
        /// Why.
        message: String,
    },
}

/// One thing that a world can or cannot do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlCapability {
    /// Name of the request, such as `delay`.
    pub name: String,
    /// Why it is not to be had here; absent where it is.
    #[serde(default)]
    pub missing: Option<String>,
}

/// How a fault is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum FaultState {
    /// It is in force.
    Active {
        /// Until it heals by itself.
        remaining_milliseconds: u64,
        /// Packets, or requests, that it has touched so far.
        touched: u64,
    },
    /// It has ended, and what was looked at says so.
    Healed {
        /// The evidence.
        healing: Healing,
    },
    /// It should have ended, and has not.
    NotHealed {
        /// What was seen.
        message: String,
    },
}

/// Evidence that a fault has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Healing {
    /// What ended it.
    pub by: HealedBy,
    /// How long it was in force.
    pub lasted_milliseconds: u64,
    /// Packets, or requests, that it touched. A fault that touched none proves nothing.
    pub touched: u64,
    /// What was looked at, as a sentence.
    pub evidence: String,
}

/// What ended a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealedBy {
    /// The client asked for it.
    Request,
    /// Its time limit.
    Limit,
}

/// What a tap saw between two networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapReport {
    /// Packets of the link. Large ones count as the kernel carried them, before they are cut into segments.
    pub packets: u64,
    /// Their bytes, link-layer headers included.
    pub bytes: u64,
    /// Packets that the kernel could not hand over. A tap that lost some cannot prove that something was absent.
    pub dropped: u64,
    /// Places in TCP streams whose bytes were never captured: a marker there would be missed. Segments that came out of
    /// their order, and such as were lost and sent again, leave none.
    pub gaps: u64,
    /// Packets that could not be read as IPv4. Their bytes were searched as they are.
    pub unread: u64,
    /// Packets in the capture file. Fewer than `packets` where the file reached its size limit.
    pub written: u64,
    /// The capture file.
    pub file: Utf8PathBuf,
    /// Each flow and direction, those with the most bytes first; at most [`MOST_FLOWS`].
    pub flows: Vec<TapFlow>,
    /// Flows that are not listed.
    pub more_flows: u64,
    /// One for each marker, in the order of the request.
    pub markers: Vec<MarkerHits>,
}

/// So many flows at most are listed in a [`TapReport`]; all are searched.
pub const MOST_FLOWS: usize = 1000;

/// One direction of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FiveTuple {
    /// `tcp`, `udp`, or the number of the protocol.
    pub protocol: String,
    /// Sender, `address:port`, or `address` where the protocol has no ports.
    pub source: String,
    /// Receiver, written likewise.
    pub destination: String,
}

/// What a tap saw of one direction of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapFlow {
    /// Which.
    pub flow: FiveTuple,
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Whether the payload begins as TLS does (`0x16 0x03`); absent where the tap came too late for the beginning.
    pub begins_as_tls: Option<bool>,
    /// Segments that begin with the header of a TLS record.
    pub tls_records: u64,
}

/// How often a marker appeared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MarkerHits {
    /// Its name.
    pub name: String,
    /// How often.
    pub hits: u64,
    /// Where first.
    #[serde(default)]
    pub first: Option<FiveTuple>,
}

/// What one router counted since the world came up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterCounters {
    /// `backbone`, or the name of a network.
    pub router: String,
    /// Its links.
    pub links: Vec<LinkCounters>,
    /// Its rules that count, with what was matched; faults that are in force are among them.
    pub rules: Vec<RuleCounters>,
}

/// The counters of one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkCounters {
    /// Name of the interface, and where that is known what is behind it.
    pub name: String,
    /// Packets that came in.
    pub received_packets: u64,
    /// Bytes that came in.
    pub received_bytes: u64,
    /// Packets that came in and were dropped.
    pub received_dropped: u64,
    /// Packets that went out.
    pub sent_packets: u64,
    /// Bytes that went out.
    pub sent_bytes: u64,
    /// Packets that should have gone out and were dropped.
    pub sent_dropped: u64,
}

/// The counter of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleCounters {
    /// Its table.
    pub table: String,
    /// What it is for, such as `network1 to network2`.
    pub name: String,
    /// Packets that matched.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}
