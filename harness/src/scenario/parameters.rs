//! Parameters of scenarios: `${parameters.name}` in a text stands for the value of that name.

use std::collections::BTreeMap;

use crate::diagnostic::tree::{Node, Path, Value};
use crate::diagnostic::{Document, Problems, Severity, suggest};

const OPEN: &str = "${parameters.";

/// Replaces every reference in the document but for those in `parameters` itself.
///
/// A text that consists of one reference takes on the type of the value; inside of a longer text, the value is written out.
///
/// # Errors
/// References to parameters that are not declared, and parameters that are lists or mappings.
pub fn substitute(document: &mut Document) -> Result<(), Problems> {
    let mut problems = Problems::none();
    let parameters = declared(document, &mut problems);
    let mut root = document.root.clone();
    if let Value::Map(entries) = &mut root.value {
        for (key, node) in entries.iter_mut().filter(|(key, _)| key.text != "parameters") {
            replace(node, &Path::root().key(&key.text), document, &parameters, &mut problems);
        }
    }
    if problems.has_errors() {
        return Err(problems);
    }
    document.root = root;
    Ok(())
}

fn declared(document: &Document, problems: &mut Problems) -> BTreeMap<String, Value> {
    let Some(Node { value: Value::Map(entries), .. }) = document.root.get("parameters") else { return BTreeMap::new() };
    for (key, node) in entries {
        if matches!(node.value, Value::Map(_) | Value::List(_) | Value::Null) {
            let path = Path::root().key("parameters").key(&key.text);
            problems.add(document.problem_with_key(
                Severity::Error,
                &path,
                format!("parameter `{}` is no single value", key.text),
            ));
        }
    }
    entries.iter().map(|(key, node)| (key.text.clone(), node.value.clone())).collect()
}

fn replace(
    node: &mut Node,
    path: &Path,
    document: &Document,
    parameters: &BTreeMap<String, Value>,
    problems: &mut Problems,
) {
    match &mut node.value {
        Value::Map(entries) => {
            for (key, node) in entries {
                replace(node, &path.key(&key.text), document, parameters, problems);
            }
        }
        Value::List(items) => {
            for (index, node) in items.iter_mut().enumerate() {
                replace(node, &path.index(index), document, parameters, problems);
            }
        }
        Value::Text(text) if text.contains(OPEN) => match expand(text, parameters) {
            Ok(value) => node.value = value,
            Err(unknown) => {
                let message = format!("unknown parameter `{unknown}`");
                let mut problem = document.problem(Severity::Error, path, message);
                problem.help(suggest::help(&unknown, parameters.keys().map(String::as_str)));
                problems.add(problem);
            }
        },
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

fn expand(text: &str, parameters: &BTreeMap<String, Value>) -> Result<Value, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, after) = after.split_once('}').ok_or_else(|| after.to_owned())?;
        let value = parameters.get(name).ok_or_else(|| name.to_owned())?;
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

fn written(value: &Value) -> String {
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
        substitute(&mut document).expect("all known");
        assert_eq!(document.root.get("url").map(Node::to_json), Some("http://reviews:9080/x".into()));
        assert_eq!(document.root.get("port").map(Node::to_json), Some(9080.into()));
    }

    #[test]
    fn unknown_references_are_reported_all_at_once() {
        let text = "parameters: {host: reviews}\na: ${parameters.hots}\nb: [\"${parameters.\"]\n";
        let mut document = Document::parse("a.yaml", text).expect("YAML");
        let problems = substitute(&mut document).expect_err("unknown");
        let lines: Vec<usize> = problems.iter().map(|problem| problem.location().line).collect();
        assert_eq!(lines, [2, 3]);
    }
}
