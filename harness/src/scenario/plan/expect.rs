//! Checked expectations beyond the first ones.

use std::time::Duration;

use serde::Serialize;
use verdict::quantile::QuantilePlan;

use super::Deployment;
use crate::scenario::keys::{DenialReason, serialize_duration};

/// Who somebody must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    /// Nobody that could be verified: plain text.
    Nobody,
    /// With this SPIFFE id.
    Id(String),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => formatter.write_str("nobody"),
            Self::Id(id) => formatter.write_str(id),
        }
    }
}

/// Who calls and who answers; where nothing is said, it does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The caller as the server's proxy verified it.
    pub client: Option<Peer>,
    /// The server as it presented itself.
    pub server: Option<Peer>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Denied {
    /// Whose proxy refuses.
    pub at: Deployment,
    /// Why.
    pub reason: DenialReason,
}

/// The largest time for an answer at one quantile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyBound {
    /// The quantile and how sure one must be.
    pub plan: QuantilePlan,
    /// The time.
    #[serde(serialize_with = "serialize_duration")]
    pub at_most: Duration,
}
