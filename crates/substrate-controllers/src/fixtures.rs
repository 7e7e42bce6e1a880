//! What the tests of the pure functions share. Objects are written as JSON, because that is how people read them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The instant at which all fixtures are judged.
pub(crate) fn now() -> Timestamp {
    "2030-01-01T00:10:00Z".parse().unwrap()
}

/// An object from its JSON form.
pub(crate) fn from_json<K: DeserializeOwned>(value: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value).unwrap())
}
