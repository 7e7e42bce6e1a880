//! A run under the control of another program: it says when it begins, and is told when to end.

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio_util::sync::CancellationToken;

use super::report::Resolved;

/// What is written on one line of standard output before the first request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// The moment that times of the report count from, RFC 3339 in UTC.
    pub started_at: String,
    /// The name and its addresses.
    pub resolved: Resolved,
}

impl Begun {
    pub(super) fn new(started_at: jiff::Timestamp, resolved: &Resolved) -> Self {
        Self { started_at: started_at.to_string(), resolved: resolved.clone() }
    }
}

/// What a held run writes on the line before that one: from here on it waits for `start`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Always true.
    pub held: bool,
    /// The name and its addresses.
    pub resolved: Resolved,
}

/// Writes the line.
pub(super) fn announce(begun: &Begun) -> anyhow::Result<()> {
    super::print(begun)
}

/// Writes the line of a held run.
pub(super) fn announce_held(resolved: &Resolved) -> anyhow::Result<()> {
    super::print(&Held { held: true, resolved: resolved.clone() })
}

/// Standard input, by which the run is told what to do. Whoever controls it may die: its end is the end of standard input
/// too.
pub(super) struct Input(Lines<BufReader<Stdin>>);

impl Input {
    pub(super) fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// Waits for `start`. Anything else, or the end of input, cancels the token, as does who cancels it meanwhile: then
    /// nothing is to be sent.
    pub(super) async fn started(&mut self, stop: &CancellationToken) {
        let line = stop.run_until_cancelled(self.0.next_line()).await;
        if !matches!(line, Some(Ok(Some(line))) if line.trim() == "start") {
            stop.cancel();
        }
    }

    /// Cancels the token when standard input ends or says `stop`.
    pub(super) fn stops(mut self, stop: CancellationToken) {
        tokio::spawn(async move {
            while let Ok(Some(line)) = self.0.next_line().await {
                if line.trim() == "stop" {
                    break;
                }
            }
            stop.cancel();
        });
    }
}

/// Cancels the token when standard input ends or says `stop`.
pub(crate) fn stop_at_end_of_input(stop: CancellationToken) {
    Input::new().stops(stop);
}
