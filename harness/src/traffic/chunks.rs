//! Requests in chunks, until somebody has seen enough or all are sent. Judges nothing.
//!
//! Between two chunks no request is in flight, so what was counted is always the first requests, all of them: an answer
//! that takes long is not left out of a look.

use std::sync::Arc;

use verdict::early::next_chunk;

use super::probe::{self, Request, Samples, Source};
use crate::cluster::Error;

/// Sends until `enough` says so, at most the requests asked for.
///
/// # Errors
/// As [`probe::send`].
pub async fn send(source: &Source, request: &Request, enough: impl Fn(&Samples) -> bool) -> Result<Samples, Error> {
    let one = async |count| {
        let chunk = Request { requests: Some(count), histogram: true, ..request.clone() };
        probe::send(source, &chunk).await
    };
    until(enough, request.requests.unwrap_or(0), one).await
}

/// Chunk after chunk, by their numbers of requests.
async fn until<E>(
    enough: impl Fn(&Samples) -> bool,
    most: u64,
    mut send: impl AsyncFnMut(u64) -> Result<Samples, E>,
) -> Result<Samples, E> {
    // Each chunk has a clock of its own, so single requests are those of the first, and the others' count as dropped.
    let mut timeline = None;
    let (mut chunks, mut seen) = (Vec::new(), Samples::default());
    while seen.requests < most {
        let mut chunk = send(next_chunk(seen.requests, most)).await?;
        let single = chunk.timeline.take();
        if chunks.is_empty() {
            timeline = single;
        }
        chunks.push(chunk);
        seen = in_sequence(&chunks);
        if enough(&seen) {
            break;
        }
    }
    if let (Some(timeline), [_, later @ ..]) = (&mut timeline, &chunks[..]) {
        Arc::make_mut(timeline).dropped += later.iter().map(|chunk| chunk.requests).sum::<u64>();
    }
    Ok(Samples { timeline, ..seen })
}

/// As if it had been one run, single requests left out.
fn in_sequence(chunks: &[Samples]) -> Samples {
    let [first, ..] = chunks else { return Samples::default() };
    Samples {
        duration_ms: chunks.iter().map(|chunk| chunk.duration_ms).sum(),
        start_unix_micros: first.start_unix_micros,
        source: first.source.clone(),
        ..Samples::merged(chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::timeline::Timeline;

    /// The size of each chunk, and what came of all; `enough` of their sum ends it.
    async fn sent(most: u64, enough: u64) -> (Vec<u64>, Samples) {
        let mut sizes = Vec::new();
        let send = async |requests| {
            let number = sizes.len() as i64;
            sizes.push(requests);
            Ok::<_, Error>(Samples {
                requests,
                duration_ms: 5.0,
                start_unix_micros: number,
                timeline: Some(Arc::new(Timeline { dropped: 1, ..Timeline::default() })),
                ..Samples::default()
            })
        };
        let all = until(|seen| seen.requests >= enough, most, send).await.expect("every chunk is sent");
        (sizes, all)
    }

    #[tokio::test]
    async fn it_ends_at_the_first_look_that_has_seen_enough() {
        let (sizes, all) = sent(1_000, 250).await;
        assert_eq!(sizes, [100, 100, 100]);
        assert_eq!((all.requests, all.duration_ms, all.start_unix_micros), (300, 15.0, 0));
        assert_eq!(all.timeline.map(|one| one.dropped), Some(1 + 200), "single requests are those of the first chunk");
    }

    #[tokio::test]
    async fn where_it_is_never_enough_no_more_is_sent_than_asked_for() {
        let (sizes, all) = sent(1_000, u64::MAX).await;
        assert_eq!(sizes, [100, 100, 100, 100, 100, 125, 156, 195, 24]);
        assert_eq!(all.requests, 1_000);
        let (sizes, all) = sent(0, u64::MAX).await;
        assert_eq!((sizes.len(), all.requests, all.timeline), (0, 0, None));
    }

    #[tokio::test]
    async fn one_chunk_is_what_it_is() {
        let (sizes, all) = sent(40, 1).await;
        assert_eq!((sizes, all.timeline.map(|one| one.dropped)), (vec![40], Some(1)));
    }

    #[tokio::test]
    async fn a_chunk_that_cannot_be_sent_ends_it_with_its_error() {
        let mut sent = 0;
        let send = async |requests| {
            sent += 1;
            if sent == 3 { Err("the pod is gone") } else { Ok(Samples { requests, ..Samples::default() }) }
        };
        assert_eq!(until(|_| false, 1_000, send).await.expect_err("the third is not sent"), "the pod is gone");
    }
}
