//! The parsed form of a structural schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

/// The JSON type a schema node demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
}

impl ValueType {
    /// Reads the `type` keyword.
    pub fn parse(text: &str) -> Option<ValueType> {
        Some(match text {
            "object" => ValueType::Object,
            "array" => ValueType::Array,
            "string" => ValueType::String,
            "integer" => ValueType::Integer,
            "number" => ValueType::Number,
            "boolean" => ValueType::Boolean,
            _ => return None,
        })
    }

    /// The `type` keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Object => "object",
            ValueType::Array => "array",
            ValueType::String => "string",
            ValueType::Integer => "integer",
            ValueType::Number => "number",
            ValueType::Boolean => "boolean",
        }
    }
}

/// `x-kubernetes-list-type` and its keys: who owns what in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListType {
    /// One owner for the whole list; replaced as a whole.
    #[default]
    Atomic,
    /// Scalars, each of them owned on its own.
    Set,
    /// Objects told apart by these fields.
    Map(Vec<String>),
}

/// `x-kubernetes-map-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MapType {
    /// Each entry has its own owner.
    #[default]
    Granular,
    /// One owner for the whole object.
    Atomic,
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged by key (objects) or as sets (scalars).
    pub merge: bool,
    /// Objects honour `$retainKeys`.
    pub retain_keys: bool,
    /// Objects are replaced instead of merged.
    pub replace: bool,
    /// The field that identifies an item of a merged list.
    pub merge_key: Option<String>,
}

/// One node of a structural schema.
#[derive(Debug, Clone, Default)]
pub struct Structural {
    /// The demanded type; `None` for int-or-string and for nodes that accept anything.
    pub value_type: Option<ValueType>,
    /// Named fields.
    pub properties: BTreeMap<String, Arc<Structural>>,
    /// Schema of every other field (`additionalProperties`).
    pub additional: Option<Arc<Structural>>,
    /// Schema of list items.
    pub items: Option<Arc<Structural>>,
    /// Default value.
    pub default: Option<Value>,
    /// `nullable`.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded_resource: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// True for built-in kinds, whose decoder drops nulls and unknown fields.
    pub builtin: bool,
    /// How server-side apply sees a list.
    pub list_type: ListType,
    /// How server-side apply sees an object.
    pub map_type: MapType,
    /// How strategic merge patch sees the value.
    pub patch: PatchStrategy,
    pub(super) rules: Option<Box<Rules>>,
}

/// Value validations of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) required: Vec<String>,
    pub(super) allowed: Vec<Value>,
    pub(super) format: Option<String>,
    pub(super) pattern: Option<Regex>,
    pub(super) minimum: Option<Value>,
    pub(super) maximum: Option<Value>,
    pub(super) exclusive_minimum: bool,
    pub(super) exclusive_maximum: bool,
    pub(super) multiple_of: Option<Value>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) all_of: Vec<Structural>,
    pub(super) any_of: Vec<Structural>,
    pub(super) one_of: Vec<Structural>,
    pub(super) not: Option<Box<Structural>>,
}

impl Structural {
    /// The schema of a field of an object, whether named or by `additionalProperties`.
    pub fn field(&self, name: &str) -> Option<&Structural> {
        self.properties.get(name).or(self.additional.as_ref()).map(Arc::as_ref)
    }

    /// A node that accepts and keeps anything.
    pub(super) fn anything() -> Structural {
        Structural { preserve_unknown: true, nullable: true, ..Structural::default() }
    }
}
