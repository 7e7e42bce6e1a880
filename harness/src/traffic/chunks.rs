//! Requests in chunks, until somebody has seen enough or all are sent. Judges nothing.
//!
//! Between two chunks no request is in flight, so what was counted is always the first requests, all of them: an answer
//! that takes long is not left out of a look.

use super::probe::{self, Request, Samples, Source};
use crate::cluster::{Cluster, Error};

/// Requests before the first look.
const FIRST: u64 = 100;
/// A look is worth so much of what is known that as much again is sent, divided by this. With every chunk the probe is
/// started anew, so chunks grow.
const GROWTH: u64 = 4;

/// Sends until `enough` says so, at most the requests asked for.
///
/// # Errors
/// As [`probe::send`].
pub async fn send(
    cluster: &Cluster,
    source: &Source,
    request: &Request,
    enough: impl Fn(&Samples) -> bool,
) -> Result<Samples, Error> {
    let most = request.requests.unwrap_or(0);
    let (mut chunks, mut seen) = (Vec::new(), Samples::default());
    while seen.requests < most {
        let chunk = Request { requests: Some(next(seen.requests, most)), histogram: true, ..request.clone() };
        chunks.push(probe::send(cluster, source, &chunk).await?);
        seen = in_sequence(&chunks);
        if enough(&seen) {
            break;
        }
    }
    Ok(seen)
}

/// As if it had been one run.
fn in_sequence(chunks: &[Samples]) -> Samples {
    let [first, later @ ..] = chunks else { return Samples::default() };
    let mut all = Samples::merged(chunks);
    all.duration_ms = chunks.iter().map(|chunk| chunk.duration_ms).sum();
    all.start_unix_micros = first.start_unix_micros;
    all.source = first.source.clone();
    // Each chunk has a clock of its own, so single requests are those of the first, and the others' count as dropped.
    all.timeline = first.timeline.clone().map(|mut timeline| {
        timeline.dropped += later.iter().map(|chunk| chunk.requests).sum::<u64>();
        timeline
    });
    all
}

/// How many requests to send after so many.
fn next(sent: u64, most: u64) -> u64 {
    (sent / GROWTH).max(FIRST).min(most - sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_count_together_and_take_the_time_of_all() {
        let chunk = |requests, duration_ms| Samples { requests, duration_ms, ..Samples::default() };
        let all = in_sequence(&[chunk(100, 5.0), chunk(25, 2.0)]);
        assert_eq!((all.requests, all.duration_ms), (125, 7.0));
    }

    #[test]
    fn chunks_grow_and_add_up() {
        let mut sent = 0;
        let mut chunks = Vec::new();
        while sent < 1_000 {
            chunks.push(next(sent, 1_000));
            sent += next(sent, 1_000);
        }
        assert_eq!(chunks, [100, 100, 100, 100, 100, 125, 156, 195, 24]);
    }
}
