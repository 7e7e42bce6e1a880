//! Structural schemas of `apiextensions.k8s.io/v1` and of the built-in kinds: parse, prune, default, validate.
//!
//! One model serves both. It also carries the merge keys and list types by which patches and server-side apply
//! walk an object. Rules in CEL (`x-kubernetes-validations`) are not evaluated.

mod builtin;
mod definitions;
mod error;
mod format;
mod merge_keys;
mod model;
mod parse;
mod shape;
mod structure;
mod unknown;
mod validate;

pub use builtin::{BuiltinKind, builtin, builtin_for, builtin_kinds, parse_gvk};
pub(crate) use definitions::{Document, document, machinery};
pub use error::{CauseType, FieldError, invalid_message};
pub use model::{ListType, MapType, PatchStrategy, Structural, ValueType};
pub use unknown::strict_message;
