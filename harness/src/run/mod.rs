//! Whole runs: what each command does, from the look at the machine to the exit code. Tells everything as events.

mod claim;
mod demo;
mod e2e;
mod interruption;
mod kept;
mod machine;
mod manner;
mod prepare;
mod scenarios;
mod schedule;
mod temporary;
mod until;

pub use claim::OWN_PREFIX;
pub use demo::demo;
pub use e2e::e2e;
pub use interruption::Interruption;
pub use kept::{Kept, KeptError, Stage, State, down, find, list, run_on_kept, up};
pub use machine::{Lack, lacks};
pub use manner::{Manner, Rounds};
pub use until::up_while;

use camino::Utf8PathBuf;

use crate::environment::Given;
use crate::report::RunOutcome;
use crate::report::stream::EventSender;
use crate::scenario::plan::Plan;
use crate::topology::Topology;

/// What a run is about.
pub struct Job {
    /// Name of the environment, a DNS label.
    pub environment: String,
    /// Unique id of the run.
    pub run_id: String,
    /// The topology to bring up.
    pub topology: Topology,
    /// The topology as the user wrote it, to be found again beside a kept environment.
    pub topology_text: String,
    /// The scenarios to run, in order.
    pub plans: Vec<Plan>,
    /// How many of them at once, and how often.
    pub manner: Manner,
    /// Folder of reports and, after a failure, of logs.
    pub out: Utf8PathBuf,
    /// The state folder of all environments.
    pub state_root: Utf8PathBuf,
    /// What the user said of clusters that are there, for the provider `existing`.
    pub given: Given,
    /// Why virtual machines that could be containers are not.
    pub fallback: Option<String>,
}

/// Tells that something went wrong outside of any verdict.
fn fail(events: &EventSender, error: &(dyn std::error::Error + 'static), cure: Option<String>, evidence: Vec<String>) {
    let message = crate::cluster::chain(error);
    events.send(crate::report::event::EventKind::Failure { message, cure, evidence });
}

/// Tells why an environment did not come up, unless the user ended it.
fn not_up(error: &crate::environment::Error, events: &EventSender, interruption: &Interruption) -> RunOutcome {
    interruption.outcome().unwrap_or_else(|| {
        fail(events, error, error.cure(), Vec::new());
        error.outcome()
    })
}
