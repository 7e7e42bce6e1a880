//! From a message and its definition to JSON, with the exceptions that Kubernetes' own JSON encoding makes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::ProtobufError;
use super::table::{self, Field, Kind, Message, Shape};
use super::wire::{Reader, Wire};

/// No object of Kubernetes nests deeper.
const DEEPEST: usize = 64;

/// Reads the fields of `bytes` into `target`.
pub(super) fn message(
    definition: &Message,
    bytes: &[u8],
    target: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEEPEST {
        return Err(ProtobufError::TooDeep);
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        // Unknown numbers are fields of newer versions.
        if let Some(field) = definition.get(&number) {
            put(field, wire, target, depth)?;
        }
    }
    Ok(())
}

fn put(field: &Field, wire: Wire<'_>, target: &mut Map<String, Value>, depth: usize) -> Result<(), ProtobufError> {
    match field.shape {
        Shape::Inline => {
            if let Kind::Message(name) = field.kind {
                message(definition(name)?, wire.bytes()?, target, depth + 1)?;
            }
        }
        Shape::One => {
            if let Some(value) = value(field.kind, wire, depth)?.filter(|value| !is_unset(field.kind, value)) {
                target.insert(field.name.to_owned(), value);
            }
        }
        Shape::List => {
            let list = target.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
            if let (Some(list), Some(value)) = (list.as_array_mut(), value(field.kind, wire, depth)?) {
                list.push(value);
            }
        }
        Shape::Map => {
            let (key, value) = entry(field.kind, wire.bytes()?, depth)?;
            crate::object::child_map(target, field.name).insert(key, value);
        }
    }
    Ok(())
}

fn definition(name: &str) -> Result<&'static Message, ProtobufError> {
    // The table is complete; a test says so.
    table::message(name).ok_or(ProtobufError::Malformed)
}

/// Zero values of fields that have no way to be absent on the wire.
fn is_unset(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Text => value == "",
        Kind::Integer(false) => *value == 0,
        Kind::Boolean(false) => *value == false,
        _ => false,
    }
}

fn entry(kind: Kind, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut result) = (String::new(), None);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => key = wire.text()?.to_owned(),
            2 => result = value(kind, wire, depth)?,
            _ => {}
        }
    }
    Ok((key, result.unwrap_or_else(|| Value::from(""))))
}

/// The JSON of one value; `None` for a time that is not set.
fn value(kind: Kind, wire: Wire<'_>, depth: usize) -> Result<Option<Value>, ProtobufError> {
    Ok(Some(match kind {
        Kind::Text => Value::from(wire.text()?),
        Kind::Bytes => Value::from(STANDARD.encode(wire.bytes()?)),
        Kind::Double => match wire {
            Wire::Double(number) => Value::from(number),
            _ => return Err(ProtobufError::Malformed),
        },
        Kind::Integer(_) => Value::from(wire.integer()?),
        Kind::Boolean(_) => Value::from(wire.integer()? != 0),
        Kind::Quantity => Value::from(text_of(1, wire.bytes()?)?),
        Kind::IntOrString => int_or_string(wire.bytes()?)?,
        Kind::Time => return time(wire.bytes()?, 0),
        Kind::MicroTime => return time(wire.bytes()?, 6),
        Kind::Duration => duration(wire.bytes()?)?,
        Kind::RawExtension | Kind::FieldsV1 => raw(wire.bytes()?)?,
        Kind::ExtraValue => texts(wire.bytes()?)?,
        Kind::Message(name) => {
            let mut object = Map::new();
            message(definition(name)?, wire.bytes()?, &mut object, depth + 1)?;
            Value::Object(object)
        }
    }))
}

fn text_of(wanted: u32, bytes: &[u8]) -> Result<String, ProtobufError> {
    let mut text = String::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == wanted {
            text = wire.text()?.to_owned();
        }
    }
    Ok(text)
}

fn texts(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut list = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            list.push(Value::from(wire.text()?));
        }
    }
    Ok(Value::from(list))
}

/// Integers 1 and 2 of a small message, absent ones as zero.
fn two_integers(bytes: &[u8]) -> Result<(i64, i64), ProtobufError> {
    let (mut first, mut second) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => first = wire.integer()?,
            2 => second = wire.integer()?,
            _ => {}
        }
    }
    Ok((first, second))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut kind, mut integer, mut text) = (0, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => kind = wire.integer()?,
            2 => integer = wire.integer()?,
            3 => text = wire.text()?.to_owned(),
            _ => {}
        }
    }
    Ok(if kind == 1 { Value::from(text) } else { Value::from(integer) })
}

/// A time with so many digits after the second; the empty message is no time.
fn time(bytes: &[u8], digits: usize) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (seconds, nanos) = two_integers(bytes)?;
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Malformed)?;
    let at = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed)?;
    let format = if digits == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
    Ok(Some(Value::from(at.strftime(format).to_string())))
}

/// As Go writes a duration of whole seconds; finer ones do not occur in builtin kinds.
fn duration(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (nanos, _) = two_integers(bytes)?;
    Ok(Value::from(format!("{}s", nanos / 1_000_000_000)))
}

/// JSON that travels as bytes in field 1.
fn raw(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            return serde_json::from_slice(wire.bytes()?).map_err(|_| ProtobufError::Malformed);
        }
    }
    Ok(Value::Null)
}
