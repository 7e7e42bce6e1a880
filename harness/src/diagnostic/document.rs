//! A file read, parsed and compared with the schema of its type; from here on problems are found by path.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::location::Location;
use super::problem::{Problem, Problems, Severity, Source};
use super::structure;
use super::tree::{self, Node, Path, Span};

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name and text.
    pub source: Arc<Source>,
    /// Its content.
    pub root: Node,
}

impl Document {
    /// Parses a text.
    ///
    /// # Errors
    /// The one problem that the YAML parser reports.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
        match tree::parse(text) {
            Ok(root) => Ok(Self { source, root }),
            Err(error) => Err(syntax(source, &error)),
        }
    }

    /// The place of the value at a path, or of the nearest one above it.
    #[must_use]
    pub fn location(&self, path: &Path) -> Location {
        self.source.location(self.span(path).start)
    }

    /// The bytes of the value at a path. A mapping or list is represented by the key that leads to it.
    #[must_use]
    pub fn span(&self, path: &Path) -> Span {
        let node = self.root.nearest(path);
        match node.value {
            tree::Value::Map(_) | tree::Value::List(_) | tree::Value::Null => self.visible(path),
            _ => node.span,
        }
    }

    fn visible(&self, path: &Path) -> Span {
        let mut span = self.root.key_span(path);
        let rest = self.source.text.get(span.start..).unwrap_or("");
        let line = rest.lines().next().unwrap_or("").trim_end().len();
        span.length = span.length.clamp(1, line.max(1));
        span
    }

    /// A problem at a path.
    #[must_use]
    pub fn problem(&self, severity: Severity, path: &Path, message: impl Into<String>) -> Problem {
        self.problem_at(severity, path, self.span(path), message)
    }

    /// A problem with the key that leads to a path.
    #[must_use]
    pub fn problem_with_key(&self, severity: Severity, path: &Path, message: impl Into<String>) -> Problem {
        self.problem_at(severity, path, self.root.key_span(path), message)
    }

    fn problem_at(&self, severity: Severity, path: &Path, span: Span, message: impl Into<String>) -> Problem {
        Problem {
            severity,
            message: message.into(),
            path: path.to_string(),
            source: Some(Arc::clone(&self.source)),
            span,
            label: None,
            related: None,
            help: None,
        }
    }
}

fn syntax(source: Arc<Source>, error: &serde_saphyr::Error) -> Problems {
    let span = error.location().map(|location| tree::span_of(&location)).unwrap_or_default();
    let message = tree::message(error);
    let end = source.text.len();
    let start = span.start.min(end);
    let span = Span { start, length: span.length.min(end - start) };
    let mut problems = Problems::none();
    problems.add(Problem {
        severity: Severity::Error,
        message,
        path: String::new(),
        source: Some(source),
        span,
        label: None,
        related: None,
        help: None,
    });
    problems
}

/// The content of a document as its type, and unknown fields, which are errors but hinder no further checks.
///
/// # Errors
/// Every deviation from the schema of the type, each with its place, when there are others than unknown fields.
pub fn decode<T: DeserializeOwned + JsonSchema>(document: &Document) -> Result<(T, Problems), Problems> {
    let deviations = structure::check(document, &structure::schema_of::<T>());
    if deviations.beyond_unknown() {
        return Err(deviations.problems.sorted());
    }
    let mut root = document.root.clone();
    deviations.unknown.iter().for_each(|path| root.remove(path));
    // The schema is generated from the type, so an error is out of the ordinary here; it is reported all the same.
    match serde_json::from_value(root.to_json()) {
        Ok(value) => Ok((value, deviations.problems)),
        Err(error) => {
            let mut problems = deviations.problems;
            problems.add(document.problem(Severity::Error, &Path::root(), error.to_string()));
            Err(problems)
        }
    }
}
