//! What the original wrote for Istio, as slides show it: put right where it can be, and left out where the hub does it otherwise.

use serde_json::Value as Json;

use super::Conversion;
use super::edit::{get_mut, items_of, mapping, put, take};
use crate::diagnostic::tree::{Key, Node, Path};
use crate::diagnostic::{Severity, tree};

impl Conversion<'_> {
    /// An object of Istio, put right; `None` for one that the hub needs no more.
    pub(super) fn istio(&mut self, mut root: Node, kind: &str) -> Option<Json> {
        self.selector_outside(&mut root, kind);
        if kind == "ServiceEntry" {
            self.fields_in_endpoints(&mut root);
        }
        if kind == "EnvoyFilter" {
            let message = "EnvoyFilter has no counterpart, and is left out";
            let help =
                "the hub lets gateways pass federated hosts through by a ServiceEntry in the cluster of the service";
            self.warn(&root, &Path::root().key("kind"), message).help(help);
            return None;
        }
        let object = root.to_json();
        let document = super::located(self.name, self.text, root);
        for error in mesh_types::validate(&object).err().unwrap_or_default() {
            let message = format!("{}: {}", error.path, error.message);
            self.problems.add(document.problem(Severity::Error, &Path::of_field(&error.path), message));
        }
        Some(object)
    }

    fn selector_outside(&mut self, root: &mut Node, kind: &str) {
        let before = root.clone();
        let Some((key, selector)) = take(root, "workloadSelector") else { return };
        let path = Path::root().key("workloadSelector");
        let message = "`workloadSelector` stands outside of spec, where it had no effect";
        let problem = self.warn(&before, &path, message);
        if kind != "EnvoyFilter" {
            problem.help("it is moved to spec.workloadSelector");
        }
        let left = put(mapping(root, "spec"), key, selector);
        self.left_out(left);
    }

    /// `hosts` and `location` say what the entry is, not where an endpoint is.
    fn fields_in_endpoints(&mut self, root: &mut Node) {
        let before = root.clone();
        let Some(spec) = get_mut(root, "spec") else { return };
        let mut moved: Vec<(usize, Key, tree::Node)> = Vec::new();
        for (index, endpoint) in items_of(spec, "endpoints").iter_mut().enumerate() {
            for field in ["hosts", "location"] {
                moved.extend(take(endpoint, field).map(|(key, value)| (index, key, value)));
            }
        }
        for (index, key, value) in moved {
            let path = Path::root().key("spec").key("endpoints").index(index).key(&key.text);
            let message = format!("`{}` stands under an endpoint, where it is no field", key.text);
            let help = format!("it is moved to spec.{}", key.text);
            self.warn(&before, &path, message).help(help);
            if let Some(spec) = get_mut(root, "spec") {
                let left = put(spec, key, value);
                self.left_out(left);
            }
        }
    }
}
