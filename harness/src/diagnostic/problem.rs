//! Problems and how they are shown: with the line and a caret for people, as JSON for programs.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, ReportHandler as _};
use serde::{Serialize, Serializer};

use super::location::Location;
use super::tree::Span;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used; it probably does not mean what it says.
    Warning,
}

/// A file as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its path as the user wrote it.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The place of a byte.
    #[must_use]
    pub fn location(&self, offset: usize) -> Location {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Location { file: self.name.clone(), line, column }
    }
}

/// One problem in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What is wrong, as a sentence without a full stop.
    pub message: String,
    /// Path in the document, such as `clusters[1].network`; empty for the document itself.
    pub path: String,
    /// The file; `None` when it could not be read at all.
    pub source: Option<Arc<Source>>,
    /// Where.
    pub span: Span,
    /// What to write under the caret.
    pub label: Option<String>,
    /// Another place that belongs to it, with a label.
    pub related: Option<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    /// Where it is; line and column 1 for a file that could not be read.
    #[must_use]
    pub fn location(&self) -> Location {
        self.source.as_ref().map(|source| source.location(self.span.start)).unwrap_or_default()
    }

    /// Adds what to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to write under the caret.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place that belongs to it.
    pub fn related(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.related = Some((span, label.into()));
        self
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'problem> {
            severity: Severity,
            message: &'problem str,
            #[serde(skip_serializing_if = "str::is_empty")]
            path: &'problem str,
            #[serde(flatten)]
            location: Location,
            #[serde(skip_serializing_if = "Option::is_none")]
            label: Option<&'problem str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            help: Option<&'problem str>,
        }
        let (label, help) = (self.label.as_deref(), self.help.as_deref());
        let form = Form {
            severity: self.severity,
            message: &self.message,
            path: &self.path,
            location: self.location(),
            label,
            help,
        };
        form.serialize(serializer)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Every problem found in one go; an error when at least one is [`Severity::Error`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Nothing wrong so far.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a problem and returns it, so that help can be added.
    pub fn add(&mut self, problem: Problem) -> &mut Problem {
        self.list.push(problem);
        self.list.last_mut().expect("invariant: just pushed")
    }

    /// Adds all of another list.
    pub fn extend(&mut self, other: Self) {
        self.list.extend(other.list);
    }

    /// The problems in the order of the file, each only once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.list.sort_by_key(|problem| problem.location());
        self.list.dedup();
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether something makes the file unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Whether nothing was found, not even a warning.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Errors and warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.list.iter().filter(|problem| problem.severity == Severity::Error).count();
        (errors, self.list.len() - errors)
    }

    /// All problems as text with source lines and carets; `colour` also chooses line art over plain ASCII.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(120).with_context_lines(1).without_cause_chain();
        self.list.iter().map(|problem| Rendered::text(problem, &handler)).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// A problem in the form that miette draws.
#[derive(Debug)]
struct Rendered<'problem> {
    problem: &'problem Problem,
    source: Option<NamedSource<String>>,
}

impl<'problem> Rendered<'problem> {
    fn text(problem: &'problem Problem, handler: &GraphicalReportHandler) -> String {
        let source = problem.source.as_ref().map(|source| NamedSource::new(&source.name, source.text.clone()));
        let rendered = Self { problem, source };
        Drawn { rendered: &rendered, handler }.to_string()
    }
}

struct Drawn<'parts> {
    rendered: &'parts Rendered<'parts>,
    handler: &'parts GraphicalReportHandler,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handler.debug(self.rendered, formatter)?;
        formatter.write_str("\n")
    }
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problem.message)
    }
}

impl std::error::Error for Rendered<'_> {}

impl Diagnostic for Rendered<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let Span { start, length } = self.problem.span;
        let primary = LabeledSpan::new_primary_with_span(self.problem.label.clone(), (start, length));
        let related = self
            .problem
            .related
            .as_ref()
            .map(|(span, label)| LabeledSpan::new(Some(label.clone()), span.start, span.length));
        Some(Box::new(std::iter::once(primary).chain(related)))
    }
}
