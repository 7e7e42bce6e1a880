//! Traffic policies, of v1 and v1alpha2, and as they were printed on slides.

use super::Conversion;
use super::edit::{get_mut, items_of, mapping, put, rename, take};
use super::kinds::{each_item, is_single};
use crate::diagnostic::tree::{Key, Node, Path, Value};

/// What v1alpha2 has directly below `spec`, and v1 below `spec.policy`.
const ACTIONS: [&str; 11] = [
    "corsPolicy",
    "csrf",
    "faultInjection",
    "headerManipulation",
    "mirror",
    "mtls",
    "outlierDetection",
    "rateLimit",
    "requestTimeout",
    "retries",
    "trafficShift",
];

impl Conversion<'_> {
    pub(super) fn traffic_policy(&mut self, root: &mut Node) {
        self.actions_in_selectors(root);
        let Some(spec) = get_mut(root, "spec") else { return };
        let mut left = Vec::new();
        for action in ACTIONS {
            if let Some((key, value)) = take(spec, action) {
                left.extend(put(mapping(spec, "policy"), key, value));
            }
        }
        each_item(spec, "sourceSelector", |selector| source(selector, &mut left));
        each_item(spec, "httpRequestMatchers", |one| matcher(one, &mut left));
        if let Some(shift) = get_mut(spec, "policy").and_then(|policy| get_mut(policy, "trafficShift")) {
            targets(shift, &mut left);
        }
        self.left_out(left);
    }

    /// An action inside an item of a selector, where the original ignored it.
    fn actions_in_selectors(&mut self, root: &mut Node) {
        for selector in ["destinationSelector", "sourceSelector"] {
            let before = root.clone();
            let Some(spec) = get_mut(root, "spec") else { return };
            let mut moved: Vec<(usize, Key, Node)> = Vec::new();
            for (index, item) in items_of(spec, selector).iter_mut().enumerate() {
                for action in ACTIONS {
                    moved.extend(take(item, action).map(|(key, value)| (index, key, value)));
                }
            }
            for (index, key, value) in moved {
                let path = Path::root().key("spec").key(selector).index(index).key(&key.text);
                let message = format!("`{}` stands inside an item of {selector}, where it had no effect", key.text);
                self.warn(&before, &path, message).help("it is moved to spec.policy");
                if let Some(spec) = get_mut(root, "spec") {
                    let left = put(mapping(spec, "policy"), key, value);
                    self.left_out(left);
                }
            }
        }
    }
}

/// v1alpha2 has the fields of the matcher directly in the selector.
fn source(selector: &mut Node, left: &mut Vec<(Key, Node)>) {
    for field in ["labels", "namespaces", "clusters"] {
        if let Some((key, value)) = take(selector, field) {
            left.extend(put(mapping(selector, "kubeWorkloadMatcher"), key, value));
        }
    }
}

/// v1.0 and v1alpha2 have the conditions on the path directly in the matcher, and the method in a mapping.
fn matcher(matcher: &mut Node, left: &mut Vec<(Key, Node)>) {
    for field in ["exact", "prefix", "regex"] {
        if let Some((key, value)) = take(matcher, field) {
            left.extend(put(mapping(matcher, "uri"), key, value));
        }
    }
    let inner = get_mut(matcher, "method").and_then(|method| take(method, "method"));
    if let (Some((_, name)), Some(method)) = (inner, get_mut(matcher, "method")) {
        *method = name;
    }
}

fn targets(shift: &mut Node, left: &mut Vec<(Key, Node)>) {
    let Some(list) = get_mut(shift, "destinations") else { return };
    let single = is_single(list);
    each_item(shift, "destinations", |target| {
        left.extend(rename(target, "failoverService", "virtualDestination"));
        // One target without a weight gets everything.
        if single && target.get("weight").is_none() {
            let span = target.span;
            left.extend(put(
                target,
                Key { text: "weight".to_owned(), span },
                Node { value: Value::Integer(100), span },
            ));
        }
    });
}
