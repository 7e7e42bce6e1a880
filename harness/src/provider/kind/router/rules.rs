//! The router's nftables rules, as commands for `nft`, and what `nft -j` says of them. Pure.
//!
//! A fault is a table of its own, with a set of the links that it concerns. The kernel forgets the elements of the set when the
//! fault's time is up, so that it heals even where nobody is left to heal it.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Packets from one interface of the router to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Name of the network that they come from.
    pub(super) from: String,
    /// Name of the network that they go to.
    pub(super) to: String,
    /// The router's interface on the one.
    pub(super) incoming: String,
    /// The router's interface on the other.
    pub(super) outgoing: String,
}

impl Pair {
    fn label(&self) -> String {
        format!("{} to {}", self.from, self.to)
    }
}

/// The table that counts what each network sends to each other one, before any fault takes it.
pub(super) const LINKS: &str = "links";

/// Counts every pair, from nothing.
pub(super) fn counting(pairs: &[Pair]) -> String {
    let rules = pairs.iter().fold(String::new(), |mut text, pair| {
        let (incoming, outgoing, label) = (&pair.incoming, &pair.outgoing, pair.label());
        let _ = writeln!(text, "    iifname \"{incoming}\" oifname \"{outgoing}\" counter comment \"{label}\"");
        text
    });
    format!(
        "add table ip {LINKS}\ndelete table ip {LINKS}\ntable ip {LINKS} {{\n  chain forward {{\n    type filter hook forward priority -10; policy accept;\n{rules}  }}\n}}\n"
    )
}

/// What a fault does to a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect {
    /// It is dropped.
    Cut,
    /// It is dropped with this chance in percent.
    Loss(f64),
}

/// A fault of the pairs, which ends by itself after `limit`.
pub(super) fn fault(number: u64, effect: Effect, pairs: &[Pair], limit: Duration) -> String {
    let chance = match effect {
        Effect::Cut => String::new(),
        // In hundredths of a percent, which is finer than anything that can be measured.
        Effect::Loss(percent) => format!("numgen random mod 10000 <= {:.0} ", (percent * 100.0).round().max(1.0) - 1.0),
    };
    timed(number, pairs, limit, &format!("{chance}counter drop"))
}

/// Does this to the packets of the pairs, until `limit` has passed.
pub(super) fn timed(number: u64, pairs: &[Pair], limit: Duration, what: &str) -> String {
    let table = table(number);
    let elements: Vec<String> = pairs
        .iter()
        .map(|pair| format!("\"{}\" . \"{}\" timeout {}ms", pair.incoming, pair.outgoing, limit.as_millis()))
        .collect();
    format!(
        "table ip {table} {{\n  set links {{\n    type ifname . ifname\n    flags timeout\n    elements = {{ {} }}\n  }}\n  \
         chain forward {{\n    type filter hook forward priority -5; policy accept;\n    \
         iifname . oifname @links {what} comment \"{table}\"\n  }}\n}}\n",
        elements.join(", ")
    )
}

/// The table of a fault.
pub(super) fn table(number: u64) -> String {
    format!("fault-{number}")
}

/// How a fault is, read from a listing of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The longest that a link of it remains so; `None` where its time is up.
    pub(super) remaining: Option<Duration>,
    /// Packets that it dropped.
    pub(super) dropped: u64,
}

/// Reads it.
pub(super) fn seen(listing: &Value) -> Seen {
    let elements = entries(listing).filter_map(|entry| entry.pointer("/set/elem")?.as_array()).flatten();
    let expires = elements.filter_map(|element| element.pointer("/elem/expires")?.as_u64());
    Seen {
        remaining: expires.max().map(Duration::from_secs),
        dropped: counters(listing).iter().map(|counter| counter.packets).sum(),
    }
}

