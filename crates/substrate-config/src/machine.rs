//! Hosts outside every cluster: a network address, a few programs, a disk that outlives a reboot. Plain data.
//!
//! What is on the disk at the start is what was written there by [`MachineAction::Write`]; nothing else is given.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// One host on a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineConfig {
    /// Unique name, a DNS label; also its host name.
    pub name: String,
    /// The network that it is plugged into.
    pub network: String,
    /// Its IPv4 address, unique in the world and outside of every cluster's subnets. Every network reaches it.
    pub address: String,
    /// Folders that are on its disk: absolute paths inside. Everything else is new after each start.
    #[serde(default)]
    pub directories: Vec<Utf8PathBuf>,
    /// Content of `/etc/resolv.conf`, but on a network of an engine's, which writes it.
    #[serde(default)]
    pub resolv_conf: String,
    /// What runs on it, started in this order, and again whenever one ends.
    pub programs: Vec<MachineProgram>,
    /// What plays it.
    #[serde(default)]
    pub runtime: MachineRuntime,
}

/// What plays a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum MachineRuntime {
    /// Namespaces of the world, with the programs that images stand for.
    #[default]
    Netns,
    /// A container of the Docker engine of [`WorldConfig::docker_socket`](crate::WorldConfig::docker_socket).
    Docker {
        /// Its image, by name or id; never pulled. Programs of the host are looked up in it, and [`MACHINE_INIT`] is one.
        image: String,
        /// A network of the engine's that is made for it, besides the link by which it reaches everybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_defined_network: Option<UserDefinedNetwork>,
    },
}

/// A network of a Docker engine as its users make them. The engine answers DNS queries there by rules inside of the container,
/// and writes the container's `/etc/resolv.conf` itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserDefinedNetwork {
    /// Address of the resolver that the engine asks what it does not know itself, as seen from the container.
    pub resolver: String,
}

/// Where an image has the first process of a host that is a container.
pub const MACHINE_INIT: &str = "/usr/local/bin/meshproof-machine-init";

/// A program of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineProgram {
    /// Unique on the host.
    pub name: String,
    /// Image whose files it sees, and whose entry point it is.
    pub image: String,
    /// What runs in place of the image's entry point.
    #[serde(default)]
    pub command: Vec<String>,
    /// Programs that it starts itself. Those of a container have to be in its image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<String>,
    /// Environment, beside that of the image.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Linux capabilities that it keeps, such as `NET_ADMIN`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The programs after it are started once this port of loopback takes connections.
    #[serde(default)]
    pub ready_port: Option<u16>,
}

/// What is asked of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum MachineAction {
    /// Writes files to its disk, whole or not at all.
    Write {
        /// The files.
        files: Vec<MachineFile>,
    },
    /// Starts it.
    Start,
    /// Asks its programs to end, and stops it.
    Stop,
    /// Cuts its power: nothing that it had to say is said any more.
    Kill,
    /// Stops it and starts it again.
    Reboot,
    /// Kills one of its programs and keeps it off, until it is started or the host is started again.
    KillProgram {
        /// Which program.
        program: String,
    },
    /// Starts a program that was killed.
    StartProgram {
        /// Which program.
        program: String,
    },
    /// Runs a command beside one of its programs.
    Exec {
        /// Which program.
        program: String,
        /// Program and arguments.
        command: Vec<String>,
    },
    /// What a program has written.
    Logs {
        /// Which program.
        program: String,
    },
    /// How it is.
    Status,
}

/// A file on the disk of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineFile {
    /// Absolute path inside, in one of its directories, or `/etc/hosts`, whose lines are added to those of the host.
    pub path: Utf8PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub content: String,
}

/// What a host answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum MachineAnswer {
    /// How it is after what was asked.
    Status {
        /// Whether it runs.
        running: bool,
        /// How often it was started.
        starts: u64,
        /// Its programs, in their order.
        programs: Vec<ProgramStatus>,
    },
    /// How a command ended, and what it wrote.
    Output {
        /// Exit code; 128 plus the signal's number where a signal ended it.
        code: i32,
        /// Standard output.
        stdout: String,
        /// Standard error.
        stderr: String,
    },
    /// What a program has written.
    Logs {
        /// All of it since the last start of the host.
        text: String,
    },
}

/// How a program of a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgramStatus {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether it was ready since the last start of the host, or since it was killed: at once, or when its port took connections.
    pub ready: bool,
    /// Whether it was killed and is kept off.
    #[serde(default)]
    pub kept_off: bool,
    /// How often it was started since the last start of the host.
    pub starts: u64,
    /// Why it does not run, where it was tried.
    pub problem: Option<String>,
}

impl ProgramStatus {
    /// Of a program of a host without power.
    #[must_use]
    pub fn off(name: impl Into<String>) -> Self {
        Self { name: name.into(), running: false, ready: false, kept_off: false, starts: 0, problem: None }
    }
}
