//! From the resources of Gloo Mesh (and of Service Mesh Hub, its name before) to those of our management plane. Pure: texts in,
//! texts and problems out.
//!
//! A document is read into a tree that knows its places, and the tree is changed: fields are moved and renamed, each with its
//! place. So whatever is wrong with the result is told at the place in the file that it comes from. What has no counterpart is
//! found by our own schemas, and left out with a warning; nothing disappears silently.

mod edit;
mod istio;
mod kinds;
mod traffic;

use mesh_types::hub::{self, Kind};
use serde_json::Value as Json;

use crate::diagnostic::problem::Source;
use crate::diagnostic::tree::{self, Key, Node, Path, Value};
use crate::diagnostic::{Document, Problem, Problems, Severity, suggest};
use edit::{entries, get_text, items, take};

/// Namespaces that the original was installed into. What is in one of them belongs into that of the hub.
const INSTALLED_IN: [&str; 2] = ["gloo-mesh", "service-mesh-hub"];

/// What came of a file.
#[derive(Debug, Default)]
pub struct Migrated {
    /// The resources.
    pub objects: Vec<Json>,
    /// What was moved, left out, or is wrong, each with its place.
    pub problems: Problems,
}

/// Converts a file with any number of documents; `namespace` is that of the hub.
#[must_use]
pub fn gloo_mesh(name: &str, text: &str, namespace: &str) -> Migrated {
    let mut migrated = Migrated::default();
    let documents = match tree::parse_all(text) {
        Ok(documents) => documents,
        Err(error) => {
            // A file of several documents has the same place of the error, told by the reader of one.
            migrated.problems = Document::parse(name, text).err().unwrap_or_default();
            if migrated.problems.is_empty() {
                let document = located(name, text, Node { value: Value::Null, span: tree::Span::default() });
                migrated.problems.add(document.problem(Severity::Error, &Path::root(), tree::message(&error)));
            }
            return migrated;
        }
    };
    for root in documents.into_iter().filter(|root| root.value != Value::Null) {
        let mut conversion = Conversion { name, text, namespace, problems: Problems::none() };
        migrated.objects.extend(conversion.object(root));
        migrated.problems.extend(conversion.problems);
    }
    migrated.problems = migrated.problems.sorted();
    migrated
}

fn located(name: &str, text: &str, root: Node) -> Document {
    Document::assembled(vec![Source { name: name.to_owned(), text: text.to_owned() }], root)
}

/// The conversion of one document.
pub(crate) struct Conversion<'a> {
    name: &'a str,
    text: &'a str,
    namespace: &'a str,
    problems: Problems,
}

impl Conversion<'_> {
    /// The resource that a document becomes; `None` where it has no counterpart.
    fn object(&mut self, mut root: Node) -> Option<Json> {
        let (api_version, kind) = (get_text(&root, "apiVersion"), get_text(&root, "kind"));
        let group = api_version.split('/').next().unwrap_or_default().to_owned();
        if group.ends_with("istio.io") {
            return self.istio(root, &kind);
        }
        let ours = kinds::counterpart(&group, &kind);
        let Some(ours) = ours else {
            let (message, help) = kinds::why_not(&group, &kind);
            self.warn(&root, &Path::root().key("kind"), message).help(help);
            return None;
        };
        self.namespaces(&mut root);
        match ours {
            Kind::TrafficPolicy => self.traffic_policy(&mut root),
            Kind::AccessPolicy => self.access_policy(&mut root),
            Kind::VirtualMesh => self.virtual_mesh(&mut root),
            Kind::VirtualDestination if kind == "FailoverService" => self.failover_service(&mut root),
            Kind::VirtualDestination => self.virtual_destination(&mut root),
            _ => {}
        }
        edit::set_text(&mut root, "apiVersion", &ours.api_version());
        edit::set_text(&mut root, "kind", ours.name());
        // What the original reported is not carried over.
        let _status = take(&mut root, "status");
        self.leave_out_unknown(ours, &mut root);
        self.judge(&root);
        Some(root.to_json())
    }

    /// Warns about a place in the file.
    fn warn(&mut self, root: &Node, path: &Path, message: impl Into<String>) -> &mut Problem {
        let document = located(self.name, self.text, root.clone());
        self.problems.add(document.problem_with_key(Severity::Warning, path, message))
    }

    /// Says of what had no place that it is left out.
    fn left_out(&mut self, left: impl IntoIterator<Item = (Key, Node)>) {
        for (key, value) in left {
            let (path, span) = (Path::root().key(&key.text), value.span);
            let message = format!("`{}` is left out: where it belongs there is another value, which stays", key.text);
            let root = Node { value: Value::Map(vec![(key, value)]), span };
            let document = located(self.name, self.text, root);
            self.problems
                .add(document.problem_with_key(Severity::Error, &path, message))
                .help("keep one of the two in the original");
        }
    }

    /// Puts what was in the namespace of the original into that of the hub.
    fn namespaces(&self, node: &mut Node) {
        for (key, value) in entries(node) {
            match &mut value.value {
                Value::Text(text) if key.text == "namespace" && INSTALLED_IN.contains(&text.as_str()) => {
                    *text = self.namespace.to_owned();
                }
                _ => self.namespaces(value),
            }
        }
        items(node).iter_mut().for_each(|item| self.namespaces(item));
    }

    /// Leaves out every field that our resource has not, with a warning for each.
    fn leave_out_unknown(&mut self, kind: Kind, root: &mut Node) {
        let Some(spec) = root.get("spec") else { return };
        let mut unknown = Vec::new();
        fields_beside(hub::crd::spec_schema(kind), spec, &Path::root().key("spec"), &mut unknown);
        for (path, known) in &unknown {
            let name = match path.split_last() {
                Some((_, tree::Segment::Key(key))) => key.clone(),
                _ => path.to_string(),
            };
            let why = kinds::no_counterpart(&name);
            let message = format!("`{name}` has no counterpart, and is left out{why}");
            let hint = suggest::help(&name, known.iter().map(String::as_str));
            self.warn(root, path, message).help(hint);
        }
        unknown.iter().for_each(|(path, _)| root.remove(path));
    }

    /// Says what our validation finds in the result.
    fn judge(&mut self, root: &Node) {
        let document = located(self.name, self.text, root.clone());
        for error in hub::validate(&root.to_json()).err().unwrap_or_default() {
            let message = format!("{}: {}", error.path, error.message);
            self.problems.add(document.problem(Severity::Error, &Path::of_field(&error.path), message));
        }
    }
}

/// Fields that a schema does not list, with those that it lists there.
fn fields_beside(schema: &Json, node: &Node, path: &Path, found: &mut Vec<(Path, Vec<String>)>) {
    match &node.value {
        Value::Map(entries) => {
            let properties = schema.get("properties").and_then(Json::as_object);
            let values = schema.get("additionalProperties");
            for (key, value) in entries {
                let at = path.key(&key.text);
                match properties.and_then(|known| known.get(&key.text)).or(values) {
                    Some(known) => fields_beside(known, value, &at, found),
                    None => {
                        let known = properties.into_iter().flatten().map(|(name, _)| name.clone()).collect();
                        found.push((at, known));
                    }
                }
            }
        }
        Value::List(list) => {
            let Some(known) = schema.get("items") else { return };
            for (index, item) in list.iter().enumerate() {
                fields_beside(known, item, &path.index(index), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
