//! Later delivery on a router: the packets of a link get a mark while the fault is in force, and what is marked passes a queue of
//! the kernel's that holds it back (`netem`). Without marks the queue has nothing to hold, so the fault ends with them. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::rules::{self, Pair};

/// The first band of a leg takes all that is not marked; each delay has one of its own.
const BANDS: u16 = 16;
/// Delays that a leg can have at once.
pub(super) const MOST: u16 = BANDS - 1;

/// How much later packets are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) by: Duration,
    /// Give or take.
    pub(super) jitter: Duration,
}

/// The queue of a delay on one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    interface: String,
    band: u16,
    mark: u32,
}

/// Packets carry the number of their fault.
pub(super) fn mark(number: u64) -> u32 {
    // None is no mark.
    (number as u32).max(1)
}

/// The legs that the packets of these pairs leave by.
pub(super) fn legs(pairs: &[Pair]) -> BTreeSet<&str> {
    pairs.iter().map(|pair| pair.outgoing.as_str()).collect()
}

/// Looks whether the kernel can, on an interface that nothing of ours passes; whoever else looks meanwhile does no harm.
pub(super) fn probe() -> Vec<String> {
    words("tc qdisc replace dev lo root netem delay 0ms")
}

/// Makes room for delays on a leg; once it is there, nothing changes.
pub(super) fn prepare(interface: &str) -> Vec<String> {
    let all_to_the_first = " 0".repeat(16);
    words(&format!("tc qdisc replace dev {interface} root handle 1: prio bands {BANDS} priomap{all_to_the_first}"))
}

/// A band that no delay has, by `tc -s -j qdisc show dev LEG`.
pub(super) fn free_band(listing: &Value) -> Option<u16> {
    let taken: BTreeSet<u16> = delays(listing).map(|(band, _)| band).collect();
    (2..=BANDS).find(|band| !taken.contains(band))
}

/// The band of each delay, and how many packets it holds back.
fn delays(listing: &Value) -> impl Iterator<Item = (u16, u64)> {
    let queues = listing.as_array().into_iter().flatten().filter(|queue| queue["kind"] == "netem");
    queues.filter_map(|queue| {
        let band = queue["parent"].as_str()?.strip_prefix("1:")?;
        Some((u16::from_str_radix(band, 16).ok()?, queue["qlen"].as_u64().unwrap_or_default()))
    })
}

impl Queue {
    pub(super) fn new(interface: &str, band: u16, mark: u32) -> Self {
        Self { interface: interface.to_owned(), band, mark }
    }

    /// Makes it, and sends what is marked there.
    pub(super) fn make(&self, delay: Delay) -> [Vec<String>; 2] {
        let Self { interface, band, mark } = self;
        let (by, jitter) = (delay.by.as_millis(), delay.jitter.as_millis());
        let jitter = if jitter == 0 { String::new() } else { format!(" {jitter}ms") };
        [
            // Enough for a second of a fast link; what is too much would be lost, and that is another fault.
            words(&format!("tc qdisc add dev {interface} parent 1:{band:x} netem limit 100000 delay {by}ms{jitter}")),
            words(&format!(
                "tc filter add dev {interface} parent 1: protocol ip prio {band} handle {mark:#x} fw classid 1:{band:x}"
            )),
        ]
    }

    /// The leg that it is on.
    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    /// How many packets it holds back.
    pub(super) fn held(&self, listing: &Value) -> u64 {
        delays(listing).filter(|(band, _)| *band == self.band).map(|(_, held)| held).sum()
    }

    /// Takes it away. What it still holds back is lost with it.
    pub(super) fn remove(&self) -> [Vec<String>; 2] {
        let Self { interface, band, .. } = self;
        [
            words(&format!("tc filter del dev {interface} parent 1: protocol ip prio {band}")),
            words(&format!("tc qdisc del dev {interface} parent 1:{band:x}")),
        ]
    }
}

/// The table that marks.
pub(super) fn table(number: u64, pairs: &[Pair], limit: Duration) -> String {
    rules::timed(number, pairs, limit, &format!("counter meta mark set {:#x}", mark(number)))
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_delay_is_made_and_removed_as_written_down() {
        let pair = |incoming: &str, outgoing: &str| Pair {
            from: "east".to_owned(),
            to: "west".to_owned(),
            incoming: incoming.to_owned(),
            outgoing: outgoing.to_owned(),
        };
        let pairs = [pair("eth0", "eth1"), pair("eth1", "eth0")];
        let plain = Delay { by: Duration::from_millis(200), jitter: Duration::ZERO };
        let shaky = Delay { jitter: Duration::from_millis(20), ..plain };
        let [one, other] = [2, 11].map(|band| Queue::new("eth1", band, mark(7)));
        let mut lines = vec![probe()];
        lines.extend(legs(&pairs).into_iter().map(prepare));
        lines.extend(one.make(plain).into_iter().chain(other.make(shaky)).chain(other.remove()));
        let text = lines.iter().map(|line| line.join(" ")).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(format!("{text}\n{}", table(7, &pairs, Duration::from_secs(60))));
    }

    #[test]
    fn each_delay_of_a_leg_has_a_band_of_its_own() {
        // As tc of iproute2 6.1 prints it.
        let listing = |bands: &[&str]| {
            let root = json!({ "kind": "prio", "handle": "1:", "root": true, "options": { "bands": 16 } });
            let queue = |band: &&str| json!({ "kind": "netem", "handle": "8002:", "parent": format!("1:{band}") });
            Value::Array(std::iter::once(root).chain(bands.iter().map(queue)).collect())
        };
        assert_eq!(free_band(&listing(&[])), Some(2));
        assert_eq!(free_band(&listing(&["2", "3", "5"])), Some(4));
        let mut holds = listing(&["2", "3"]);
        holds[2]["qlen"] = 17.into();
        assert_eq!([2, 3].map(|band| Queue::new("eth1", band, 1).held(&holds)), [0, 17]);
        let all = ["2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f", "10"];
        assert_eq!(free_band(&listing(&all[..14])), Some(16));
        assert_eq!(free_band(&listing(&all)), None);
    }

    #[test]
    fn a_mark_is_never_none() {
        assert_eq!([mark(0), mark(7)], [1, 7]);
    }
}
