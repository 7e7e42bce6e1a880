//! Compares a document with a JSON schema and reports every deviation with its place.
//!
//! Knows the part of JSON Schema that `schemars` generates for our file types, no more; the same schema is what editors
//! complete and check with, so that what an editor accepts is what is accepted here.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use super::document::Document;
use super::problem::{Problem, Problems, Severity};
use super::suggest;
use super::tree::{Node, Path, Value};

/// The schema of a file type, as published.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Json {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// Every deviation of a document from a schema.
#[derive(Debug, Default)]
pub struct Deviations {
    /// All of them.
    pub problems: Problems,
    /// Where unknown fields are. Without them the document may fit its type, so that more can be checked.
    pub unknown: Vec<Path>,
    /// Where the others are.
    pub places: Vec<Path>,
}

impl Deviations {
    /// Whether there are others than unknown fields.
    #[must_use]
    pub fn beyond_unknown(&self) -> bool {
        !self.places.is_empty()
    }

    fn add(&mut self, path: &Path, problem: Problem) {
        self.problems.add(problem);
        self.places.push(path.clone());
    }
}

/// Compares a document with a schema.
#[must_use]
pub fn check(document: &Document, schema: &Json) -> Deviations {
    let walk = Walk { document, root: schema };
    let mut found = Deviations::default();
    walk.node(&document.root, schema, &Path::root(), &mut found);
    found
}

struct Walk<'input> {
    document: &'input Document,
    root: &'input Json,
}

impl Walk<'_> {
    fn node(&self, node: &Node, schema: &Json, path: &Path, found: &mut Deviations) {
        let schema = self.resolve(schema);
        let Some(object) = schema.as_object() else { return };
        if let Some(choices) = literals(object) {
            return self.literal(node, &choices, path, found);
        }
        if let Some(branches) = branches(object) {
            return self.branch(node, branches, path, found);
        }
        if !type_fits(object, &node.value) {
            let expected = expected(object);
            let message = match (&node.value, path.is_root()) {
                (Value::Null, true) => "the file is empty".to_owned(),
                (_, true) => format!("the file is {}, no {expected}", describe(node, path)),
                _ => format!("{} is no {expected}", describe(node, path)),
            };
            let mut problem = self.document.problem(Severity::Error, path, message);
            if expected == "text" && matches!(node.value, Value::Integer(_) | Value::Float(_) | Value::Bool(_)) {
                problem.help("put it in quotes");
            }
            found.add(path, problem);
            return;
        }
        match &node.value {
            Value::Map(_) => self.map(node, object, path, found),
            Value::List(items) => {
                let Some(item_schema) = object.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.node(item, item_schema, &path.index(index), found);
                }
            }
            Value::Integer(_) | Value::Float(_) => self.range(node, object, path, found),
            Value::Null | Value::Bool(_) | Value::Text(_) => {}
        }
    }

    fn resolve<'schema>(&'schema self, schema: &'schema Json) -> &'schema Json {
        let reference = schema.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix('#'));
        match reference.and_then(|pointer| self.root.pointer(pointer)) {
            Some(target) => self.resolve(target),
            None => schema,
        }
    }

    fn map(&self, node: &Node, schema: &Map<String, Json>, path: &Path, found: &mut Deviations) {
        let Value::Map(entries) = &node.value else { return };
        let none = Map::new();
        let known = schema.get("properties").and_then(Json::as_object).unwrap_or(&none);
        let additional = schema.get("additionalProperties");
        for (key, value) in entries {
            let path = path.key(&key.text);
            match (known.get(&key.text), additional) {
                (Some(schema), _) => self.node(value, schema, &path, found),
                (None, Some(Json::Bool(false))) => {
                    let mut problem =
                        self.document.problem_with_key(Severity::Error, &path, format!("unknown field `{}`", key.text));
                    problem.help(suggest::help(&key.text, known.keys().map(String::as_str)));
                    found.problems.add(problem);
                    found.unknown.push(path);
                }
                (None, Some(schema)) => self.node(value, schema, &path, found),
                (None, None) => {}
            }
        }
        self.missing(node, schema, path, found);
    }

    fn missing(&self, node: &Node, schema: &Map<String, Json>, path: &Path, found: &mut Deviations) {
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        for field in required.filter(|field| node.get(field).is_none()) {
            let place = if path.is_root() { String::new() } else { format!(" of {path}") };
            let mut problem =
                self.document.problem(Severity::Error, path, format!("field `{field}`{place} is missing"));
            if let Some(text) = schema.get("properties").and_then(|all| all.get(field)).and_then(description) {
                problem.help(format!("`{field}`: {text}"));
            }
            found.add(path, problem);
        }
    }

    fn literal(&self, node: &Node, choices: &[&str], path: &Path, found: &mut Deviations) {
        match &node.value {
            Value::Text(text) if choices.contains(&text.as_str()) => {}
            Value::Text(text) => {
                let mut problem = self.document.problem(Severity::Error, path, format!("unknown value `{text}`"));
                problem.help(suggest::help(text, choices.iter().copied()));
                found.add(path, problem);
            }
            _ => {
                let message = format!("{} is none of the words allowed here", describe(node, path));
                let mut problem = self.document.problem(Severity::Error, path, message);
                problem.help(suggest::help("", choices.iter().copied()));
                found.add(path, problem);
            }
        }
    }

    /// Accepts what any branch accepts; else reports what is wrong with the branch that fits best.
    fn branch(&self, node: &Node, branches: &[Json], path: &Path, found: &mut Deviations) {
        let mut best: Option<Deviations> = None;
        for branch in branches.iter().filter(|branch| !is_null(self.resolve(branch))) {
            let mut tried = Deviations::default();
            self.node(node, branch, path, &mut tried);
            if !tried.problems.has_errors() {
                return;
            }
            let shape_fits = self.resolve(branch).as_object().is_some_and(|schema| type_fits(schema, &node.value));
            if best.is_none() || shape_fits {
                best = Some(tried);
            }
        }
        let allows_null = branches.iter().any(|branch| is_null(self.resolve(branch)));
        if let (Some(best), false) = (best, allows_null && node.value == Value::Null) {
            found.problems.extend(best.problems);
            found.unknown.extend(best.unknown);
            found.places.extend(best.places);
        }
    }

    fn range(&self, node: &Node, schema: &Map<String, Json>, path: &Path, found: &mut Deviations) {
        let value = match node.value {
            Value::Integer(value) => value as f64,
            Value::Float(value) => value,
            _ => return,
        };
        let minimum = schema.get("minimum").and_then(Json::as_f64).unwrap_or(f64::NEG_INFINITY);
        let maximum = schema.get("maximum").and_then(Json::as_f64).unwrap_or(f64::INFINITY);
        if value < minimum || value > maximum {
            let message = match (minimum.is_finite(), maximum.is_finite()) {
                (true, true) => format!("{value} is not between {minimum} and {maximum}"),
                (true, false) => format!("{value} is below {minimum}"),
                _ => format!("{value} is above {maximum}"),
            };
            found.add(path, self.document.problem(Severity::Error, path, message));
        }
    }
}

