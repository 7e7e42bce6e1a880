//! The three outcomes of a check, and how several combine into one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a measurement says about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The claim is proved within the stated error rates.
    Pass,
    /// The sample is too small to prove or to refute the claim.
    Inconclusive,
    /// The claim is refuted.
    Fail,
}

impl Outcome {
    /// The outcome of two claims that must both hold: one refuted claim refutes both, one open claim leaves them open.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fail, _) | (_, Self::Fail) => Self::Fail,
            (Self::Inconclusive, _) | (_, Self::Inconclusive) => Self::Inconclusive,
            (Self::Pass, Self::Pass) => Self::Pass,
        }
    }

    /// The outcome of all claims together. No claims at all prove nothing.
    pub fn all(outcomes: impl IntoIterator<Item = Self>) -> Self {
        outcomes.into_iter().reduce(Self::and).unwrap_or(Self::Inconclusive)
    }

    /// The word used in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Fail, Inconclusive, Pass};
    use super::*;

    #[test]
    fn the_worst_outcome_wins_in_any_order() {
        assert_eq!(Outcome::all([Pass, Pass]), Pass);
        assert_eq!(Outcome::all([Pass, Inconclusive]), Inconclusive);
        assert_eq!(Outcome::all([Inconclusive, Fail, Pass]), Fail);
        assert_eq!(Outcome::all([Fail, Inconclusive]), Fail);
    }

    #[test]
    fn nothing_is_proved_by_no_claims() {
        assert_eq!(Outcome::all([]), Inconclusive);
    }
}
