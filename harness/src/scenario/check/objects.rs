//! Kubernetes objects in scenarios: read from files or inline, and looked over for mistakes that show without a cluster.

use mesh_types::hub;
use serde_json::{Map, Value};

use super::context::Context;
use super::convergence::{is_configuration, reference};
use crate::diagnostic::problem::Source;
use crate::diagnostic::tree::{self, Path};
use crate::diagnostic::{Document, Severity};
use crate::scenario::file::{ApplyFile, DeleteFile};
use crate::scenario::plan::{Apply, Delete, ObjectRef};

impl Context<'_> {
    pub(super) fn apply(&mut self, path: &Path, file: &ApplyFile) -> Apply {
        let clusters = self.clusters(&path.key("clusters"), &file.clusters);
        let mut objects = Vec::new();
        // What is to be refused is wrong on purpose.
        let sound = file.refused.is_none();
        for (index, name) in file.files.iter().enumerate() {
            objects.extend(self.objects_of_file(&path.key("files").index(index), name, sound));
        }
        for (index, object) in file.objects.iter().enumerate() {
            objects.extend(self.inline_object(&path.key("objects").index(index), object, sound));
        }
        if file.files.is_empty() && file.objects.is_empty() {
            self.key_error(path, "nothing is applied").help("add `objects` or `files`");
        }
        if file.refused.as_ref().is_some_and(|words| words.trim().is_empty()) {
            self.error(&path.key("refused"), "every refusal says something; what is to be said?");
        }
        for (index, cluster) in clusters.iter().enumerate() {
            self.has_effect(&path.key("clusters").index(index), cluster, &objects);
        }
        // What is refused changes nothing.
        for object in objects.iter().filter(|_| file.refused.is_none()) {
            for cluster in &clusters {
                if let Ok(object) = reference(object) {
                    self.pending.applied(cluster, object);
                }
            }
        }
        Apply { clusters, objects, refused: file.refused.clone() }
    }

    /// A cluster that shares the control plane of another is not read for configuration.
    fn has_effect(&mut self, path: &Path, cluster: &str, objects: &[Value]) {
        let primary = self.topology.cluster(cluster).and_then(|cluster| cluster.control_plane.clone());
        let Some(primary) = primary else { return };
        let read = objects.iter().find_map(|object| reference(object).ok().filter(is_configuration));
        if let Some(object) = read {
            let message =
                format!("{} has no effect on {cluster}, whose control plane is that of {primary}", object.key());
            self.error(path, message).help(format!("apply it on {primary}: it holds for both"));
        }
    }

    pub(super) fn delete(&mut self, path: &Path, file: &DeleteFile) -> Delete {
        let clusters = self.clusters(&path.key("clusters"), &file.clusters);
        if file.objects.is_empty() {
            self.key_error(path, "nothing is deleted").help("add `objects`");
        }
        let objects: Vec<ObjectRef> = file
            .objects
            .iter()
            .map(|object| ObjectRef {
                api_version: object.api_version.clone(),
                kind: object.kind.clone(),
                namespace: object.namespace.clone(),
                name: object.name.clone(),
            })
            .collect();
        for object in &objects {
            for cluster in &clusters {
                self.pending.deleted(cluster, object.clone());
            }
        }
        Delete { clusters, objects }
    }

    fn objects_of_file(&mut self, path: &Path, name: &str, sound: bool) -> Vec<Value> {
        let file = match self.files.read(name) {
            Ok(file) => file,
            Err(cause) => {
                self.error(path, format!("cannot read `{name}`: {cause}"));
                return Vec::new();
            }
        };
        let documents = match tree::parse_all(&file.text) {
            Ok(documents) => documents,
            Err(error) => {
                let place = error.location().map(|place| format!(":{}:{}", place.line(), place.column()));
                let message = format!("{}{}: {}", file.name, place.unwrap_or_default(), tree::message(&error));
                self.error(path, message);
                return Vec::new();
            }
        };
        let objects: Vec<Value> =
            documents.iter().map(tree::Node::to_json).filter(|object| !object.is_null()).collect();
        for (index, object) in objects.iter().enumerate() {
            if let Err(missing) = reference(object) {
                self.error(path, format!("{}: object {} has no `{missing}`", file.name, index + 1));
            }
        }
        for root in documents.into_iter().filter(|_| sound) {
            let errors = hub::validate_in(&root.to_json(), hub::names::NAMESPACE).err().unwrap_or_default();
            let source = Source { name: file.name.clone(), text: file.text.clone() };
            let document = Document::assembled(vec![source], root);
            for error in errors {
                let place = Path::of_field(&error.path);
                let message = format!("{}: {}", error.path, error.message);
                self.problems.add(document.problem(Severity::Error, &place, message));
            }
        }
        if objects.is_empty() {
            self.error(path, format!("{} has no objects", file.name));
        }
        objects
    }

    fn inline_object(&mut self, path: &Path, object: &Map<String, Value>, sound: bool) -> Option<Value> {
        let object = Value::Object(object.clone());
        match reference(&object) {
            Ok(name) => {
                if name.kind == "VirtualService" {
                    self.route_weights(path, &object);
                }
                for error in
                    hub::validate_in(&object, hub::names::NAMESPACE).err().filter(|_| sound).unwrap_or_default()
                {
                    let place = path.join(&Path::of_field(&error.path));
                    self.error(&place, format!("{}: {}", error.path, error.message));
                }
                Some(object)
            }
            Err(missing) => {
                self.error(path, format!("this object has no `{missing}`"));
                None
            }
        }
    }

    /// Istio takes route weights as proportions, so a sum other than 100 is legal and nearly always a slip.
    fn route_weights(&mut self, path: &Path, object: &Value) {
        let routes = object.pointer("/spec/http").and_then(Value::as_array).into_iter().flatten();
        for (index, route) in routes.enumerate() {
            let targets = route.get("route").and_then(Value::as_array).cloned().unwrap_or_default();
            let weights: Vec<f64> = targets.iter().filter_map(|target| target.get("weight")?.as_f64()).collect();
            let path = path.key("spec").key("http").index(index).key("route");
            if let Some(negative) = weights.iter().position(|weight| *weight < 0.0) {
                let path = path.index(negative).key("weight");
                self.error(&path, format!("weight {} is below 0", weights[negative]));
                continue;
            }
            let sum: f64 = weights.iter().sum();
            if !weights.is_empty() && (sum - 100.0).abs() > 1e-9 {
                self.warn(&path, format!("the weights of this route sum to {sum}, not 100"))
                    .help("Istio takes them as proportions");
            }
        }
    }
}
