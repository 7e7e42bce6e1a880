//! Lists under strategic merge patch: merged by key, or as sets of scalars, and put in the demanded order.

use serde_json::{Map, Value};

use super::PatchError;
use super::strategic::{Directive, directive, merge_objects};
use crate::schema::Structural;

/// Merges `change` into `existing`. `deleted` and `order` are the lists of the parallel directives.
pub(super) fn merge(
    schema: Option<&Structural>,
    existing: &[Value],
    change: &[Value],
    deleted: Option<&[Value]>,
    order: Option<&[Value]>,
) -> Result<Vec<Value>, PatchError> {
    let strategy = schema.map(|schema| &schema.patch);
    let key = strategy.and_then(|strategy| strategy.merge_key.as_deref());
    let holds_objects = existing.iter().chain(change).any(Value::is_object);
    match key {
        Some(key) if holds_objects => merge_keyed(schema, key, existing, change, order),
        _ => Ok(merge_scalars(existing, change, deleted, order)),
    }
}

fn merge_scalars(
    existing: &[Value],
    change: &[Value],
    deleted: Option<&[Value]>,
    order: Option<&[Value]>,
) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    let kept = existing.iter().filter(|item| deleted.is_none_or(|deleted| !deleted.contains(item)));
    for item in kept.chain(change) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    let identity = |item: &Value| Some(item.clone());
    put_in_order(merged, order.unwrap_or(change), existing, &identity)
}

fn merge_keyed(
    schema: Option<&Structural>,
    key: &str,
    existing: &[Value],
    change: &[Value],
    order: Option<&[Value]>,
) -> Result<Vec<Value>, PatchError> {
    let mut merged = existing.to_vec();
    let mut replace_all = false;
    let mut additions: Vec<(&Value, &Map<String, Value>)> = Vec::new();
    for item in change {
        let Some(item) = item.as_object() else {
            return Err(PatchError::BadRequest(format!("expected objects in a list merged by {key:?}, found {item}")));
        };
        let wanted = directive(item)?;
        if wanted == Directive::Replace {
            // Such an item stands for the list: the other items of the patch replace it.
            replace_all = true;
            continue;
        }
        let Some(identity) = item.get(key) else {
            return Err(PatchError::BadRequest(format!(
                "map: {} does not contain declared merge key: {key}",
                Value::Object(item.clone())
            )));
        };
        match wanted {
            Directive::Delete => merged.retain(|old| old.get(key) != Some(identity)),
            _ => additions.push((identity, item)),
        }
    }
    if replace_all {
        merged.clear();
    }
    let items = schema.and_then(|schema| schema.items.as_deref());
    for (identity, item) in additions {
        let place = merged.iter().position(|old| old.get(key) == Some(identity));
        let old = place.and_then(|place| merged[place].as_object()).cloned().unwrap_or_default();
        let new = Value::Object(merge_objects(items, old, item)?);
        match place {
            Some(place) => merged[place] = new,
            None => merged.push(new),
        }
    }
    let identity = |item: &Value| item.get(key).cloned();
    Ok(put_in_order(merged, order.unwrap_or(change), existing, &identity))
}

/// Items named by `order` stand in that order; the others keep their places of the live list between them.
fn put_in_order(
    merged: Vec<Value>,
    order: &[Value],
    live: &[Value],
    identity: &dyn Fn(&Value) -> Option<Value>,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| {
        let wanted = identity(item);
        list.iter().position(|other| wanted.is_some() && identity(other) == wanted)
    };
    let (mut ordered, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(order, item).is_some());
    ordered.sort_by_key(|item| place(order, item));
    let mut result = Vec::with_capacity(ordered.len() + others.len());
    let (mut ordered, mut others) = (ordered.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(left), Some(right)) = (others.peek(), ordered.peek()) {
        let left_first = matches!((place(live, left), place(live, right)), (Some(left), Some(right)) if left < right);
        result.extend(if left_first { others.next() } else { ordered.next() });
    }
    result.extend(ordered);
    result.extend(others);
    result
}

