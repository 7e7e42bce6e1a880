//! What runs inside of a container that plays a host: its first process, which starts the host's programs and keeps them
//! running, and the commands beside them.
//!
//! The first process is told by its standard input what to run, once the host is plugged in, and later which program to keep off
//! (`Told`), and says on its standard output what happens, one line for each (`Said`). The end of its input is the end of the host: nobody can give it power any more.

mod command;
mod keeper;
mod power;

use serde::{Deserialize, Serialize};
use substrate_config::machine::MachineProgram;

/// First argument of the process that becomes a program: the capabilities that it keeps follow, and its command line.
const PROGRAM: &str = "program";
/// First argument of a command beside a program; the rest comes over its standard input.
pub(super) const COMMAND: &str = "command";

/// What a host is told when it is plugged in: one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Boot {
    /// Its name, which its programs have in their environment.
    pub(super) name: String,
    /// Content of `/etc/hosts`.
    pub(super) hosts: String,
    /// Content of `/etc/resolv.conf`; the engine's own stays where there is none.
    pub(super) resolv_conf: Option<String>,
    /// What runs, with complete commands.
    pub(super) programs: Vec<MachineProgram>,
}

/// What a host is told once it runs: one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Told {
    /// A program, counted from 0.
    pub(super) program: usize,
    /// Whether it is killed and kept from being started again, or let be started.
    pub(super) off: bool,
}

/// What a host says: one line each. Programs are counted from 0, their starts from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum Said {
    /// A program was started.
    Started {
        /// Which.
        program: usize,
        /// How often by now.
        start: u64,
    },
    /// It has ended, or could not be started.
    Ended {
        /// Which.
        program: usize,
        /// How often it was started by now.
        start: u64,
        /// How it ended.
        problem: String,
    },
    /// It is ready, for the first time or after it was kept off.
    Ready {
        /// Which.
        program: usize,
    },
    /// It is kept off, or is no longer.
    Kept {
        /// Which.
        program: usize,
        /// Whether it is.
        off: bool,
    },
    /// It has written a line.
    Line {
        /// Which.
        program: usize,
        /// At which of its starts.
        start: u64,
        /// Whether to its standard error.
        error: bool,
        /// The line.
        text: String,
    },
    /// The host cannot be what it should be.
    Failed {
        /// Why.
        problem: String,
    },
}

/// What a command beside a program is told first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Command {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// The whole environment.
    pub(super) environment: Vec<(String, String)>,
    /// Capabilities that it keeps.
    pub(super) capabilities: Vec<String>,
    /// Whether it has a standard input.
    pub(super) stdin: bool,
}

/// Does what the command line says; never returns.
pub fn main() -> ! {
    let mut arguments = std::env::args().skip(1);
    let code = match arguments.next().as_deref() {
        None => power::run(),
        Some(PROGRAM) => command::become_program(arguments),
        Some(COMMAND) => command::run(),
        Some(other) => {
            eprintln!("there is no {other:?} inside of a machine");
            2
        }
    };
    std::process::exit(code)
}
