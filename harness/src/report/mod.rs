//! Reports: what a run shows and leaves behind.
//!
//! The engine sends [`event`]s into one [`stream`], which frees them of secrets ([`redact`]) and hands them to consumers:
//! [`journal`] writes each as it happens, [`console`] shows them, and [`json`], [`junit`], [`html`] and [`summary`] are
//! written at the end from the [`record`] that they add up to. [`outcome`] turns the end of a run into an exit code,
//! [`layer`] guesses where a failure comes from, [`tally`] counts repetitions, [`selftest`] tells what came of controls,
//! [`merge`] makes one record of those of several shards, [`runs`] keeps the folders of runs.

pub mod console;
pub mod counts;
pub mod event;
pub mod figures;
pub mod html;
pub mod journal;
pub mod json;
pub mod junit;
pub mod layer;
pub mod merge;
pub mod outcome;
pub mod record;
pub mod redact;
pub mod runs;
pub mod selftest;
pub mod stream;
pub mod summary;
pub mod tally;
pub(crate) mod words;

pub use event::{CheckReport, Event, EventKind, PhaseOutcome, Repetition, StepOutcome};
pub use outcome::RunOutcome;
pub use record::Record;
pub use stream::{Consumer, EventSender, EventStream};

/// Durations as whole milliseconds, for recorded events.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests;
