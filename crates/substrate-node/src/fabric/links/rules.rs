//! The backbone's nftables rules, as text for `nft -f -`, and what `nft -j` says of them. Pure.

use std::fmt;
use std::fmt::Write as _;

use serde_json::Value;
use substrate_config::control::RuleCounters;

use super::Port;

/// Packets from one network to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) from: String,
    pub(super) to: String,
    incoming: String,
    outgoing: String,
}

impl Pair {
    pub(super) fn new(from: &Port, to: &Port) -> Self {
        Self {
            from: from.network.clone(),
            to: to.network.clone(),
            incoming: from.interface.clone(),
            outgoing: to.interface.clone(),
        }
    }

    fn matches(&self) -> String {
        format!("iifname \"{}\" oifname \"{}\"", self.incoming, self.outgoing)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", self.from, self.to)
    }
}

/// Table of a fault. Numbers are not used again, so that an old table is never taken for a new one.
pub(super) fn table(number: u64) -> String {
    format!("fault-{number}")
}

/// Counts what each network sends to each other one, before any fault takes it.
pub(super) fn counting(ports: &[&Port]) -> String {
    let pairs = ports.iter().flat_map(|from| ports.iter().map(move |to| (from, to)));
    let rules = pairs.filter(|(from, to)| from.network != to.network).map(|(from, to)| Pair::new(from, to));
    let rules: String = rules.fold(String::new(), |mut text, pair| {
        let _ = writeln!(text, "    {} counter comment \"{pair}\"", pair.matches());
        text
    });
    chain("links", -10, &rules)
}

/// Drops the packets of the pairs, and counts them.
pub(super) fn cut(number: u64, pairs: &[Pair]) -> String {
    let rules: String = pairs.iter().fold(String::new(), |mut text, pair| {
        let _ = writeln!(text, "    {} counter drop comment \"cut {pair}\"", pair.matches());
        text
    });
    chain(&table(number), -5, &rules)
}

/// Table that switches the kernel's forwarding off where a wire carries.
pub(super) fn wire_table(pair: &Pair) -> String {
    format!("wire-{}-{}", pair.incoming, pair.outgoing)
}

/// Drops what a wire has taken already.
pub(super) fn wire(pair: &Pair) -> String {
    chain(&wire_table(pair), 0, &format!("    {} counter drop comment \"wire {pair}\"\n", pair.matches()))
}

/// Deletes a table.
pub(super) fn delete(table: &str) -> String {
    format!("delete table ip {table}\n")
}

fn chain(table: &str, priority: i32, rules: &str) -> String {
    format!(
        "table ip {table} {{\n  chain forward {{\n    type filter hook forward priority {priority}; policy accept;\n{rules}  }}\n}}\n"
    )
}

/// Names of the tables in a listing.
pub(super) fn tables(listing: &Value) -> Vec<String> {
    let tables = entries(listing).filter_map(|entry| entry.pointer("/table/name")?.as_str());
    tables.map(str::to_owned).collect()
}

/// All rules in a listing that count.
pub(super) fn counters(listing: &Value) -> Vec<RuleCounters> {
    entries(listing).filter_map(|entry| counter(entry.get("rule")?)).collect()
}

fn counter(rule: &Value) -> Option<RuleCounters> {
    let counter = rule.get("expr")?.as_array()?.iter().find_map(|expression| expression.get("counter"))?;
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(RuleCounters {
        table: text("table"),
        name: text("comment"),
        packets: counter.get("packets")?.as_u64()?,
        bytes: counter.get("bytes")?.as_u64()?,
    })
}

fn entries(listing: &Value) -> impl Iterator<Item = &Value> {
    listing.get("nftables").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn port(network: &str, number: u32) -> Port {
        Port {
            network: network.to_owned(),
            index: 16 + number,
            interface: format!("net{number}"),
            near: [2, 0, 0, 0, 0, 0],
            far: [2, 0, 0, 0, 0, 1],
            subnets: Vec::new(),
        }
    }

    #[test]
    fn every_ordered_pair_is_counted() {
        let (east, west) = (port("east", 0), port("west", 1));
        insta::assert_snapshot!(counting(&[&east, &west]));
    }

    #[test]
    fn a_cut_drops_and_counts() {
        let (east, west) = (port("east", 0), port("west", 1));
        insta::assert_snapshot!(cut(7, &[Pair::new(&east, &west), Pair::new(&west, &east)]));
    }

    #[test]
    fn a_wire_drops_what_it_carries() {
        insta::assert_snapshot!(wire(&Pair::new(&port("east", 0), &port("west", 1))));
    }

    #[test]
    fn counters_are_read_from_a_listing() {
        // As nft 1.0.6 prints it.
        let listing = json!({"nftables": [
            {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"table": {"family": "ip", "name": "fault-7", "handle": 2}},
            {"chain": {"family": "ip", "table": "fault-7", "name": "forward", "handle": 1, "type": "filter",
                       "hook": "forward", "prio": -5, "policy": "accept"}},
            {"rule": {"family": "ip", "table": "fault-7", "chain": "forward", "handle": 3, "comment": "cut east to west",
                      "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "net0"}},
                               {"counter": {"packets": 4, "bytes": 240}}, {"drop": null}]}},
            {"rule": {"family": "ip", "table": "fault-7", "chain": "forward", "handle": 4, "expr": [{"drop": null}]}},
        ]});
        assert_eq!(tables(&listing), ["fault-7"]);
        let counter = RuleCounters { table: "fault-7".into(), name: "cut east to west".into(), packets: 4, bytes: 240 };
        assert_eq!(counters(&listing), [counter]);
    }
}
