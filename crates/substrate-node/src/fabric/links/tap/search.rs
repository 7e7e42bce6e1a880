//! Looks for markers in what was captured, also where one begins in a segment and ends in the next. Pure.

use std::collections::HashMap;

use memchr::memmem;
use substrate_config::control::{MOST_FLOWS, Marker, MarkerHits, TapFlow, TapReport};

use super::packet::{Flow, Packet};
use super::stream::{Piece, Stream};

/// What is known of everything captured so far.
pub(super) struct Search {
    markers: Vec<Known>,
    /// So many bytes on each side of a seam can be part of a marker, or tell TLS.
    edge: usize,
    flows: HashMap<Flow, State>,
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
    stream: Stream,
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
        let overlap = markers.iter().map(|marker| marker.bytes.len().saturating_sub(1)).max().unwrap_or(0);
        Self { markers: known.collect(), edge: overlap.max(TLS.len()), flows: HashMap::new() }
    }

    /// Books one packet.
    pub(super) fn add(&mut self, packet: &Packet<'_>) {
        let Self { markers, edge, flows } = self;
        let state = flows.entry(packet.flow).or_default();
        state.packets += 1;
        state.payload_bytes += packet.payload.len() as u64;
        match packet.segment {
            None => look(markers, packet.flow, &Piece { before: &[], bytes: packet.payload, after: &[] }),
            // Says nothing of the stream's bytes, whatever sequence number it carries.
            Some(segment) if packet.payload.is_empty() && !segment.syn => {}
            Some(segment) => state.stream.add(segment, packet.payload, *edge, |piece| {
                state.tls_records += u64::from(is_tls_record(piece.bytes));
                look(markers, packet.flow, piece);
            }),
        }
    }

    /// Looks into bytes that belong to no flow.
    pub(super) fn add_unread(&mut self, frame: &[u8]) {
        for marker in &mut self.markers {
            marker.hits += marker.finder.find_iter(frame).count() as u64;
        }
    }

    /// Adds flows and markers to a report.
    pub(super) fn report(self, report: &mut TapReport) {
        report.gaps = self.flows.values().map(|state| state.stream.gaps()).sum();
        let mut flows: Vec<TapFlow> = self.flows.into_iter().map(|(flow, state)| state.report(flow)).collect();
        flows.sort_by(|a, b| b.payload_bytes.cmp(&a.payload_bytes).then_with(|| a.flow.cmp(&b.flow)));
        report.more_flows = flows.len().saturating_sub(MOST_FLOWS) as u64;
        flows.truncate(MOST_FLOWS);
        report.flows = flows;
        let markers = self.markers.into_iter();
        report.markers = markers
            .map(|marker| MarkerHits { name: marker.name, hits: marker.hits, first: marker.first.map(Into::into) })
            .collect();
    }
}

fn look(markers: &mut [Known], flow: Flow, piece: &Piece<'_>) {
    let Piece { before, bytes, after } = *piece;
    let joined = (!before.is_empty() || !after.is_empty()).then(|| [before, bytes, after].concat());
    let whole = joined.as_deref().unwrap_or(bytes);
    for marker in markers {
        // Of what was seen before, less than a marker: whatever is found has bytes of this piece in it.
        let reach = marker.length.saturating_sub(1);
        let start = before.len().saturating_sub(reach);
        let end = before.len() + bytes.len() + after.len().min(reach);
        let hits = marker.finder.find_iter(&whole[start..end]).count();
        if hits > 0 {
            marker.hits += hits as u64;
            marker.first.get_or_insert(flow);
        }
    }
}

