//! OpenAPI definitions of the built-in kinds, generated per group version on first use and kept.
//!
//! The generated schemas are enriched with merge keys and list types, and with the group-version-kind of each kind.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::builtin::{BuiltinKind, builtin_kinds};
use super::merge_keys;

/// Where references of a generated schema point to.
pub(crate) const REFERENCE_PREFIX: &str = "#/components/schemas/";

/// The definitions that the kinds of one group version need, by full name.
#[derive(Debug)]
pub(crate) struct Document {
    /// Schemas by full name, such as `io.k8s.api.core.v1.Pod`.
    pub(crate) definitions: Map<String, Value>,
}

/// The definitions of a group version, or `None` if it has no built-in kind.
pub(crate) fn document(group: &str, version: &str) -> Option<&'static Document> {
    type Cache = Mutex<HashMap<(&'static str, &'static str), &'static Document>>;
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let first = builtin_kinds().iter().find(|kind| kind.group == group && kind.version == version)?;
    let mut cache = CACHE.get_or_init(Cache::default).lock().unwrap_or_else(PoisonError::into_inner);
    let entry = cache.entry((first.group, first.version));
    // Leaked on purpose: at most one document per group version, alive as long as the process.
    Some(*entry.or_insert_with(|| Box::leak(Box::new(generate(group, version)))))
}

/// `DeleteOptions`, `Status`, `ListMeta` and what they refer to: types that belong to every document.
pub(crate) fn machinery() -> &'static Map<String, Value> {
    static MACHINERY: OnceLock<Map<String, Value>> = OnceLock::new();
    MACHINERY.get_or_init(|| {
        let mut generator = SchemaSettings::openapi3().into_generator();
        generator.subschema_for::<meta::DeleteOptions>();
        generator.subschema_for::<meta::ListMeta>();
        generator.subschema_for::<meta::Status>();
        generator.take_definitions(false)
    })
}

fn generate(group: &str, version: &str) -> Document {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let kinds: Vec<&BuiltinKind> =
        builtin_kinds().iter().filter(|kind| kind.group == group && kind.version == version).collect();
    let mut of_kind: HashMap<String, Value> = HashMap::new();
    for kind in &kinds {
        (kind.generate)(&mut generator);
        let gvk = json!([{"group": kind.group, "kind": kind.kind, "version": kind.version}]);
        of_kind.insert((kind.definition)().into_owned(), gvk);
    }
    let mut definitions = generator.take_definitions(false);
    for (name, definition) in &mut definitions {
        merge_keys::enrich(name, definition);
        if let Some(gvk) = of_kind.get(name) {
            definition["x-kubernetes-group-version-kind"] = gvk.clone();
        }
        relax_required(definition);
    }
    definitions.sort_keys();
    Document { definitions }
}

/// The generated types make `metadata` mandatory; Kubernetes' own schemas do not.
fn relax_required(definition: &mut Value) {
    let Some(object) = definition.as_object_mut() else { return };
    if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != "metadata");
        if required.is_empty() {
            object.shift_remove("required");
        }
    }
}
