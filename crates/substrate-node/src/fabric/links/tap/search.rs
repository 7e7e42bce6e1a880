//! Looks for markers in what was captured, also where one begins in a segment and ends in the next. Pure.

use std::collections::HashMap;

use memchr::memmem;
use substrate_config::control::{MOST_FLOWS, Marker, MarkerHits, TapFlow, TapReport};

use super::packet::{Flow, Packet, Segment};

/// What is known of everything captured so far.
pub(super) struct Search {
    markers: Vec<Known>,
    /// Length of the longest marker, less one: as many bytes of a segment can begin what the next one ends.
    overlap: usize,
    flows: HashMap<Flow, State>,
    gaps: u64,
}

struct Known {
    name: String,
    length: usize,
    finder: memmem::Finder<'static>,
    hits: u64,
    first: Option<Flow>,
}

#[derive(Default)]
struct State {
    packets: u64,
    payload_bytes: u64,
    tls_records: u64,
    /// Sequence number after the last byte that was seen.
    next: Option<u32>,
    /// The last bytes of the stream.
    tail: Vec<u8>,
    /// First bytes of the stream, at most [`TLS`] many; absent where its beginning was not captured.
    beginning: Option<Vec<u8>>,
}

/// How a stream of TLS begins: a handshake record of version 3.x.
const TLS: [u8; 2] = [0x16, 0x03];

impl Search {
    pub(super) fn new(markers: &[Marker]) -> Self {
        let known = markers.iter().map(|marker| Known {
            name: marker.name.clone(),
            length: marker.bytes.len(),
            finder: memmem::Finder::new(&marker.bytes).into_owned(),
            hits: 0,
            first: None,
        });
        let overlap = markers.iter().map(|marker| marker.bytes.len()).max().unwrap_or(1).saturating_sub(1);
        Self { markers: known.collect(), overlap, flows: HashMap::new(), gaps: 0 }
    }

    /// Books one packet.
    pub(super) fn add(&mut self, packet: &Packet<'_>) {
        let state = self.flows.entry(packet.flow).or_default();
        state.packets += 1;
        state.payload_bytes += packet.payload.len() as u64;
        let Some(segment) = packet.segment else {
            self.look(packet.flow, &[], packet.payload);
            return;
        };
        // Says nothing of the stream's bytes, whatever sequence number it carries.
        if packet.payload.is_empty() && !segment.syn {
            return;
        }
        state.tls_records += u64::from(is_tls_record(packet.payload));
        let place = state.place(segment, packet.payload.len());
        self.gaps += u64::from(matches!(place, Place::AfterGap));
        let before = match place {
            Place::Next => std::mem::take(&mut state.tail),
            Place::AfterGap | Place::Overlapping | Place::Again => Vec::new(),
        };
        if !matches!(place, Place::Again) {
            state.advance(segment, packet.payload, &before, self.overlap);
        }
        self.look(packet.flow, &before, packet.payload);
    }

    /// Looks into bytes that belong to no flow.
    pub(super) fn add_unread(&mut self, frame: &[u8]) {
        for marker in &mut self.markers {
            marker.hits += marker.finder.find_iter(frame).count() as u64;
        }
    }

    fn look(&mut self, flow: Flow, before: &[u8], payload: &[u8]) {
        for marker in &mut self.markers {
            let hits = marker.across(before, payload) + marker.finder.find_iter(payload).count();
            if hits > 0 {
                marker.hits += hits as u64;
                marker.first.get_or_insert(flow);
            }
        }
    }

    /// Adds flows and markers to a report.
    pub(super) fn report(self, report: &mut TapReport) {
        let mut flows: Vec<TapFlow> = self.flows.into_iter().map(|(flow, state)| state.report(flow)).collect();
        flows.sort_by(|a, b| b.payload_bytes.cmp(&a.payload_bytes).then_with(|| a.flow.cmp(&b.flow)));
        report.more_flows = flows.len().saturating_sub(MOST_FLOWS) as u64;
        flows.truncate(MOST_FLOWS);
        report.flows = flows;
        report.gaps = self.gaps;
        let markers = self.markers.into_iter();
        report.markers = markers
            .map(|marker| MarkerHits { name: marker.name, hits: marker.hits, first: marker.first.map(Into::into) })
            .collect();
    }
}

