//! Matrices: the cases that a scenario is run in.

use std::collections::BTreeMap;

use super::parameters::{is_single, written};
use crate::diagnostic::tree::{Node, Path, Value};
use crate::diagnostic::{Document, Problems, Severity};

/// More cases than this are an accident.
const MOST_CASES: usize = 200;

/// One combination of values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Case(Vec<(String, Node)>);

/// The key of values that belong together by which the case is named.
const NAME: &str = "name";

impl Case {
    /// The name of a scenario in this case: `mtls[protocol=http,client=probe]`.
    pub(super) fn name(&self, scenario: &str) -> String {
        if self.0.is_empty() {
            return scenario.to_owned();
        }
        let value = |node: &Node| written(&node.get(NAME).unwrap_or(node).value);
        let values: Vec<String> = self.0.iter().map(|(name, node)| format!("{name}={}", value(node))).collect();
        format!("{scenario}[{}]", values.join(","))
    }

    /// Its values by name; those that belong together by both names, as in `direction.from`.
    pub(super) fn values(&self) -> BTreeMap<String, Value> {
        let of_one = |(name, node): &(String, Node)| match &node.value {
            Value::Map(entries) => {
                let values = entries.iter().map(|(key, node)| (format!("{name}.{}", key.text), node.value.clone()));
                values.collect()
            }
            single => vec![(name.clone(), single.clone())],
        };
        self.0.iter().flat_map(of_one).collect()
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
                () if is_mapping(item) && !is_named(item) => "values that belong together need a `name` among them",
                () if !is_single(&item.value) && !is_mapping(item) => {
                    "this is neither a single value nor a mapping of single values"
                }
                () if items[..index].iter().any(known) => "this value stands here twice",
                () => continue,
            };
            problems.add(document.problem(Severity::Error, &path.index(index), message));
        }
        let with = |item: &Node, case: &Case| {
            let mut case = case.clone();
            case.0.push((key.text.clone(), item.clone()));
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

/// Single values that belong together.
fn is_mapping(node: &Node) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.iter().all(|(_, node)| is_single(&node.value)))
}

fn is_named(node: &Node) -> bool {
    node.get(NAME).is_some()
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
    fn values_that_belong_together_are_one() {
        let text = "matrix: {way: [{name: forth, from: a, to: b}, {name: back, from: b, to: a}], n: [1]}";
        assert_eq!(names(text), ["s[way=forth,n=1]", "s[way=back,n=1]"]);
        let cases = cases(&Document::parse("a.yaml", text).expect("YAML")).expect("cases");
        let values = cases[1].values();
        assert_eq!(values["way.from"], Value::Text("b".to_owned()));
        assert_eq!(values.keys().collect::<Vec<_>>(), ["n", "way.from", "way.name", "way.to"]);
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let text = "matrix:\n  a: []\n  b: [[1], 2, 2, {x: 1}, {name: a, x: [1]}]\n";
        let problems = cases(&Document::parse("a.yaml", text).expect("YAML")).expect_err("mistakes");
        let places: Vec<_> = problems.iter().map(|one| (one.location().line, one.location().column)).collect();
        assert_eq!(places, [(2, 3), (3, 7), (3, 15), (3, 18), (3, 26)]);
    }

    #[test]
    fn too_many_cases_are_an_accident() {
        let twenty: Vec<String> = (0..20).map(|value| value.to_string()).collect();
        let list = twenty.join(", ");
        let text = format!("matrix: {{a: [{list}], b: [{list}]}}");
        assert!(cases(&Document::parse("a.yaml", &text).expect("YAML")).is_err());
    }
}
