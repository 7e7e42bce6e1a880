//! Upper bounds of rates: errors, wrong targets, anything that should happen rarely or never.
//!
//! Zero events in n trials prove a rate below about 3/n at 95 %, not a rate of zero. A claim "at most p" passes when
//! the exact upper bound is at most p, fails when the exact lower bound is above p, and is inconclusive between.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::binomial::{Interval, clopper_pearson};
use crate::outcome::Outcome;
use crate::text;

/// A claim that a rate is at most `limit`, with the probability `alpha` of being wrong on either side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RatePlan {
    /// The largest rate that is acceptable, 0..1. Zero means: a single event fails.
    pub limit: f64,
    /// Probability of a wrong pass and, separately, of a wrong fail.
    pub alpha: f64,
}

/// What the events counted say about the claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateVerdict {
    /// Whether the claim holds.
    pub outcome: Outcome,
    /// Number of events.
    pub events: u64,
    /// Number of trials.
    pub trials: u64,
    /// Exact interval of the rate.
    pub interval: Interval,
    /// The verdict as a sentence.
    pub sentence: String,
}

impl RatePlan {
    /// The number of trials without an event that proves the claim, or `None` for a limit of zero, which no number proves.
    pub fn clean_trials_needed(self) -> Option<u64> {
        if self.limit <= 0.0 {
            return None;
        }
        if self.limit >= 1.0 {
            return Some(0);
        }
        Some((self.alpha.ln() / (1.0 - self.limit).ln()).ceil() as u64)
    }

    /// Judges `events` in `trials`. `what` names an event in the plural ("requests without an answer").
    ///
    /// With a limit of zero, no events in at least one trial pass and the sentence states the bound that they prove.
    pub fn judge(self, what: &str, events: u64, trials: u64) -> RateVerdict {
        let interval = clopper_pearson(events, trials, self.alpha);
        let outcome = self.outcome(events, trials, interval);
        let sentence = format!(
            "{} of {} {what}; the true rate is at most {} with {} confidence",
            text::thousands(events),
            text::thousands(trials),
            rate_text(interval.high),
            confidence(self.alpha),
        );
        RateVerdict { outcome, events, trials, interval, sentence }
    }

    fn outcome(self, events: u64, trials: u64, interval: Interval) -> Outcome {
        match () {
            () if trials == 0 => Outcome::Inconclusive,
            () if self.limit <= 0.0 && events == 0 => Outcome::Pass,
            () if self.limit <= 0.0 => Outcome::Fail,
            () if interval.high <= self.limit => Outcome::Pass,
            () if interval.low > self.limit => Outcome::Fail,
            () => Outcome::Inconclusive,
        }
    }
}

fn rate_text(rate: f64) -> String {
    format!("{:.3} %", (rate * 100_000.0).ceil() / 1000.0)
}

fn confidence(alpha: f64) -> String {
    format!("{} %", text::points((1.0 - alpha) * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_thousand_clean_requests_show_99_9_percent() {
        let plan = RatePlan { limit: 0.001, alpha: 0.05 };
        assert_eq!(plan.clean_trials_needed(), Some(2995));
        assert_eq!(plan.judge("errors", 0, 2995).outcome, Outcome::Pass);
        assert_eq!(plan.judge("errors", 0, 2994).outcome, Outcome::Inconclusive);
        assert_eq!(plan.judge("errors", 20, 2995).outcome, Outcome::Fail);
        assert_eq!(plan.judge("errors", 3, 2995).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn never_means_never_and_says_what_was_shown() {
        let plan = RatePlan { limit: 0.0, alpha: 0.01 };
        assert_eq!(plan.clean_trials_needed(), None);
        assert_eq!(plan.judge("errors", 0, 0).outcome, Outcome::Inconclusive);
        assert_eq!(plan.judge("errors", 1, 100_000).outcome, Outcome::Fail);
        let verdict = plan.judge("requests answered by v3", 0, 4000);
        assert_eq!(verdict.outcome, Outcome::Pass);
        assert_eq!(
            verdict.sentence,
            "0 of 4,000 requests answered by v3; the true rate is at most 0.116 % with 99 % confidence"
        );
    }
}
