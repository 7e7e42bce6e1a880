//! A run under the control of another program: it says when it begins, and is told when to end.

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
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

/// Writes the line.
pub(super) fn announce(begun: &Begun) -> anyhow::Result<()> {
    super::print(begun)
}

/// Cancels the token when standard input ends or says `stop`. Whoever controls the run may die: its end is the end of
/// standard input too.
pub(crate) fn stop_at_end_of_input(stop: CancellationToken) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.trim() == "stop" {
                break;
            }
        }
        stop.cancel();
    });
}
