//! YAML as values that know where they stand, and paths into them.
//!
//! Reading into a tree first, and into types later, is what lets one run report every problem of a file: a
//! deserialiser stops at the first.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Bytes of the source, start and length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Number of bytes.
    pub length: usize,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands; for values that came through an alias, where the alias stands.
    pub span: Span,
}

/// A YAML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key as text.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A way from the root of a document to a value in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

/// One step of a [`Path`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl Path {
    /// The document itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The way to a field as validations name it: `spec.meshes[0].name`.
    #[must_use]
    pub fn of_field(text: &str) -> Self {
        let mut path = Self::root();
        for part in text.split('.') {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            path = path.key(key);
            for index in indices.split(['[', ']']).filter_map(|index| index.parse().ok()) {
                path = path.index(index);
            }
        }
        path
    }

    /// Whether it leads to the document itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key below this.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Segment::Key(key.into()))
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The way that leads on from here as `other` does from the root.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self([self.0.as_slice(), other.0.as_slice()].concat())
    }

    /// Whether it leads to the value at `other` or into it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The elements of lists that the value is in or is itself, the innermost first.
    #[must_use]
    pub fn list_items(&self) -> Vec<Self> {
        let ends = (1..=self.0.len()).rev().filter(|end| matches!(self.0[*end - 1], Segment::Index(_)));
        ends.map(|end| Self(self.0[..end].to_vec())).collect()
    }

    /// The value that this one is in, and the key or index in it.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &Segment)> {
        let (last, rest) = self.0.split_last()?;
        Some((Self(rest.to_vec()), last))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => write!(formatter, "{key}")?,
                Segment::Key(key) => write!(formatter, ".{key}")?,
                Segment::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    /// The value at a path, or the nearest one above it that exists.
    #[must_use]
    pub fn nearest(&self, path: &Path) -> &Self {
        let mut node = self;
        for segment in &path.0 {
            match node.child(segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The value of a key, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.child(&Segment::Key(key.to_owned()))
    }

    /// The place of the key that leads to a path, or of the nearest value above it.
    #[must_use]
    pub fn key_span(&self, path: &Path) -> Span {
        let Some((parent, Segment::Key(key))) = path.split_last() else { return self.nearest(path).span };
        let parent = self.nearest(&parent);
        match &parent.value {
            Value::Map(entries) => {
                entries.iter().find(|(known, _)| known.text == *key).map_or(parent.span, |(key, _)| key.span)
            }
            _ => parent.span,
        }
    }

    /// Removes the entry of a mapping that a path leads to; does nothing when there is none.
    pub fn remove(&mut self, path: &Path) {
        let Some((parent, last)) = path.split_last() else { return };
        let Some(node) = self.find_mut(&parent) else { return };
        if let (Value::Map(entries), Segment::Key(key)) = (&mut node.value, last) {
            entries.retain(|(known, _)| known.text != *key);
        }
    }

    /// The value at a path, to be changed.
    pub fn find_mut(&mut self, path: &Path) -> Option<&mut Self> {
        let mut node = self;
        for segment in &path.0 {
            node = match (&mut node.value, segment) {
                (Value::Map(entries), Segment::Key(key)) => {
                    entries.iter_mut().find(|(known, _)| known.text == *key).map(|(_, node)| node)?
                }
                (Value::List(items), Segment::Index(index)) => items.get_mut(*index)?,
                _ => return None,
            };
        }
        Some(node)
    }

    fn child(&self, segment: &Segment) -> Option<&Self> {
        match (&self.value, segment) {
            (Value::Map(entries), Segment::Key(key)) => {
                entries.iter().find(|(known, _)| known.text == *key).map(|(_, node)| node)
            }
            (Value::List(items), Segment::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// The value without places.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => integer_to_json(*value),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.clone(), node.to_json()));
                serde_json::Value::Object(entries.collect())
            }
        }
    }
}

fn integer_to_json(value: i128) -> serde_json::Value {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => value.into(),
        (_, Ok(value)) => value.into(),
        _ => (value as f64).into(),
    }
}

/// Reads one YAML document.
///
/// # Errors
/// The parser's first error: syntax, a duplicate key, an alias without anchor, or more than one document.
pub fn parse(text: &str) -> Result<Node, serde_saphyr::Error> {
    // Only `true` and `false` are booleans: a network may be called `n`, a tag `on`.
    let options = serde_saphyr::options! { legacy_octal_numbers: true, strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options).map(node)
}

/// Reads a stream of YAML documents separated by `---`; documents that consist of comments only are left out.
/// Booleans are those of YAML 1.1, as for kubectl.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: &str) -> Result<Vec<Node>, serde_saphyr::Error> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    let documents = serde_saphyr::from_multiple_with_options::<Spanned<Value>>(text, options)?;
    Ok(documents.into_iter().map(node).collect())
}

fn node(spanned: Spanned<Value>) -> Node {
    Node { span: span(spanned.referenced), value: spanned.value }
}

fn span(location: serde_saphyr::Location) -> Span {
    span_of(&location)
}

/// The bytes that the parser points at.
pub(crate) fn span_of(location: &serde_saphyr::Location) -> Span {
    let bytes = location.span();
    let start = bytes.byte_offset().unwrap_or_else(|| bytes.offset());
    let length = bytes.byte_len().unwrap_or_else(|| bytes.len());
    Span { start: usize::try_from(start).unwrap_or(0), length: usize::try_from(length).unwrap_or(0) }
}

/// What the parser says, without the place, which is shown by other means.
pub(crate) fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    match text.split_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Value>>()? {
            items.push(node(item));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push((Key { span: span(key.referenced), text: key.value }, node(value)));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(text: &str, span: Span) -> &str {
        &text[span.start..span.start + span.length]
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "# Grüße\nname: zwölf\nclusters:\n- name: cluster1\n  mode: 0644\n  ratio: 1.5\n";
        let root = parse(text).expect("YAML");
        let path = Path::root().key("clusters").index(0).key("mode");
        assert_eq!(path.to_string(), "clusters[0].mode");
        let mode = root.nearest(&path);
        assert_eq!(mode.value, Value::Integer(0o644));
        assert_eq!(slice(text, mode.span), "0644");
        assert_eq!(slice(text, root.key_span(&path)), "mode");
        assert_eq!(slice(text, root.get("name").expect("a name").span), "zwölf");
        let missing = root.nearest(&path.key("deeper"));
        assert_eq!(missing, mode);
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        let root = parse("a: &a {x: 1}\nb: *a\nc:\n  <<: *a\n  y: 2\n").expect("YAML");
        assert_eq!(root.to_json(), serde_json::json!({"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}));
    }

    #[test]
    fn broken_yaml_has_a_place() {
        for text in ["a: [1, 2\nb: 3", "a: 1\na: 2", "a: *nowhere", "a: 1\n---\nb: 2"] {
            let error = parse(text).expect_err(text);
            assert!(error.location().is_some(), "{text}: {error}");
        }
    }
}