impl State {
    fn report(self, flow: Flow) -> TapFlow {
        let begun = self.stream.beginning().and_then(|bytes| bytes.get(..TLS.len()));
        TapFlow {
            flow: flow.into(),
            packets: self.packets,
            payload_bytes: self.payload_bytes,
            begins_as_tls: begun.map(|bytes| bytes == TLS),
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
    fn segments_that_overtake_each_other_leave_no_gap_and_hide_no_seam() {
        let segments: [(u32, bool, &[u8]); 4] =
            [(9, true, b""), (10, false, b"a sec"), (18, false, b" x"), (15, false, b"ret")];
        let report = report(&["secret", "ret x"], &segments);
        let hits: Vec<_> = report.markers.iter().map(|marker| marker.hits).collect();
        assert_eq!((hits, report.gaps), (vec![1, 1], 0));
    }

    #[test]
    fn a_segment_that_is_sent_again_is_no_gap() {
        let report = report(&["secret"], &[(10, false, b"sec"), (10, false, b"sec"), (13, false, b"ret")]);
        assert_eq!((report.markers[0].hits, report.gaps), (1, 0));
    }

    #[test]
    fn what_comes_late_before_all_else_is_joined_too() {
        let report = report(&["secret"], &[(13, false, b"ret"), (10, false, b"sec"), (10, false, b"secret")]);
        assert_eq!((report.markers[0].hits, report.gaps), (1, 0));
    }

    #[test]
    fn bytes_that_close_a_hole_join_both_sides() {
        let segments: [(u32, bool, &[u8]); 3] = [(10, false, b"se"), (13, false, b"ret"), (11, false, b"ecret!")];
        let report = report(&["secret"], &segments);
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
        let segments: [(u32, bool, &[u8]); 4] =
            [(9, true, b""), (11, false, &hello[1..]), (10, false, hello), (9, true, b"")];
        let reordered = report(&["hello"], &segments);
        assert_eq!((reordered.flows[0].begins_as_tls, reordered.markers[0].hits), (Some(true), 1));
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

    #[test]
    fn a_gap_of_a_stream_is_still_one_when_its_port_is_used_again() {
        let segments: [(u32, bool, &[u8]); 4] =
            [(9, true, b""), (11, false, b"sec"), (900, true, b""), (901, false, b"ret")];
        assert_eq!(report(&["secret"], &segments).gaps, 1);
    }

    #[test]
    fn holes_that_are_too_many_to_remember_are_gaps_and_their_bytes_are_looked_into() {
        let apart: Vec<(u32, bool, &[u8])> = (0..5000).map(|number| (10 * number, false, &b"a secret"[..])).collect();
        let report = report(&["secret"], &apart);
        assert_eq!((report.markers[0].hits, report.gaps), (5000, 4999));
    }

    /// Texts of a few letters, and how long their segments are.
    fn cut_text() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
        let letters = prop_oneof![Just(b'a'), Just(b'b'), Just(b'c')];
        (proptest::collection::vec(letters, 0..60), proptest::collection::vec(1_usize..9, 1..60))
    }

    /// One segment after the other, up to the end of the text.
    fn segments<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<(u32, bool, &'a [u8])> {
        let (mut segments, mut rest) = (Vec::new(), text);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (segment, after) = rest.split_at(rest.len().min(*cut));
            // Near the end of all sequence numbers, so that some streams wrap.
            segments.push(((u32::MAX - 30).wrapping_add((text.len() - rest.len()) as u32), false, segment));
            rest = after;
        }
        segments
    }

    /// Markers that cannot overlap themselves, so that counting needs no convention.
    const MARKERS: [&str; 3] = ["abc", "cab", "c"];

    fn hits_within(text: &[u8]) -> Vec<u64> {
        let whole = |marker: &str| text.windows(marker.len()).filter(|part| *part == marker.as_bytes()).count() as u64;
        MARKERS.map(whole).to_vec()
    }

    fn hits_of(report: &TapReport) -> Vec<u64> {
        report.markers.iter().map(|marker| marker.hits).collect()
    }

    proptest! {
        #[test]
        fn however_a_text_is_cut_its_markers_are_found((text, cuts) in cut_text()) {
            let report = report(&MARKERS, &segments(&text, &cuts));
            prop_assert_eq!((hits_of(&report), report.gaps), (hits_within(&text), 0));
        }

        #[test]
        fn in_whatever_order_and_however_often_segments_come_it_is_all_the_same(
            (text, cuts) in cut_text(),
            again in proptest::collection::vec(1_usize..9, 1..60),
            order in proptest::collection::vec(any::<u32>(), 120),
            opened: bool,
        ) {
            // What is sent again is cut at other places.
            let sent = [segments(&text, &cuts), segments(&text, &again)].concat();
            let mut captured: Vec<_> = order.iter().zip(sent).collect();
            captured.sort();
            let opening: (u32, bool, &[u8]) = (u32::MAX - 31, true, b"");
            let opening = opened.then_some(opening).into_iter();
            let captured: Vec<_> = opening.chain(captured.into_iter().map(|(_, segment)| segment)).collect();
            let report = report(&MARKERS, &captured);
            prop_assert_eq!((hits_of(&report), report.gaps), (hits_within(&text), 0));
        }

        #[test]
        fn a_segment_that_never_comes_is_a_gap((text, cuts) in cut_text(), lost: proptest::sample::Index) {
            let mut all = segments(&text, &cuts);
            prop_assume!(all.len() > 2);
            all.remove(1 + lost.index(all.len() - 2));
            all.reverse();
            prop_assert_eq!(report(&MARKERS, &all).gaps, 1);
        }
    }
}
