//! Reports: what a run shows and leaves behind.
//!
//! The engine sends [`event`]s into one [`stream`]; [`console`], [`junit`] and [`json`] consume it, the latter two from
//! the [`record`] that the events add up to. [`outcome`] turns the end of a run into an exit code.

pub mod console;
pub mod event;
pub mod figures;
pub mod json;
pub mod junit;
pub mod outcome;
pub mod record;
pub mod stream;

pub use event::{CheckReport, Event, EventKind, PhaseOutcome, StepOutcome};
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
