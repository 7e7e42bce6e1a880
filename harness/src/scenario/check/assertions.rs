//! Expectations beyond splits, mutual TLS and failures: bounds, identities, refusals, expressions.

use verdict::quantile::QuantilePlan;
use verdict::{ErrorRates, RatePlan};

use super::context::Context;
use super::expect::Measurement;
use crate::diagnostic::tree::Path;
use crate::scenario::expression::{self, Subject};
use crate::scenario::file::{DeniedFile, ErrorsFile, IdentityFile, LatencyFile};
use crate::scenario::plan::{Denied, Identity, LatencyBound, Peer};

/// Stands for nobody in `identity`.
const NOBODY: &str = "none";
/// More requests than this for one bound are a slip of the pen.
const MOST_REQUESTS: u64 = 1_000_000;

impl Context<'_> {
    pub(super) fn errors(&mut self, path: &Path, file: &ErrorsFile) -> Option<RatePlan> {
        let alpha = file.false_pass.unwrap_or(ErrorRates::default().false_pass);
        if !(1e-9..0.5).contains(&alpha) {
            self.error(&path.key("falsePass"), format!("{alpha} is no probability of an error that one could want"))
                .help("such as 0.01");
            return None;
        }
        let plan = RatePlan { limit: file.at_most / 100.0, alpha };
        let needed = plan.clean_trials_needed().unwrap_or(0);
        if needed > MOST_REQUESTS {
            self.error(&path.key("atMost"), format!("to show this takes {needed} requests without an error"))
                .help(format!("{MOST_REQUESTS} are the most"));
            return None;
        }
        Some(plan)
    }

    pub(super) fn both_identities(&mut self, path: &Path, file: &IdentityFile) -> Option<Identity> {
        if file.client.is_none() && file.server.is_none() {
            self.key_error(path, "nobody is named").help("add `client` or `server`");
            return None;
        }
        let mut one = |key: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            if text == NOBODY {
                return Some(Peer::Nobody);
            }
            self.identity(&path.key(key), text);
            Some(Peer::Id(text.to_owned()))
        };
        Some(Identity { client: one("client", &file.client), server: one("server", &file.server) })
    }

    pub(super) fn denied(&mut self, path: &Path, file: &DeniedFile, measurement: Measurement) -> Option<Denied> {
        if measurement == Measurement::Connect && file.reason.connections().is_empty() {
            self.error(
                &path.key("reason"),
                format!("a connection cannot be refused because of {}", file.reason.word()),
            )
            .help("send requests with `traffic`");
        }
        Some(Denied { at: self.deployment(&path.key("at"), &file.at)?, reason: file.reason })
    }

    pub(super) fn latency(&mut self, path: &Path, file: &LatencyFile) -> Option<Vec<LatencyBound>> {
        if file.is_empty() {
            self.key_error(path, "no quantile is named").help("such as `p99: 200ms`");
        }
        let mut bounds = Vec::new();
        for (name, text) in file {
            let path = path.key(name);
            let Some(quantile) = quantile(name) else {
                self.key_error(&path, format!("`{name}` is no quantile"))
                    .help("write `p50`, `p99`, `p99.9`: `p` and a percentage between 0 and 100");
                continue;
            };
            let at_most = self.duration(&path, Some(text), std::time::Duration::ZERO);
            bounds.push(LatencyBound {
                plan: QuantilePlan { quantile, alpha: ErrorRates::default().false_pass },
                at_most,
            });
        }
        bounds.sort_by(|left, right| left.plan.quantile.total_cmp(&right.plan.quantile));
        for pair in bounds.windows(2).filter(|pair| pair[0].at_most > pair[1].at_most) {
            let message = format!(
                "the limit at {} % is above the one at {} %, so it says nothing",
                pair[0].plan.quantile * 100.0,
                pair[1].plan.quantile * 100.0
            );
            self.key_error(path, message);
        }
        Some(bounds)
    }

    pub(super) fn expression(&mut self, path: &Path, text: &str, measurement: Measurement) -> Option<String> {
        let subject = match measurement {
            Measurement::Traffic | Measurement::Background => Subject::Traffic,
            Measurement::Connect => Subject::Connection,
            Measurement::Config | Measurement::ConfigAt => Subject::Config,
            // Judged by `reachable` alone.
            Measurement::Reachability => return None,
        };
        self.expression_over(path, text, subject)
    }

    pub(super) fn expression_over(&mut self, path: &Path, text: &str, subject: Subject) -> Option<String> {
        match expression::check(text, subject) {
            Ok(()) => Some(text.to_owned()),
            Err(mistake) => {
                let mut problem = self.document.problem(crate::diagnostic::Severity::Error, path, mistake.message);
                // A text that stands on one line as it is can be pointed into.
                let written = self.document.text_from(path);
                if let (Some(offset), Some(begin)) =
                    (mistake.offset, written.get(..text.len() + 1).and_then(|line| line.find(text)))
                {
                    problem.span.start += begin + offset.min(text.len().saturating_sub(1));
                    problem.span.length = 1;
                }
                if let Some(help) = mistake.help {
                    problem.help(help);
                }
                self.problems.add(problem);
                None
            }
        }
    }
}

/// `p99.9` is 0.999.
fn quantile(name: &str) -> Option<f64> {
    let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
    (percent > 0.0 && percent < 100.0).then_some(percent / 100.0)
}
