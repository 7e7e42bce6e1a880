//! Prometheus' text format of several agents as one. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Answers;

/// A family of metrics.
#[derive(Debug, Default)]
struct Family {
    head: Vec<String>,
    /// By name and labels, as they are written.
    samples: BTreeMap<String, f64>,
    /// Names in the order in which they came, so that the buckets of a histogram stay in theirs.
    order: Vec<String>,
}

/// One text: equal series are added up, and a series per cluster tells whether its agent answered.
pub fn text(answers: &Answers) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for text in answers.values().flatten() {
        take(text, &mut families);
    }
    let mut out = String::from(
        "# HELP meshproof_hub_agent_up Whether the agent of a cluster answered.\n# TYPE meshproof_hub_agent_up gauge\n",
    );
    for (cluster, answer) in answers {
        // Writing to a text does not fail.
        let _ = writeln!(out, "meshproof_hub_agent_up{{cluster=\"{cluster}\"}} {}", u8::from(answer.is_ok()));
    }
    for family in families.values() {
        for line in &family.head {
            let _ = writeln!(out, "{line}");
        }
        for name in &family.order {
            let _ = writeln!(out, "{name} {}", family.samples[name]);
        }
    }
    out
}

fn take(text: &str, families: &mut BTreeMap<String, Family>) {
    let mut current = String::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP" | "TYPE"), Some(name)) => {
                name.clone_into(&mut current);
                let family = families.entry(current.clone()).or_default();
                if !family.head.iter().any(|known| known == line) {
                    family.head.push(line.to_owned());
                }
            }
            _ => {
                let Some((name, value)) = line.rsplit_once(' ') else { continue };
                let Ok(value) = value.parse::<f64>() else { continue };
                let family = families.entry(current.clone()).or_default();
                if !family.samples.contains_key(name) {
                    family.order.push(name.to_owned());
                }
                *family.samples.entry(name.to_owned()).or_default() += value;
            }
        }
    }
}

/// Labels and value of every sample of a metric.
pub fn samples(text: &str, metric: &str) -> Vec<(BTreeMap<String, String>, f64)> {
    let sample = |line: &str| {
        let labels = line.strip_prefix(metric)?.strip_prefix('{')?;
        let (labels, value) = labels.rsplit_once("} ")?;
        Some((labels_of(labels), value.parse().ok()?))
    };
    text.lines().filter_map(sample).collect()
}

/// `a="1",b="2"`, with Prometheus' escapes.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut signs = text.chars();
    loop {
        let name: String = signs.by_ref().take_while(|sign| *sign != '=').collect();
        if name.is_empty() || signs.next() != Some('"') {
            return labels;
        }
        let mut value = String::new();
        while let Some(sign) = signs.next() {
            match sign {
                '"' => break,
                '\\' => value.extend(signs.next().map(|sign| if sign == 'n' { '\n' } else { sign })),
                other => value.push(other),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        // The comma, where there is another one.
        let rest = signs.as_str();
        signs = rest.strip_prefix(',').unwrap_or(rest).chars();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "# HELP t Requests.\n# TYPE t counter\nt{a=\"x\"} 2\nt{a=\"y\"} 1\n# HELP d Time.\n# TYPE d histogram\nd_bucket{le=\"5\"} 1\nd_bucket{le=\"10\"} 2\nd_sum{} 7.5\n";
    const OTHER: &str = "# HELP t Requests.\n# TYPE t counter\nt{a=\"x\"} 40\nbroken\nt{a=\"z\"} many\n";

    #[test]
    fn equal_series_are_added_up_and_who_is_gone_is_told() {
        let answers = Answers::from([
            ("c1".to_owned(), Ok(ONE.to_owned())),
            ("c2".to_owned(), Ok(OTHER.to_owned())),
            ("c3".to_owned(), Err("gone".to_owned())),
        ]);
        let expected = "# HELP meshproof_hub_agent_up Whether the agent of a cluster answered.\n\
            # TYPE meshproof_hub_agent_up gauge\n\
            meshproof_hub_agent_up{cluster=\"c1\"} 1\n\
            meshproof_hub_agent_up{cluster=\"c2\"} 1\n\
            meshproof_hub_agent_up{cluster=\"c3\"} 0\n\
            # HELP d Time.\n# TYPE d histogram\nd_bucket{le=\"5\"} 1\nd_bucket{le=\"10\"} 2\nd_sum{} 7.5\n\
            # HELP t Requests.\n# TYPE t counter\nt{a=\"x\"} 42\nt{a=\"y\"} 1\n";
        assert_eq!(text(&answers), expected);
    }

    #[test]
    fn labels_are_read_with_their_escapes() {
        let read = samples("t{a=\"x,\\\"y\\\"}\",b=\"2\"} 3\nother{a=\"1\"} 4\n", "t");
        let labels = BTreeMap::from([("a".to_owned(), "x,\"y\"}".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!(read, [(labels, 3.0)]);
    }
}
