//! Changes of a tree that keep the places of what is moved.

use crate::diagnostic::tree::{Key, Node, Span, Value};

/// Takes a field out of a mapping.
pub(super) fn take(node: &mut Node, key: &str) -> Option<(Key, Node)> {
    let Value::Map(entries) = &mut node.value else { return None };
    let position = entries.iter().position(|(known, _)| known.text == key)?;
    Some(entries.remove(position))
}

/// The value of a field, to be changed.
pub(super) fn get_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|(known, _)| known.text == key).map(|(_, value)| value)
}

/// A field that had no place, since another value is there.
pub(super) type Left = Option<(Key, Node)>;

/// Adds a field. Where it is there with another value that one stays, and what had no place is given back.
#[must_use]
pub(super) fn put(node: &mut Node, key: Key, value: Node) -> Left {
    if let Some(there) = node.get(&key.text) {
        return (there.to_json() != value.to_json()).then_some((key, value));
    }
    match &mut node.value {
        Value::Map(entries) => {
            entries.push((key, value));
            None
        }
        _ => Some((key, value)),
    }
}

/// The mapping at a field; made where it is not there, at the place of the mapping around it.
pub(super) fn mapping<'a>(node: &'a mut Node, key: &str) -> &'a mut Node {
    let span = node.span;
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else { unreachable!("it was made a mapping") };
    let position = entries.iter().position(|(known, _)| known.text == key).unwrap_or_else(|| {
        entries.push((Key { text: key.to_owned(), span }, Node { value: Value::Map(Vec::new()), span }));
        entries.len() - 1
    });
    &mut entries[position].1
}

/// Gives a field another name; what had no place is given back.
#[must_use]
pub(super) fn rename(node: &mut Node, from: &str, to: &str) -> Left {
    let (key, value) = take(node, from)?;
    put(node, Key { text: to.to_owned(), ..key }, value)
}

/// Sets a text, at the place of the one before.
pub(super) fn set_text(node: &mut Node, key: &str, text: &str) {
    if let Some(value) = get_mut(node, key) {
        value.value = Value::Text(text.to_owned());
    }
}

/// The text of a field; empty where there is none.
pub(super) fn get_text(node: &Node, key: &str) -> String {
    match node.get(key).map(|value| &value.value) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

/// The fields of a mapping, to be changed; none of anything else.
pub(super) fn entries(node: &mut Node) -> &mut [(Key, Node)] {
    match &mut node.value {
        Value::Map(entries) => entries,
        _ => &mut [],
    }
}

/// The items of a list, to be changed; none of anything else.
pub(super) fn items(node: &mut Node) -> &mut [Node] {
    match &mut node.value {
        Value::List(items) => items,
        _ => &mut [],
    }
}

/// The items of the list at a field.
pub(super) fn items_of<'a>(node: &'a mut Node, key: &str) -> &'a mut [Node] {
    get_mut(node, key).map(items).unwrap_or_default()
}

/// An empty mapping at a place.
pub(super) fn empty(span: Span) -> Node {
    Node { value: Value::Map(Vec::new()), span }
}
