//! Parameters of scenarios: `${parameters.name}` in a text stands for the value of that name, and `${matrix.name}` for
//! the value of a case.

use std::collections::BTreeMap;

use crate::diagnostic::tree::{Node, Path, Value};
use crate::diagnostic::{Document, Problems, Severity, suggest};

const OPEN: &str = "${";
/// The families of names.
const FAMILIES: [&str; 2] = ["parameters", "matrix"];

/// Values by family and name, such as `parameters.port`.
type Values = BTreeMap<String, Value>;

/// What stands for values that a file declares: those of a case of its matrix, and of the suite that names it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Values of the case, by name in the matrix.
    pub case: BTreeMap<String, Value>,
    /// Values in place of those that the scenario declares.
    pub parameters: BTreeMap<String, Value>,
}

/// Replaces every reference in the document but for those in `parameters` and `matrix` themselves.
///
/// A text that consists of one reference takes on the type of the value; inside of a longer text, the value is written out.
///
/// # Errors
/// References to what is not declared, and parameters that are lists or mappings.
pub fn substitute(document: &mut Document, given: &Given) -> Result<(), Problems> {
    let mut problems = Problems::none();
    let mut values = declared(document, &mut problems);
    for (name, value) in &given.parameters {
        if let Some(declared) = values.get_mut(&format!("parameters.{name}")) {
            *declared = value.clone();
        }
    }
    values.extend(given.case.iter().map(|(name, value)| (format!("matrix.{name}"), value.clone())));
    let mut root = document.root.clone();
    if let Value::Map(entries) = &mut root.value {
        for (key, node) in entries.iter_mut().filter(|(key, _)| !FAMILIES.contains(&key.text.as_str())) {
            replace(node, &Path::root().key(&key.text), document, &values, &mut problems);
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    document.root = root;
    Ok(())
}

fn declared(document: &Document, problems: &mut Problems) -> Values {
    let Some(Node { value: Value::Map(entries), .. }) = document.root.get("parameters") else { return Values::new() };
    for (key, node) in entries {
        if !is_single(&node.value) {
            let path = Path::root().key("parameters").key(&key.text);
            problems.add(document.problem_with_key(
                Severity::Error,
                &path,
                format!("parameter `{}` is no single value", key.text),
            ));
        }
    }
    entries.iter().map(|(key, node)| (format!("parameters.{}", key.text), node.value.clone())).collect()
}

/// Whether a value can be written inside a text.
pub(super) fn is_single(value: &Value) -> bool {
    !matches!(value, Value::Map(_) | Value::List(_) | Value::Null)
}

fn replace(node: &mut Node, path: &Path, document: &Document, values: &Values, problems: &mut Problems) {
    match &mut node.value {
        Value::Map(entries) => {
            for (key, node) in entries {
                replace(node, &path.key(&key.text), document, values, problems);
            }
        }
        Value::List(items) => {
            for (index, node) in items.iter_mut().enumerate() {
                replace(node, &path.index(index), document, values, problems);
            }
        }
        Value::Text(text) if text.contains(OPEN) => match expand(text, values) {
            Ok(value) => node.value = value,
            Err(unknown) => {
                let message = format!("nothing is named `{unknown}` here");
                let mut problem = document.problem(Severity::Error, path, message);
                problem.help(suggest::help(&unknown, values.keys().map(String::as_str)));
                problems.add(problem);
            }
        },
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

/// Other things in `${}` are somebody else's: only the two families are ours.
fn expand(text: &str, values: &Values) -> Result<Value, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        if !FAMILIES.iter().any(|family| after.strip_prefix(family).is_some_and(|after| after.starts_with('.'))) {
            out.push_str(before);
            out.push_str(OPEN);
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or_else(|| after.to_owned())?;
        let value = values.get(name).ok_or_else(|| name.to_owned())?;
        if before.is_empty() && after.is_empty() && out.is_empty() {
            return Ok(value.clone());
        }
        out.push_str(before);
        out.push_str(&written(value));
        rest = after;
    }
    out.push_str(rest);
    Ok(Value::Text(out))
}

/// A value as it is written inside a text.
pub(super) fn written(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null | Value::List(_) | Value::Map(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_take_the_type_or_the_text_of_the_value() {
        let text = "parameters: {port: 9080, host: reviews}\nurl: http://${parameters.host}:${parameters.port}/x\nport: ${parameters.port}\n";
        let mut document = Document::parse("a.yaml", text).expect("YAML");
        substitute(&mut document, &Given::default()).expect("all known");
        assert_eq!(document.root.get("url").map(Node::to_json), Some("http://reviews:9080/x".into()));
        assert_eq!(document.root.get("port").map(Node::to_json), Some(9080.into()));
    }

    #[test]
    fn cases_and_suites_give_values_and_other_braces_are_left_alone() {
        let text = "parameters: {host: reviews}\na: ${matrix.port}\nb: ${parameters.host}-${HOME}-${matrix.port}\n";
        let mut document = Document::parse("a.yaml", text).expect("YAML");
        let given = Given {
            case: BTreeMap::from([("port".to_owned(), Value::Integer(80))]),
            parameters: BTreeMap::from([("host".to_owned(), Value::Text("details".to_owned()))]),
        };
        substitute(&mut document, &given).expect("all known");
        assert_eq!(document.root.get("a").map(Node::to_json), Some(80.into()));
        assert_eq!(document.root.get("b").map(Node::to_json), Some("details-${HOME}-80".into()));
    }

    #[test]
    fn unknown_references_are_reported_all_at_once() {
        let text = "parameters: {host: reviews}\na: ${parameters.hots}\nb: [\"${parameters.\"]\n";
        let mut document = Document::parse("a.yaml", text).expect("YAML");
        let problems = substitute(&mut document, &Given::default()).expect_err("unknown");
        let lines: Vec<usize> = problems.iter().map(|problem| problem.location().line).collect();
        assert_eq!(lines, [2, 3]);
    }
}