impl Known {
    /// Occurrences that begin in one piece and end in the next.
    fn across(&self, before: &[u8], payload: &[u8]) -> usize {
        let reach = self.length - 1;
        let (head, rest) = (&before[before.len().saturating_sub(reach)..], &payload[..payload.len().min(reach)]);
        if head.is_empty() || rest.is_empty() {
            return 0;
        }
        // Shorter than the marker on each side of the seam, so that whatever is found lies across it.
        self.finder.find_iter(&[head, rest].concat()).count()
    }
}

/// Where a segment stands after what was seen before it.
#[derive(Clone, Copy)]
enum Place {
    /// It follows, or is the first.
    Next,
    /// Bytes before it were not captured.
    AfterGap,
    /// Begins with bytes that were seen before, and goes on.
    Overlapping,
    /// Seen before, or late: it is looked into by itself.
    Again,
}

impl State {
    fn place(&mut self, segment: Segment, length: usize) -> Place {
        if segment.syn {
            *self = Self { beginning: Some(Vec::new()), ..self.counts() };
            return Place::Next;
        }
        // Sequence numbers wrap: what is less than half of them ahead comes later.
        let is_ahead = |distance: u32| (1..1 << 31).contains(&distance);
        let Some(next) = self.next else { return Place::Next };
        let end = segment.sequence.wrapping_add(length as u32);
        match segment.sequence.wrapping_sub(next) {
            0 => Place::Next,
            distance if is_ahead(distance) => Place::AfterGap,
            _ if is_ahead(end.wrapping_sub(next)) => Place::Overlapping,
            _ => Place::Again,
        }
    }

    /// The counts of a flow whose ports are used again.
    fn counts(&self) -> Self {
        let Self { packets, payload_bytes, tls_records, .. } = *self;
        Self { packets, payload_bytes, tls_records, ..Self::default() }
    }

    fn advance(&mut self, segment: Segment, payload: &[u8], before: &[u8], overlap: usize) {
        let length = payload.len() as u32 + u32::from(segment.syn);
        self.next = Some(segment.sequence.wrapping_add(length));
        if let Some(beginning) = &mut self.beginning {
            beginning.extend(payload.iter().take(TLS.len() - beginning.len()));
        }
        let mut tail = before.to_vec();
        tail.extend_from_slice(&payload[payload.len().saturating_sub(overlap)..]);
        self.tail = tail.split_off(tail.len().saturating_sub(overlap));
    }

    fn report(self, flow: Flow) -> TapFlow {
        let begun = self.beginning.filter(|beginning| beginning.len() == TLS.len());
        TapFlow {
            flow: flow.into(),
            packets: self.packets,
            payload_bytes: self.payload_bytes,
            begins_as_tls: begun.map(|beginning| beginning == TLS),
            tls_records: self.tls_records,
        }
    }
}