#[cfg(test)]
mod tests {
    use k8s_openapi::DeepMerge as _;
    use k8s_openapi::api::core::v1::Pod;
    use proptest::prelude::*;
    use serde_json::json;

    use crate::patch::{PatchKind, apply};

    use super::*;

    fn patched(gvk: &str, current: Value, patch: Value) -> Value {
        apply(PatchKind::Strategic, gvk, &current, &patch).unwrap()
    }

    fn pod(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn containers_are_merged_by_name() {
        let current =
            pod(json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]}));
        let patch = pod(
            json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3", "env": [{"name": "E", "value": null}]}]}),
        );
        assert_eq!(
            patched("v1, Kind=Pod", current, patch),
            pod(
                json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}, {"name": "c", "image": "3", "env": [{"name": "E"}]}]})
            )
        );
    }

    #[test]
    fn items_and_lists_can_be_deleted_and_replaced() {
        let current = || {
            pod(
                json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}], "nodeSelector": {"x": "1", "y": "2"}}),
            )
        };
        let delete = pod(json!({"containers": [{"name": "a", "$patch": "delete"}], "nodeSelector": {"x": null}}));
        assert_eq!(
            patched("/v1, Kind=Pod", current(), delete),
            pod(json!({"containers": [{"name": "b"}], "nodeSelector": {"y": "2"}}))
        );
        let replace = pod(
            json!({"containers": [{"$patch": "replace"}, {"name": "z"}], "nodeSelector": {"$patch": "replace", "z": "3"}}),
        );
        assert_eq!(
            patched("v1, Kind=Pod", current(), replace),
            pod(json!({"containers": [{"name": "z"}], "nodeSelector": {"z": "3"}}))
        );
        let delete_map = pod(json!({"nodeSelector": {"$patch": "delete"}}));
        assert_eq!(patched("v1, Kind=Pod", current(), delete_map)["spec"]["nodeSelector"], json!({}));
    }

    #[test]
    fn retain_keys_drops_the_rest_of_the_object() {
        let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(
            patched("apps/v1, Kind=Deployment", current.clone(), patch),
            json!({"spec": {"strategy": {"type": "Recreate"}}})
        );
        let wrong = json!({"spec": {"strategy": {"$retainKeys": ["other"], "type": "Recreate"}}});
        assert_eq!(apply(PatchKind::Strategic, "apps/v1, Kind=Deployment", &current, &wrong).unwrap_err().code(), 400);
        let volumes = pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]}));
        let other_source =
            pod(json!({"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}));
        assert_eq!(
            patched("v1, Kind=Pod", volumes, other_source),
            pod(json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}))
        );
    }

    #[test]
    fn order_directives_place_items() {
        let current = pod(json!({"containers": [{"name": "a"}, {"name": "server"}, {"name": "b"}]}));
        let patch = pod(
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "new"}, {"name": "a"}], "containers": [{"name": "new"}]}),
        );
        let names: Vec<Value> = patched("v1, Kind=Pod", current.clone(), patch)["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].clone())
            .collect();
        assert_eq!(names, ["server", "b", "new", "a"]);
        let only_order = pod(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}));
        let names: Vec<Value> = patched("v1, Kind=Pod", current, only_order)["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].clone())
            .collect();
        assert_eq!(names, ["server", "b", "a"]);
    }

    #[test]
    fn scalar_lists_are_sets_where_tagged_and_replaced_elsewhere() {
        let current = json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"externalIPs": ["1", "2"]}});
        let patch = json!({"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}, "spec": {"externalIPs": ["3"]}});
        assert_eq!(
            patched("v1, Kind=Service", current, patch),
            json!({"metadata": {"finalizers": ["c", "b"]}, "spec": {"externalIPs": ["3"]}})
        );
    }

    #[test]
    fn service_ports_merge_by_port() {
        let current = json!({"spec": {"ports": [{"port": 80, "name": "http", "targetPort": 8080}]}});
        let patch = json!({"spec": {"ports": [{"port": 443, "name": "https"}, {"port": 80, "targetPort": 9090}]}});
        assert_eq!(
            patched("v1, Kind=Service", current, patch),
            json!({"spec": {"ports": [{"port": 443, "name": "https"}, {"port": 80, "name": "http", "targetPort": 9090}]}})
        );
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        let refused = |gvk: &str, patch: Value| {
            apply(PatchKind::Strategic, gvk, &pod(json!({"containers": [{"name": "a"}]})), &patch).unwrap_err().code()
        };
        assert_eq!(refused("example.com/v1, Kind=CronTab", json!({})), 415);
        assert_eq!(refused("v1, Kind=Pod", json!([])), 400);
        assert_eq!(refused("v1, Kind=Pod", pod(json!({"containers": [{"image": "x"}]}))), 400);
        assert_eq!(refused("v1, Kind=Pod", pod(json!({"containers": ["x"]}))), 400);
        assert_eq!(refused("v1, Kind=Pod", json!({"$patch": "explode"})), 400);
        assert_eq!(refused("v1, Kind=Pod", pod(json!({"$setElementOrder/containers": {}, "containers": []}))), 400);
    }

    /// Image, environment and arguments.
    type AnyContainer = (Option<String>, Vec<Value>, Option<Vec<String>>);

    fn any_pod() -> impl Strategy<Value = Value> {
        let name = || prop_oneof![Just("a"), Just("b"), Just("c")];
        let env = proptest::collection::btree_map(name(), "[x-z]", 0..3).prop_map(|env| {
            env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
        });
        let container =
            (proptest::option::of("[p-r]"), env, proptest::option::of(proptest::collection::vec("[0-9]", 1..3)));
        let containers = proptest::collection::btree_map(name(), container, 1..3).prop_map(|containers| {
            let one = |(name, (image, env, args)): (&str, AnyContainer)| {
                let mut container = json!({"name": name});
                if let Some(image) = image {
                    container["image"] = image.into();
                }
                if !env.is_empty() {
                    container["env"] = env.into();
                }
                if let Some(args) = args {
                    container["args"] = args.into();
                }
                container
            };
            containers.into_iter().map(one).collect::<Vec<_>>()
        });
        (containers, proptest::collection::btree_map(name(), "[x-z]", 0..3), proptest::option::of("[n-o]")).prop_map(|(containers, labels, node)| {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}});
            if !labels.is_empty() { pod["metadata"]["labels"] = json!(labels); }
            if let Some(node) = node { pod["spec"]["nodeName"] = node.into(); }
            pod
        })
    }

    /// Lists of keyed objects as sets: the oracle appends, strategic merge patch follows the order of the patch.
    fn sorted(mut value: Value) -> Value {
        fn sort(value: &mut Value) {
            match value {
                Value::Object(object) => object.values_mut().for_each(sort),
                Value::Array(list) => {
                    list.iter_mut().for_each(sort);
                    if list.iter().all(|item| item.get("name").is_some()) {
                        list.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
                    }
                }
                _ => {}
            }
        }
        sort(&mut value);
        value
    }

    proptest! {
        #[test]
        fn without_directives_it_agrees_with_deep_merge(current in any_pod(), patch in any_pod()) {
            let ours = apply(PatchKind::Strategic, "v1, Kind=Pod", &current, &patch).unwrap();
            let mut oracle: Pod = serde_json::from_value(current).unwrap();
            oracle.merge_from(serde_json::from_value(patch).unwrap());
            let ours: Pod = serde_json::from_value(ours).unwrap();
            prop_assert_eq!(sorted(serde_json::to_value(ours).unwrap()), sorted(serde_json::to_value(oracle).unwrap()));
        }

        #[test]
        fn applying_twice_changes_nothing_more(current in any_pod(), patch in any_pod()) {
            let once = apply(PatchKind::Strategic, "v1, Kind=Pod", &current, &patch).unwrap();
            prop_assert_eq!(apply(PatchKind::Strategic, "v1, Kind=Pod", &once, &patch).unwrap(), once);
        }
    }
}