/// A rule that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    pub(super) table: String,
    pub(super) comment: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Counter {
    /// Whether it is of a table that we made; Docker has some of its own in every container.
    pub(super) fn is_ours(&self) -> bool {
        self.table == LINKS || self.table.starts_with("fault-")
    }
}

/// All rules in a listing that count.
pub(super) fn counters(listing: &Value) -> Vec<Counter> {
    entries(listing).filter_map(|entry| counter(entry.get("rule")?)).collect()
}

fn counter(rule: &Value) -> Option<Counter> {
    let counter = rule.get("expr")?.as_array()?.iter().find_map(|expression| expression.get("counter"))?;
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |name: &str| counter.get(name)?.as_u64();
    Some(Counter {
        table: text("table"),
        comment: text("comment"),
        packets: number("packets")?,
        bytes: number("bytes")?,
    })
}

fn entries(listing: &Value) -> impl Iterator<Item = &Value> {
    listing.get("nftables").and_then(Value::as_array).into_iter().flatten()
}

/// Names of interfaces by their address, as `ip -j -4 address` tells them.
pub(super) fn interface_with(listing: &Value, address: std::net::Ipv4Addr) -> Option<String> {
    let wanted = address.to_string();
    let has = |interface: &&Value| {
        let addresses = interface.get("addr_info").and_then(Value::as_array).into_iter().flatten();
        addresses.filter_map(|one| one.get("local")?.as_str()).any(|local| local == wanted)
    };
    let interface = listing.as_array()?.iter().find(has)?;
    Some(interface.get("ifname")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pairs() -> [Pair; 2] {
        let pair = |from: &str, to: &str, incoming: &str, outgoing: &str| Pair {
            from: from.to_owned(),
            to: to.to_owned(),
            incoming: incoming.to_owned(),
            outgoing: outgoing.to_owned(),
        };
        [pair("east", "west", "eth0", "eth1"), pair("west", "east", "eth1", "eth0")]
    }

    #[test]
    fn rules_are_as_written_down() {
        let limit = Duration::from_secs(60);
        let all = [
            counting(&pairs()),
            fault(1, Effect::Cut, &pairs(), limit),
            fault(2, Effect::Cut, &pairs()[..1], limit),
            fault(3, Effect::Loss(2.5), &pairs(), limit),
            fault(4, Effect::Loss(100.0), &pairs()[..1], limit),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn a_fault_is_read_from_a_listing() {
        // As nft 1.0.6 prints it.
        let listing = |elements: Value| {
            json!({"nftables": [
                {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
                {"table": {"family": "ip", "name": "fault-7", "handle": 3}},
                {"set": {"family": "ip", "name": "links", "table": "fault-7", "type": ["ifname", "ifname"], "handle": 2,
                         "flags": ["timeout"], "elem": elements}},
                {"rule": {"family": "ip", "table": "fault-7", "chain": "forward", "handle": 4, "comment": "fault-7",
                          "expr": [{"match": {"op": "==", "right": "@links"}},
                                   {"counter": {"packets": 12, "bytes": 720}}, {"drop": null}]}},
            ]})
        };
        let element = json!({"elem": {"val": {"concat": ["eth0", "eth1"]}, "timeout": 5, "expires": 4}});
        let active = seen(&listing(json!([element])));
        assert_eq!(active, Seen { remaining: Some(Duration::from_secs(4)), dropped: 12 });
        assert_eq!(seen(&listing(json!([]))), Seen { remaining: None, dropped: 12 });
        assert_eq!(counters(&listing(json!([])))[0].table, "fault-7");
    }

    #[test]
    fn interfaces_are_found_by_address() {
        let listing = json!([
            {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
            {"ifname": "eth1", "addr_info": [{"local": "172.29.0.254"}]},
        ]);
        assert_eq!(interface_with(&listing, [172, 29, 0, 254].into()).as_deref(), Some("eth1"));
        assert_eq!(interface_with(&listing, [172, 29, 1, 254].into()), None);
    }
}
