//! Matrices: the cases that a scenario is run in.

use std::collections::BTreeMap;

use super::parameters::{is_single, written};
use crate::diagnostic::tree::{Node, Path, Value};
use crate::diagnostic::{Document, Problems, Severity};

/// More cases than this are an accident.
const MOST_CASES: usize = 200;

/// One combination of values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Case(Vec<(String, Value)>);

impl Case {
    /// The name of a scenario in this case: `mtls[protocol=http,client=probe]`.
    pub(super) fn name(&self, scenario: &str) -> String {
        if self.0.is_empty() {
            return scenario.to_owned();
        }
        let values: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={}", written(value))).collect();
        format!("{scenario}[{}]", values.join(","))
    }

    /// Its values by name.
    pub(super) fn values(&self) -> BTreeMap<String, Value> {
        self.0.iter().cloned().collect()
    }
}

/// Every case of a document; the one without values where there is no matrix.
///
/// # Errors
/// Values that are no single values, empty lists and too many cases.
pub(super) fn cases(document: &Document) -> Result<Vec<Case>, Problems> {
    let mut cases = vec![Case::default()];
    let mut problems = Problems::none();
    let entries = match document.root.get("matrix") {
        Some(Node { value: Value::Map(entries), .. }) => entries.as_slice(),
        // Anything else is a deviation from the schema, which is reported as such.
        _ => return Ok(cases),
    };
    for (key, node) in entries {
        let path = Path::root().key("matrix").key(&key.text);
        let Value::List(items) = &node.value else { continue };
        if items.is_empty() {
            problems.add(document.problem_with_key(Severity::Error, &path, "no values, so no case is left"));
        }
        for (index, item) in items.iter().enumerate() {
            let known = |other: &Node| other.value == item.value;
            let message = match () {
                () if !is_single(&item.value) => "this is no single value",
                () if items[..index].iter().any(known) => "this value stands here twice",
                () => continue,
            };
            problems.add(document.problem(Severity::Error, &path.index(index), message));
        }
        let with = |item: &Node, case: &Case| {
            let mut case = case.clone();
            case.0.push((key.text.clone(), item.value.clone()));
            case
        };
        if cases.len() * items.len() <= MOST_CASES {
            cases = cases.iter().flat_map(|case| items.iter().map(|item| with(item, case))).collect();
        } else {
            let message = format!("this makes {} cases; {MOST_CASES} are the most", cases.len() * items.len());
            problems.add(document.problem_with_key(Severity::Error, &path, message));
        }
    }
    if problems.has_errors() { Err(problems) } else { Ok(cases) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let document = Document::parse("a.yaml", text).expect("YAML");
        cases(&document).expect("cases").iter().map(|case| case.name("s")).collect()
    }

    #[test]
    fn every_combination_is_a_case() {
        assert_eq!(
            names("matrix: {protocol: [http, grpc], retries: [1, 2]}"),
            [
                "s[protocol=http,retries=1]",
                "s[protocol=http,retries=2]",
                "s[protocol=grpc,retries=1]",
                "s[protocol=grpc,retries=2]",
            ]
        );
        assert_eq!(names("a: 1"), ["s"]);
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let text = "matrix:\n  a: []\n  b: [[1], 2, 2]\n";
        let problems = cases(&Document::parse("a.yaml", text).expect("YAML")).expect_err("mistakes");
        let places: Vec<_> = problems.iter().map(|one| (one.location().line, one.location().column)).collect();
        assert_eq!(places, [(2, 3), (3, 7), (3, 15)]);
    }

    #[test]
    fn too_many_cases_are_an_accident() {
        let twenty: Vec<String> = (0..20).map(|value| value.to_string()).collect();
        let list = twenty.join(", ");
        let text = format!("matrix: {{a: [{list}], b: [{list}]}}");
        assert!(cases(&Document::parse("a.yaml", &text).expect("YAML")).is_err());
    }
}
