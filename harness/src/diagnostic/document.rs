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
    /// Further files that parts of it stand in, each with the offset from which on places mean it.
    others: Vec<(usize, Arc<Source>)>,
}

impl Document {
    /// Parses a text.
    ///
    /// # Errors
    /// The one problem that the YAML parser reports.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
        match tree::parse(text) {
            Ok(root) => Ok(Self { source, root, others: Vec::new() }),
            Err(error) => Err(syntax(source, &error)),
        }
    }

    /// A document that was not parsed: its parts stand in several files, as if these were one after the other.
    pub(crate) fn assembled(mut sources: Vec<Source>, root: Node) -> Self {
        let first = if sources.is_empty() { Source::default() } else { sources.remove(0) };
        let mut end = first.text.len();
        let mut others = Vec::new();
        for source in sources {
            let length = source.text.len();
            others.push((end, Arc::new(source)));
            end += length;
        }
        Self { source: Arc::new(first), root, others }
    }

    /// The file that a place is in, and where it is in there.
    fn placed(&self, span: Span) -> (&Arc<Source>, Span) {
        match self.others.iter().rfind(|(begin, _)| *begin <= span.start) {
            Some((begin, source)) => (source, Span { start: span.start - begin, ..span }),
            None => (&self.source, span),
        }
    }

    /// The place of the value at a path, or of the nearest one above it.
    #[must_use]
    pub fn location(&self, path: &Path) -> Location {
        let (source, span) = self.placed(self.span(path));
        source.location(span.start)
    }

    /// The place of the key that leads to a path.
    #[must_use]
    pub fn key_location(&self, path: &Path) -> Location {
        let (source, span) = self.placed(self.root.key_span(path));
        source.location(span.start)
    }

    /// The bytes of the value at a path, where that stands in the same file as another.
    #[must_use]
    pub fn span_beside(&self, path: &Path, other: &Path) -> Option<Span> {
        let (source, span) = self.placed(self.span(path));
        let (beside, _) = self.placed(self.span(other));
        Arc::ptr_eq(source, beside).then_some(span)
    }

    /// How many entries the list at a path has; 0 where there is no list.
    #[must_use]
    pub fn length(&self, path: &Path) -> usize {
        match &self.root.nearest(path).value {
            tree::Value::List(items) => items.len(),
            _ => 0,
        }
    }

    /// The text from the value at a path on.
    #[must_use]
    pub fn text_from(&self, path: &Path) -> &str {
        let (source, span) = self.placed(self.span(path));
        source.text.get(span.start..).unwrap_or("")
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
        let (source, placed) = self.placed(span);
        let rest = source.text.get(placed.start..).unwrap_or("");
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
        let (source, span) = self.placed(span);
        Problem {
            severity,
            message: message.into(),
            path: path.to_string(),
            source: Some(Arc::clone(source)),
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
