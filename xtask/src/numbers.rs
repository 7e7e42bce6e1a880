//! Numbers out of reports: every numeric leaf by its path, and what several runs say of it together. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// What several runs say of one number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle one; the mean of the middle two where their number is even.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
    /// All, in the order of the runs.
    pub(crate) values: Vec<f64>,
}

/// Summarises values; `None` where there are none.
pub(crate) fn summarise(values: &[f64]) -> Option<Summary> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
    Some(Summary { median, min, max, values: values.to_vec() })
}

/// Every number below a value by its path. Elements of a list go by their `id` or `name`, else by their place.
pub(crate) fn leaves(value: &Value) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    walk("", value, &mut found);
    found
}

fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, f64>) {
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                found.insert(path.to_owned(), number);
            }
        }
        Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(&format!("{path}/{key}"), value, found)),
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                let name = ["id", "name"].iter().find_map(|key| element.get(key)?.as_str());
                let step = name.map_or_else(|| index.to_string(), str::to_owned);
                walk(&format!("{path}/{step}"), element, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Joins the numbers of several reports, and keeps the paths that begin with one of the prefixes.
pub(crate) fn join(reports: &[Value], prefixes: &[String]) -> BTreeMap<String, Summary> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (path, number) in reports.iter().flat_map(leaves) {
        if prefixes.is_empty() || prefixes.iter().any(|prefix| path.starts_with(prefix.as_str())) {
            all.entry(path).or_default().push(number);
        }
    }
    all.into_iter().filter_map(|(path, values)| Some((path, summarise(&values)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(summarise(&[3.0, 1.0, 2.0]).map(|summary| summary.median), Some(2.0));
        assert_eq!(summarise(&[4.0, 1.0, 2.0, 3.0]).map(|summary| summary.median), Some(2.5));
        assert_eq!(summarise(&[]), None);
    }

    #[test]
    fn numbers_are_joined_by_their_path() {
        let report = |ready, memory| json!({ "phases": [{ "id": "ready", "ms": ready }], "memory": { "pss": memory }, "ok": true });
        let joined = join(&[report(10, 5), report(30, 6)], &["/phases".to_owned()]);
        assert_eq!(joined.keys().collect::<Vec<_>>(), ["/phases/ready/ms"]);
        assert_eq!(
            joined["/phases/ready/ms"],
            Summary { median: 20.0, min: 10.0, max: 30.0, values: vec![10.0, 30.0] }
        );
        assert_eq!(join(&[report(1, 2)], &[]).len(), 2);
    }
}
