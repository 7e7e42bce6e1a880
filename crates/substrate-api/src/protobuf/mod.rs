//! Reads objects of builtin kinds in Kubernetes' protobuf encoding, which clients written in Go send by default.
//! Only reads: answers are JSON, which those clients accept as well. Definitions come from a table, `messages.txt`.

mod decode;
mod table;
mod wire;

use serde_json::Value;

use wire::Reader;

/// The media type of such bodies.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtobufError {
    /// The body does not start with the four bytes that mark the encoding.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// The bytes end early or contradict themselves.
    #[error("malformed protobuf message")]
    Malformed,
    /// Messages are nested deeper than any object is.
    #[error("protobuf message is nested too deeply")]
    TooDeep,
    /// The table has no definition of the kind.
    #[error("no protobuf definition of {kind} in {api_version:?}")]
    Unknown {
        /// `apiVersion` of the object.
        api_version: String,
        /// Kind of the object.
        kind: String,
    },
}

/// Reads one object; it comes with `apiVersion` and `kind`.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut reader = Reader::new(envelope);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => (api_version, kind) = type_meta(value.bytes()?)?,
            2 => raw = value.bytes()?,
            _ => {}
        }
    }
    let message = table::message_of(&api_version, &kind)
        .ok_or_else(|| ProtobufError::Unknown { api_version: api_version.clone(), kind: kind.clone() })?;
    let mut object = serde_json::Map::new();
    object.insert("apiVersion".to_owned(), Value::from(api_version));
    object.insert("kind".to_owned(), Value::from(kind));
    decode::message(message, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn type_meta(bytes: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => api_version = value.text()?.to_owned(),
            2 => kind = value.text()?.to_owned(),
            _ => {}
        }
    }
    Ok((api_version, kind))
}

#[cfg(test)]
mod tests;
