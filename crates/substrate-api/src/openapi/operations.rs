//! The paths of a v3 document: which verbs each resource has, with which parameters and bodies.

use serde_json::{Map, Value, json};

use super::schemas::{reference, reference_to};
use super::{ResourceInfo, SubresourceInfo};

const PATCH_TYPES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Adds the paths of one resource and its subresources.
pub(super) fn add_paths(resource: &ResourceInfo, paths: &mut Map<String, Value>) {
    let root = resource.root();
    let collection = match resource.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", resource.plural),
        false => format!("{root}/{}", resource.plural),
    };
    let item = format!("{collection}/{{name}}");
    let own = Kind { group: &resource.group, version: &resource.version, kind: &resource.kind, resource };
    let served: Vec<&str> = resource.verbs.iter().map(String::as_str).collect();
    insert(paths, &collection, own.path_item(&served, &["list", "create", "deletecollection"], &collection));
    insert(paths, &item, own.path_item(&served, &["get", "update", "patch", "delete"], &item));
    if resource.namespaced {
        let everywhere = format!("{root}/{}", resource.plural);
        insert(paths, &everywhere, own.path_item(&served, &["list"], &everywhere));
    }
    for SubresourceInfo { name, group, version, kind, verbs } in &resource.subresources {
        let path = format!("{item}/{name}");
        let served: Vec<&str> = verbs.iter().map(String::as_str).collect();
        let kind = Kind { group, version, kind, resource };
        insert(paths, &path, kind.path_item(&served, &["get", "create", "update", "patch", "delete"], &path));
    }
}

fn insert(paths: &mut Map<String, Value>, path: &str, item: Option<Value>) {
    if let Some(item) = item {
        paths.insert(path.to_owned(), item);
    }
}

/// The kind that travels in the bodies of a path.
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    resource: &'a ResourceInfo,
}

impl Kind<'_> {
    /// The operations of one path; `None` if none of `verbs` is served.
    fn path_item(&self, served: &[&str], verbs: &[&str], path: &str) -> Option<Value> {
        let mut item = Map::new();
        for verb in verbs.iter().filter(|verb| served.contains(*verb)) {
            item.insert(method(verb).to_owned(), self.operation(verb, path));
        }
        if item.is_empty() {
            return None;
        }
        let mut parameters = Vec::new();
        for (name, what) in [
            ("name", "name of the object"),
            ("namespace", "object name and auth scope, such as for teams and projects"),
        ] {
            if path.contains(&format!("{{{name}}}")) {
                parameters.push(json!({"name": name, "in": "path", "description": what, "required": true, "schema": {"type": "string", "uniqueItems": true}}));
            }
        }
        parameters.push(query("pretty", "string", "If 'true', then the output is pretty printed."));
        item.insert("parameters".to_owned(), Value::Array(parameters));
        Some(Value::Object(item))
    }

    fn operation(&self, verb: &str, path: &str) -> Value {
        let Kind { group, version, kind, resource } = self;
        let own = reference_to(group, version, kind, resource);
        let answer = match verb {
            "list" => reference_to(group, version, &resource.list_kind(), resource),
            "delete" | "deletecollection" => reference("io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
            _ => own.clone(),
        };
        let mut operation = json!({
            "description": format!("{verb} the specified {kind}"),
            "operationId": operation_id(verb, path),
            "parameters": parameters(verb),
            "responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
                "401": {"description": "Unauthorized"},
            },
            "x-kubernetes-action": action(verb),
            "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
        });
        match verb {
            "create" | "update" => {
                operation["requestBody"] = json!({"content": {"*/*": {"schema": own}}, "required": true});
            }
            "patch" => operation["requestBody"] = self.patch_body(),
            "delete" | "deletecollection" => {
                let options = reference("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
                operation["requestBody"] = json!({"content": {"*/*": {"schema": options}}});
            }
            _ => {}
        }
        operation
    }

    /// Custom resources have no merge keys, so no strategic merge patch; kubectl reads that from here.
    fn patch_body(&self) -> Value {
        let strategic = self.resource.custom_schema.is_none().then_some(STRATEGIC);
        let schema = json!({"schema": reference("io.k8s.apimachinery.pkg.apis.meta.v1.Patch")});
        let content: Map<String, Value> =
            PATCH_TYPES.iter().copied().chain(strategic).map(|kind| (kind.to_owned(), schema.clone())).collect();
        json!({"content": content, "required": true})
    }
}

fn method(verb: &str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        "patch" => "patch",
        "delete" | "deletecollection" => "delete",
        _ => "get",
    }
}

fn action(verb: &str) -> &str {
    match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    }
}

/// A name that is unique within the document: the verb and the words of the path.
fn operation_id(verb: &str, path: &str) -> String {
    let mut id = verb.to_owned();
    for segment in path.split(['/', '.', '-']).filter(|segment| !segment.is_empty()) {
        let word = segment.trim_matches(['{', '}']);
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    id
}

fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": {"type": kind, "uniqueItems": true}})
}

fn parameters(verb: &str) -> Vec<Value> {
    let dry_run = || {
        query(
            "dryRun",
            "string",
            "When present, indicates that modifications should not be persisted; 'All' is the only value.",
        )
    };
    let manager = || query("fieldManager", "string", "The name associated with the actor that makes these changes.");
    let validation = || {
        query(
            "fieldValidation",
            "string",
            "What to do about unknown or duplicate fields: 'Ignore', 'Warn' or 'Strict'.",
        )
    };
    let selection = || {
        vec![
            query("allowWatchBookmarks", "boolean", "Requests events of type BOOKMARK."),
            query("continue", "string", "Token of the next chunk of a list."),
            query("fieldSelector", "string", "Restricts the objects by their fields."),
            query("labelSelector", "string", "Restricts the objects by their labels."),
            query("limit", "integer", "Largest number of objects in one answer."),
            query("resourceVersion", "string", "Constrains which resource versions the answer may come from."),
            query("resourceVersionMatch", "string", "How resourceVersion is applied to lists."),
            query("sendInitialEvents", "boolean", "Begins a watch with the present objects."),
            query("timeoutSeconds", "integer", "How long a list or watch may take."),
        ]
    };
    let deletion = || {
        vec![
            query("gracePeriodSeconds", "integer", "Seconds before the object is deleted."),
            query("propagationPolicy", "string", "'Orphan', 'Background' or 'Foreground'."),
        ]
    };
    match verb {
        "create" | "update" => vec![dry_run(), manager(), validation()],
        "patch" => {
            let force = query("force", "boolean", "Takes over fields that other managers own; only for apply.");
            vec![dry_run(), manager(), validation(), force]
        }
        "delete" => [vec![dry_run()], deletion()].concat(),
        "deletecollection" => [vec![dry_run()], deletion(), selection()].concat(),
        "list" => [selection(), vec![query("watch", "boolean", "Streams changes.")]].concat(),
        _ => Vec::new(),
    }
}
