//! Every field of the schemas has an effect on some proxy, or is answered with a warning that names it.
//!
//! The documents of `fields/documents.rs` have every field. One after the other is taken out, or changed where it must
//! not be missing, and some translation has to differ. What a field does is for other tests to say.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::{Kind, crd, fields, unsupported_fields};
use pilot::translate::{Proxy, Translation, translate};
use serde_json::{Map, Value};

use crate::fixture::{Fixture, settings};
use crate::translate::BOOKINFO;

mod documents;

/// Fields that say something to people only; Istio does not obey them either.
const DESCRIPTIONS: [(Kind, &str); 2] =
    [(Kind::Gateway, "spec.servers.name"), (Kind::Gateway, "spec.servers.port.name")];

/// What the proxies are told that documents of a kind are for.
fn translations(world: &Fixture, kind: Kind, documents: &[Value]) -> Vec<Translation> {
    let fixture = world.clone().with(documents);
    let state = fixture.state("cluster1");
    let sidecar = ("sidecar", "bookinfo", "productpage-v1");
    let ingress = ("router", "istio-system", "ingress-1");
    let proxies = match kind {
        Kind::Gateway => vec![ingress, ("router", "istio-system", "eastwest-1")],
        Kind::VirtualService => vec![sidecar, ingress],
        // Its fields make entries, which the tests of registration look at one by one.
        Kind::WorkloadGroup => Vec::new(),
        Kind::DestinationRule
        | Kind::ServiceEntry
        | Kind::WorkloadEntry
        | Kind::PeerAuthentication
        | Kind::AuthorizationPolicy => vec![sidecar],
    };
    let of = |(role, namespace, pod): (&str, &str, &str)| {
        let proxy = Proxy::from_node(&fixture.node(role, "cluster1", namespace, pod)).unwrap();
        translate(&settings("cluster1"), &state, &proxy)
    };
    proxies.into_iter().map(of).collect()
}

fn object_schema(schema: &Value) -> bool {
    schema.get("properties").is_some() || schema.get("additionalProperties").is_some_and(object_schema)
}

/// Paths of the schema that have a value and not only further fields.
fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        properties.iter().for_each(|(name, inner)| leaves(inner, &format!("{path}.{name}"), found));
    } else if let Some(inner) = schema.get("additionalProperties").filter(|inner| object_schema(inner)) {
        leaves(inner, &format!("{path}.*"), found);
    } else if let Some(inner) = schema.get("items").filter(|inner| object_schema(inner)) {
        leaves(inner, path, found);
    } else {
        found.insert(path.to_owned());
    }
}

/// Where a document has values, as JSON pointers with the paths of the schema.
fn occurrences(schema: &Value, value: &Value, pointer: &str, path: &str, found: &mut Vec<(String, String)>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(values) if schema.get("properties").is_some() => {
            for (name, value) in values {
                let inner = &schema["properties"][name];
                assert!(inner.is_object(), "{path}.{name} is not in the schema");
                occurrences(inner, value, &format!("{pointer}/{}", escaped(name)), &format!("{path}.{name}"), found);
            }
        }
        Value::Object(values) if object_schema(&schema["additionalProperties"]) => {
            for (name, value) in values {
                let pointer = format!("{pointer}/{}", escaped(name));
                occurrences(&schema["additionalProperties"], value, &pointer, &format!("{path}.*"), found);
            }
        }
        Value::Array(items) if object_schema(&schema["items"]) => {
            for (index, item) in items.iter().enumerate() {
                occurrences(&schema["items"], item, &format!("{pointer}/{index}"), path, found);
            }
        }
        _ => found.push((pointer.to_owned(), path.to_owned())),
    }
}

/// The document without a value, and with others in its place.
fn variants(document: &Value, pointer: &str) -> Vec<Value> {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut without = document.clone();
    without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(&name.replace("~1", "/").replace("~0", "~"));
    let replacements = match document.pointer(pointer).unwrap() {
        Value::String(text) => vec![format!("{text}x").into(), "TCP".into(), "remote.ip".into(), "10.9.7.7".into()],
        Value::Number(number) => vec![Value::from(number.as_u64().unwrap_or_default() + 1)],
        Value::Array(items) => {
            vec![items.iter().map(|item| Value::from(format!("{}x", item.as_str().unwrap()))).collect()]
        }
        Value::Object(values) => {
            let renamed = values.iter().map(|(name, value)| (format!("{name}x"), value.clone()));
            vec![Value::Object(renamed.collect::<Map<_, _>>())]
        }
        _ => Vec::new(),
    };
    let replaced = replacements.into_iter().map(|value| {
        let mut changed = document.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed
    });
    std::iter::once(without).chain(replaced).filter(|one| mesh_types::validate(one).is_ok()).collect()
}

/// By path of the schema: whether some proxy is told something else without the value.
fn effects(world: &Fixture, kind: Kind, documents: &[Value]) -> BTreeMap<String, bool> {
    let before = translations(world, kind, documents);
    let mut effects = BTreeMap::new();
    for (index, document) in documents.iter().enumerate().filter(|(_, document)| document["kind"] == kind.name()) {
        let mut found = Vec::new();
        occurrences(crd::spec_schema(kind), &document["spec"], "/spec", "spec", &mut found);
        for (pointer, path) in found {
            let effect = effects.entry(path).or_insert(false);
            *effect = *effect
                || variants(document, &pointer).into_iter().any(|variant| {
                    let mut documents = documents.to_vec();
                    documents[index] = variant;
                    translations(world, kind, &documents) != before
                });
        }
    }
    effects
}

#[test]
fn every_field_has_an_effect_or_a_warning() {
    let documents = documents::all();
    let world = Fixture::read(&[BOOKINFO, &documents::workloads()]);
    let mut complaints = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::WorkloadGroup) {
        let mut paths = BTreeSet::new();
        leaves(crd::spec_schema(kind), "spec", &mut paths);
        let effects = effects(&world, kind, &documents);
        for path in paths {
            let described = DESCRIPTIONS.contains(&(kind, path.as_str()));
            let stored = fields::is_only_stored(kind, &path);
            let complaint = match effects.get(&path) {
                None => "no document has it",
                Some(true) if stored => "it has an effect, and a warning says that it has none",
                Some(false) if !stored && !described => "it has no effect, and no warning says so",
                Some(_) => continue,
            };
            complaints.push(format!("{} {path}: {complaint}", kind.name()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The warnings of the documents name exactly the fields that are only stored.
#[test]
fn the_warnings_name_what_is_only_stored() {
    for document in documents::all() {
        let kind = Kind::from_name(document["kind"].as_str().unwrap()).unwrap();
        let mut found = Vec::new();
        occurrences(crd::spec_schema(kind), &document["spec"], "/spec", "spec", &mut found);
        let stored = found.into_iter().filter(|(_, path)| fields::is_only_stored(kind, path));
        let expected: BTreeSet<String> = stored
            .map(|(pointer, _)| {
                let segments = pointer.split('/').skip(1).map(|segment| match segment.parse::<usize>() {
                    Ok(index) => format!("[{index}]"),
                    Err(_) => format!(".{segment}"),
                });
                segments.collect::<String>().trim_start_matches('.').to_owned()
            })
            .collect();
        let warned: BTreeSet<String> = unsupported_fields(&document).into_iter().map(|field| field.path).collect();
        assert_eq!(warned, expected, "{}", document["metadata"]["name"]);
    }
}
