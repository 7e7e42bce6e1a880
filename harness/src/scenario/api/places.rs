//! Where the parts of a scenario were written in Rust, and the document with these places that the checks read.

use std::panic::Location;

use serde_json::Value as Json;

use crate::diagnostic::Document;
use crate::diagnostic::problem::Source;
use crate::diagnostic::tree::{Key, Node, Path, Span, Value};
use crate::scenario::check::ReadFile;
use crate::scenario::file::ScenarioFile;

type Place = &'static Location<'static>;

/// Places of the parts of something, by their paths in it. What has none of its own stands where that stands which it is
/// a part of.
#[derive(Clone, Debug)]
pub(super) struct Places(Vec<(Path, Place)>);

impl Places {
    pub(super) fn of(whole: Place) -> Self {
        Self(vec![(Path::root(), whole)])
    }

    /// Adds those of a part.
    pub(super) fn put(&mut self, part: &Path, places: Self) {
        self.0.extend(places.0.into_iter().map(|(path, place)| (part.join(&path), place)));
    }

    /// The scenario as a document. Its source is read through `files`; where that cannot be had, messages still have their
    /// places.
    pub(super) fn document(&self, file: &ScenarioFile, files: &dyn ReadFile) -> Document {
        let mut names: Vec<&str> = Vec::new();
        for (_, place) in &self.0 {
            if !names.contains(&place.file()) {
                names.push(place.file());
            }
        }
        let (mut sources, mut spans, mut begin) = (Vec::new(), Vec::new(), 0);
        for name in names {
            let here: Vec<&(Path, Place)> = self.0.iter().filter(|(_, place)| place.file() == name).collect();
            let text = source(name, &here, files);
            let placed = |span: Span| Span { start: begin + span.start, ..span };
            spans.extend(here.iter().filter_map(|(path, place)| Some((path, placed(span(&text, place)?)))));
            begin += text.len();
            sources.push(Source { name: name.to_owned(), text });
        }
        let json = serde_json::to_value(file).expect("invariant: plain data serialises");
        Document::assembled(sources, node(json, &Path::root(), Span::default(), &spans))
    }
}

/// The text of a file in which every place is to be found: the file itself, else one of blank lines.
fn source(name: &str, places: &[&(Path, Place)], files: &dyn ReadFile) -> String {
    let read = files.read(name).ok().map(|file| file.text);
    read.filter(|text| places.iter().all(|(_, place)| span(text, place).is_some())).unwrap_or_else(|| {
        let width = |line: u32| {
            let here = places.iter().filter(|(_, place)| place.line() == line);
            here.map(|(_, place)| place.column() as usize).max().unwrap_or(0)
        };
        let last = places.iter().map(|(_, place)| place.line()).max().unwrap_or(0);
        (1..=last).map(|line| format!("{}\n", "…".repeat(width(line)))).collect()
    })
}

/// The word at a place.
fn span(text: &str, place: &Location<'_>) -> Option<Span> {
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines.by_ref().take((place.line() as usize).checked_sub(1)?).map(str::len).sum();
    let line = lines.next()?.trim_end_matches('\n');
    let (column, _) = line.char_indices().nth((place.column() as usize).checked_sub(1)?)?;
    let word = line[column..].find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
    let length = word.unwrap_or(line.len() - column).max(1);
    Some(Span { start: before + column, length })
}

fn node(json: Json, path: &Path, around: Span, spans: &[(&Path, Span)]) -> Node {
    let span = spans.iter().find(|(known, _)| *known == path).map_or(around, |(_, span)| *span);
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i128(), number.as_f64()) {
            (Some(value), _) => Value::Integer(value),
            (None, value) => Value::Float(value.unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => {
            let items = items.into_iter().enumerate();
            Value::List(items.map(|(index, item)| node(item, &path.index(index), span, spans)).collect())
        }
        Json::Object(fields) => {
            let entry = |(text, value): (String, Json)| {
                let value = node(value, &path.key(&text), span, spans);
                (Key { text, span }, value)
            };
            Value::Map(fields.into_iter().map(entry).collect())
        }
    };
    Node { value, span }
}