/// The words that an enumeration allows, in whichever way the schema lists them.
fn literals(schema: &Map<String, Json>) -> Option<Vec<&str>> {
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        return values.iter().map(Json::as_str).collect();
    }
    if let Some(value) = schema.get("const").and_then(Json::as_str) {
        return Some(vec![value]);
    }
    let mut words = Vec::new();
    for branch in schema.get("oneOf").and_then(Json::as_array)? {
        words.extend(literals(branch.as_object()?)?);
    }
    Some(words)
}

fn branches(schema: &Map<String, Json>) -> Option<&[Json]> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array).map(Vec::as_slice)
}

fn is_null(schema: &Json) -> bool {
    schema.get("type").and_then(Json::as_str) == Some("null")
}

fn types(schema: &Map<String, Json>) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn type_fits(schema: &Map<String, Json>, value: &Value) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|name| {
            matches!(
                (*name, value),
                ("null", Value::Null)
                    | ("boolean", Value::Bool(_))
                    | ("integer" | "number", Value::Integer(_))
                    | ("number", Value::Float(_))
                    | ("string", Value::Text(_))
                    | ("array", Value::List(_))
                    | ("object", Value::Map(_))
            )
        })
}

fn expected(schema: &Map<String, Json>) -> &'static str {
    match types(schema).first().copied() {
        Some("string") => "text",
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("boolean") => "`true` or `false`",
        Some("array") => "list",
        _ => "mapping",
    }
}

fn describe(node: &Node, path: &Path) -> String {
    let what = match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Integer(value) => format!("`{value}`"),
        Value::Float(value) => format!("`{value}`"),
        Value::Text(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    };
    let path = path.to_string();
    if path.is_empty() { what } else { format!("{path}: {what}") }
}

fn description(schema: &Json) -> Option<&str> {
    schema.get("description").and_then(Json::as_str)
}
