//! The table of messages: which field number means which JSON field. Read once from `messages.txt`.

use std::collections::HashMap;
use std::sync::OnceLock;

static TEXT: &str = include_str!("messages.txt");

/// How the value of a field becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Double,
    /// The flag says whether zero is a value of its own.
    Integer(bool),
    Boolean(bool),
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    Duration,
    RawExtension,
    FieldsV1,
    ExtraValue,
    Message(&'static str),
}

/// How often a field stands, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
    /// The fields of the message belong to its parent.
    Inline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
}

/// Fields of one message by their numbers.
pub(super) type Message = HashMap<u32, Field>;

fn messages() -> &'static HashMap<&'static str, Message> {
    static MESSAGES: OnceLock<HashMap<&'static str, Message>> = OnceLock::new();
    MESSAGES.get_or_init(|| TEXT.lines().filter(|line| !line.starts_with('#')).filter_map(parse_line).collect())
}

fn parse_line(line: &'static str) -> Option<(&'static str, Message)> {
    let mut words = line.split(' ');
    let name = words.next()?;
    Some((name, words.filter_map(parse_field).collect()))
}

fn parse_field(word: &'static str) -> Option<(u32, Field)> {
    let mut parts = word.splitn(3, ':');
    let (name, number, code) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let (shape, code) = match code.as_bytes().first()? {
        b'*' => (Shape::List, &code[1..]),
        b'%' => (Shape::Map, &code[1..]),
        b'^' => (Shape::Inline, &code[1..]),
        _ => (Shape::One, code),
    };
    let kind = match code {
        "s" => Kind::Text,
        "b" => Kind::Bytes,
        "d" => Kind::Double,
        "i" => Kind::Integer(false),
        "j" => Kind::Integer(true),
        "t" => Kind::Boolean(false),
        "u" => Kind::Boolean(true),
        "Q" => Kind::Quantity,
        "I" => Kind::IntOrString,
        "T" => Kind::Time,
        "M" => Kind::MicroTime,
        "D" => Kind::Duration,
        "R" => Kind::RawExtension,
        "F" => Kind::FieldsV1,
        "E" => Kind::ExtraValue,
        message => Kind::Message(message),
    };
    Some((number, Field { name, kind, shape }))
}

/// The message of a name.
pub(super) fn message(name: &str) -> Option<&'static Message> {
    messages().get(name)
}

/// The message of a kind in an API version.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    if kind == "DeleteOptions" {
        return message("meta.v1.DeleteOptions");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let package = group.split('.').next().unwrap_or_default();
    message(&format!("{package}.{version}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_that_is_named_is_defined() {
        for (name, fields) in messages() {
            for field in fields.values() {
                if let Kind::Message(target) = field.kind {
                    assert!(message(target).is_some(), "{name}.{}: {target}", field.name);
                }
            }
        }
        assert!(message_of("rbac.authorization.k8s.io/v1", "ClusterRole").is_some());
        assert!(message_of("v1", "Pod").is_some());
        assert!(message_of("apps/v1", "Pod").is_none());
    }
}
