//! Options of commands that run several scenarios on one environment.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use clap::Args;

use crate::run::{Manner, Rounds};

/// How many at once.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct JobsArgs {
    /// Run so many scenarios at once where they do not disturb each other, 1 for one after the other; by default one for
    /// each processor
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
}

/// How many at once, and how often.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct MannerArgs {
    /// How many at once.
    #[command(flatten)]
    pub jobs: JobsArgs,
    /// Run the scenarios so many times on the same environment; each repetition has its own verdict
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,
    /// Run the scenarios again and again, N times at most with --repeat, until one does not pass
    #[arg(long)]
    pub until_fail: bool,
}

impl JobsArgs {
    /// Each scenario once, so many at a time.
    #[must_use]
    pub fn manner(self) -> Manner {
        let jobs = self.jobs.or_else(|| available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        Manner { jobs, rounds: Rounds::default() }
    }
}

impl MannerArgs {
    /// The same, as runs know it.
    #[must_use]
    pub fn manner(self) -> Manner {
        let rounds = Rounds { repeat: self.repeat, until_fail: self.until_fail };
        Manner { rounds, ..self.jobs.manner() }
    }
}