/// Change of cipher, alert, handshake or data, of version 3.x.
fn is_tls_record(payload: &[u8]) -> bool {
    matches!(payload, [20..=23, 3, 0..=4, _, _, ..])
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::super::packet::parse;
    use super::*;

    fn frame(sequence: u32, syn: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [3; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let builder = builder.tcp(1, 2, sequence, 1000);
        if syn { builder.syn() } else { builder }.write(&mut frame, payload).unwrap();
        frame
    }

    fn marker(text: &str) -> Marker {
        Marker { name: text.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    /// The report on segments (sequence number, SYN, payload) in the order of their capture.
    fn report(markers: &[&str], segments: &[(u32, bool, &[u8])]) -> TapReport {
        let markers: Vec<_> = markers.iter().map(|text| marker(text)).collect();
        let mut search = Search::new(&markers);
        for (sequence, syn, payload) in segments {
            search.add(&parse(&frame(*sequence, *syn, payload)).unwrap());
        }
        let mut report = TapReport::default();
        search.report(&mut report);
        report
    }

    #[test]
    fn a_marker_is_found_in_a_segment_and_across_a_seam_and_counted_once() {
        let report = report(
            &["secret", "x"],
            &[(9, true, b""), (10, false, b"a secret, a sec"), (25, false, b"r"), (26, false, b"et x")],
        );
        assert_eq!(report.markers[0].hits, 2);
        assert_eq!(report.markers[0].first.as_ref().unwrap().source, "10.0.0.1:1");
        assert_eq!(report.markers[1].hits, 1);
        assert_eq!(report.gaps, 0);
    }

    #[test]
    fn a_seam_over_missing_bytes_is_told_and_joins_nothing() {
        let report = report(&["secret"], &[(10, false, b"sec"), (14, false, b"ret")]);
        assert_eq!((report.markers[0].hits, report.gaps), (0, 1));
    }

    #[test]
    fn a_segment_that_is_sent_again_is_no_gap() {
        let report = report(&["secret"], &[(10, false, b"sec"), (10, false, b"sec"), (13, false, b"ret")]);
        assert_eq!((report.markers[0].hits, report.gaps), (1, 0));
    }

    #[test]
    fn what_carries_no_bytes_hides_no_gap() {
        let segments: [(u32, bool, &[u8]); 3] = [(10, false, b"sec"), (14, false, b""), (14, false, b"ret")];
        assert_eq!(report(&["secret"], &segments).gaps, 1);
        let overlapping: [(u32, bool, &[u8]); 3] = [(10, false, b"ab"), (11, false, b"bsec"), (15, false, b"ret")];
        let report = report(&["secret"], &overlapping);
        assert_eq!((report.markers[0].hits, report.gaps), (1, 0));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let report = report(&["secret"], &[(u32::MAX - 1, false, b"sec"), (1, false, b"ret")]);
        assert_eq!((report.markers[0].hits, report.gaps), (1, 0));
    }

    #[test]
    fn tls_is_told_by_the_beginning_of_its_stream() {
        let hello = b"\x16\x03\x01\x00\x05hello";
        let tls = report(&["hello"], &[(9, true, b""), (10, false, hello), (20, false, b"\x17\x03\x03\x00\x01.")]);
        assert_eq!((tls.flows[0].begins_as_tls, tls.flows[0].tls_records), (Some(true), 2));
        let plain = report(&["hello"], &[(9, true, b""), (10, false, b"G"), (11, false, b"ET /")]);
        assert_eq!((plain.flows[0].begins_as_tls, plain.flows[0].tls_records), (Some(false), 0));
        let late = report(&["hello"], &[(10, false, hello)]);
        assert_eq!(late.flows[0].begins_as_tls, None);
    }

    #[test]
    fn a_port_that_is_used_again_begins_a_new_stream() {
        let segments: [(u32, bool, &[u8]); 4] =
            [(9, true, b""), (10, false, b"sec"), (900, true, b""), (901, false, b"ret")];
        let report = report(&["secret"], &segments);
        assert_eq!((report.markers[0].hits, report.gaps), (0, 0));
        assert_eq!((report.flows[0].packets, report.flows[0].payload_bytes), (4, 6));
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_its_markers_are_found(
            text in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')], 0..60),
            cuts in proptest::collection::vec(1_usize..9, 1..60),
        ) {
            // Markers that cannot overlap themselves, so that counting needs no convention.
            let markers = ["abc", "cab", "c"];
            let mut segments: Vec<(u32, bool, &[u8])> = vec![(99, true, b"")];
            let (mut at, mut cut) = (0, cuts.iter().cycle());
            while at < text.len() {
                let end = (at + cut.next().unwrap()).min(text.len());
                segments.push((100 + at as u32, false, &text[at..end]));
                at = end;
            }
            let seen: Vec<u64> = report(&markers, &segments).markers.iter().map(|marker| marker.hits).collect();
            let whole = |marker: &str| text.windows(marker.len()).filter(|part| *part == marker.as_bytes()).count() as u64;
            prop_assert_eq!(seen, markers.map(whole).to_vec());
        }
    }
}
