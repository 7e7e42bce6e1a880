//! From stored objects to the bytes of an answer: versions, lists, tables, metadata only, watch events.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::accept::View;
use crate::kinds;
use crate::registry::Resource;
use crate::store::Stored;
use crate::table::{self, IncludeObject};

/// Shows objects of one resource in one view.
pub(crate) struct Renderer {
    pub(crate) resource: Arc<Resource>,
    pub(crate) view: View,
    include: IncludeObject,
}

/// What stands in a list's metadata.
#[derive(Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: u64,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let Some(next) = &self.next {
            metadata["continue"] = json!(next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        metadata
    }
}

/// An object in the version that `resource` serves.
pub(crate) fn served<'a>(resource: &Resource, stored: &'a Value) -> Cow<'a, Value> {
    if !resource.converts() {
        return Cow::Borrowed(stored);
    }
    if resource.group == "events.k8s.io" {
        return Cow::Owned(kinds::event_from_core(stored.clone()));
    }
    let mut object = stored.clone();
    object["apiVersion"] = Value::from(resource.api_version());
    Cow::Owned(object)
}

/// An object in the version in which it is stored.
pub(crate) fn to_storage(resource: &Resource, mut object: Value) -> Value {
    if resource.group == "events.k8s.io" {
        return kinds::event_to_core(object);
    }
    object["apiVersion"] = Value::from(resource.storage_version.clone());
    object
}

impl Renderer {
    /// `include` is the query parameter `includeObject` of tables.
    pub(crate) fn new(resource: Arc<Resource>, view: View, include: Option<&str>) -> Renderer {
        let include = match include {
            Some("None") => IncludeObject::None,
            Some("Object") => IncludeObject::Object,
            _ => IncludeObject::Metadata,
        };
        Renderer { resource, view, include }
    }

    /// One object.
    pub(crate) fn object(&self, stored: &Stored) -> Bytes {
        match self.view {
            View::Object if !self.resource.converts() => stored.json(),
            View::Object => to_bytes(&served(&self.resource, &stored.value)),
            View::Metadata => to_bytes(&metadata_only(&stored.value, "PartialObjectMetadata")),
            View::Table => {
                let mut table = self.table(&[served(&self.resource, &stored.value).into_owned()]);
                table["metadata"] = json!({"resourceVersion": stored.revision.to_string()});
                to_bytes(&table)
            }
        }
    }

    /// A list.
    pub(crate) fn list(&self, items: &[Arc<Stored>], meta: &ListMeta) -> Bytes {
        let (kind, version) = match self.view {
            View::Table => {
                let objects: Vec<Value> =
                    items.iter().map(|item| served(&self.resource, &item.value).into_owned()).collect();
                let mut table = self.table(&objects);
                table["metadata"] = meta.to_value();
                return to_bytes(&table);
            }
            View::Object => (self.resource.list_kind.clone(), self.resource.api_version()),
            View::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
        };
        let texts: Vec<Bytes> = items.iter().map(|item| self.object(item)).collect();
        let mut out = BytesMut::with_capacity(128 + texts.iter().map(|text| text.len() + 1).sum::<usize>());
        let head = json!({"kind": kind, "apiVersion": version, "metadata": meta.to_value()}).to_string();
        out.put_slice(&head.as_bytes()[..head.len() - 1]);
        out.put_slice(b",\"items\":[");
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(text);
        }
        out.put_slice(b"]}");
        out.freeze()
    }

    /// One event of a watch, with its newline.
    pub(crate) fn event(&self, kind: &str, stored: &Stored) -> Bytes {
        frame(kind, &self.object(stored))
    }

    /// A bookmark; `initial_end` marks the end of the initial events.
    pub(crate) fn bookmark(&self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.view {
            View::Table => {
                let mut table = self.table(&[]);
                // kubectl reads the end of the initial events from the row's object.
                table["rows"] = json!([{"cells": [], "object": {
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}}]);
                table["metadata"] = json!({"resourceVersion": revision.to_string()});
                table
            }
            View::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            View::Object => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
        };
        frame("BOOKMARK", &to_bytes(&object))
    }

    fn table(&self, objects: &[Value]) -> Value {
        let columns =
            self.resource.custom.as_ref().map(|custom| table::PrinterColumn::from_definition(&custom.columns));
        let columns = columns.unwrap_or_default();
        table::render(&self.resource.group, &self.resource.plural, &columns, objects, self.include, Timestamp::now())
    }
}

fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// A watch event around an object's text.
pub(crate) fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + 40);
    out.put_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
    out.put_slice(object);
    out.put_slice(b"}\n");
    out.freeze()
}

fn metadata_only(object: &Value, kind: &str) -> Value {
    let mut map = Map::new();
    map.insert("kind".to_owned(), Value::from(kind));
    map.insert("apiVersion".to_owned(), Value::from("meta.k8s.io/v1"));
    map.insert("metadata".to_owned(), object["metadata"].clone());
    Value::Object(map)
}
