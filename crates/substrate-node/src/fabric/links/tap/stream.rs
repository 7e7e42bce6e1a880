//! Puts the segments of one TCP stream together, in whatever order they were captured. Pure.
//!
//! The processors of a machine overtake each other between two links, and what is lost on the way to the tap is sent
//! again. So what was seen is kept as runs of bytes without a hole, of each only its edges: a marker can lie across
//! the place where two of them meet.

use std::ops::Range;

use super::packet::Segment;

/// So many runs are kept at most. The kernel keeps fewer segments waiting for a lost one before it sends it again.
const MOST_RUNS: usize = 1024;

/// One direction of a TCP connection, as far as it was captured.
#[derive(Default)]
pub(super) struct Stream {
    /// In the order of their places; between two of them bytes are missing.
    runs: Vec<Run>,
    /// Where its first byte belongs; absent where its opening was not captured.
    origin: Option<i64>,
    /// Place of the segment that was seen last: sequence numbers wrap, places do not.
    last: i64,
    /// Holes that nothing can fill any more.
    abandoned: u64,
}

/// Bytes without a hole.
struct Run {
    places: Range<i64>,
    /// Its first bytes: all, where there are few.
    head: Vec<u8>,
    /// Its last bytes: all, where there are few.
    tail: Vec<u8>,
}

/// Bytes that were not seen before, with those beside them.
pub(super) struct Piece<'a> {
    pub(super) before: &'a [u8],
    pub(super) bytes: &'a [u8],
    pub(super) after: &'a [u8],
}

impl Stream {
    /// Adds what a segment carries. Of it `see` is shown every byte that was not seen before, with at most `edge` bytes
    /// on each side.
    pub(super) fn add(&mut self, segment: Segment, payload: &[u8], edge: usize, mut see: impl FnMut(&Piece<'_>)) {
        let mut start = self.place(segment.sequence);
        if segment.syn {
            // It takes a sequence number of its own.
            start += 1;
            self.open(start);
        }
        let (mut next, end) = (start, start + payload.len() as i64);
        while let Some(places) = self.unseen(next..end) {
            let within = (places.start - start) as usize..(places.end - start) as usize;
            next = places.end;
            self.insert(&payload[within], places, edge, &mut see);
        }
    }

    /// Holes in what was captured.
    pub(super) fn gaps(&self) -> u64 {
        self.abandoned + self.runs.len().saturating_sub(1) as u64
    }

    /// The first bytes of the stream, as many as are known; absent where its beginning was not captured.
    pub(super) fn beginning(&self) -> Option<&[u8]> {
        let first = self.runs.iter().find(|run| Some(run.places.start) == self.origin)?;
        Some(&first.head)
    }

    /// Where a sequence number is: in the half of all that is nearest to the last one.
    fn place(&mut self, sequence: u32) -> i64 {
        if self.runs.is_empty() {
            self.last = i64::from(sequence);
        }
        let distance = sequence.wrapping_sub(self.last as u32).cast_signed();
        self.last += i64::from(distance);
        self.last
    }

    /// Begins a new stream, unless it is the beginning of this one that was sent again.
    fn open(&mut self, origin: i64) {
        if self.origin == Some(origin) {
            return;
        }
        let abandoned = self.gaps();
        *self = Self { runs: vec![Run::nothing(origin)], origin: Some(origin), last: origin, abandoned };
    }

    /// The first of these places of which nothing was seen, up to the next of which something was.
    fn unseen(&self, mut places: Range<i64>) -> Option<Range<i64>> {
        for run in &self.runs {
            if places.start < run.places.start {
                places.end = places.end.min(run.places.start);
                break;
            }
            places.start = places.start.max(run.places.end);
        }
        (!places.is_empty()).then_some(places)
    }

    /// Joins bytes, none of which was seen, with the runs that they touch.
    fn insert(&mut self, bytes: &[u8], places: Range<i64>, edge: usize, see: &mut impl FnMut(&Piece<'_>)) {
        let index = self.runs.partition_point(|run| run.places.end < places.start);
        let left = self.take(index, |run| run.places.end == places.start).unwrap_or_else(|| Run::nothing(places.start));
        let right = self.take(index, |run| run.places.start == places.end).unwrap_or_else(|| Run::nothing(places.end));
        see(&Piece { before: &left.tail, bytes, after: &right.head });
        self.runs.insert(index, left.joined(bytes, &right, edge));
        if self.runs.len() > MOST_RUNS {
            // The first one holds the stream's beginning; a hole before or after the second is left for good.
            self.runs.remove(1);
            self.abandoned += 1;
        }
    }

    fn take(&mut self, index: usize, is_it: impl Fn(&Run) -> bool) -> Option<Run> {
        self.runs.get(index).is_some_and(is_it).then(|| self.runs.remove(index))
    }
}

impl Run {
    fn nothing(place: i64) -> Self {
        Self { places: place..place, head: Vec::new(), tail: Vec::new() }
    }

    /// This run, the bytes after it, and the run after those.
    fn joined(&self, bytes: &[u8], right: &Self, edge: usize) -> Self {
        let first = [&self.head[..], bytes, &right.head].into_iter().flatten();
        let last = [&self.tail[..], bytes, &right.tail].into_iter().flatten();
        let mut tail: Vec<u8> = last.rev().take(edge).copied().collect();
        tail.reverse();
        Self { places: self.places.start..right.places.end, head: first.take(edge).copied().collect(), tail }
    }
}
