//! Compares and names pod templates. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use crate::objects;

/// The label that a Deployment adds to the template, selector and pods of its sets.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Whether two templates make the same pods; the hash label does not count.
pub(crate) fn are_equal(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    comparable(a) == comparable(b)
}

/// A short name for a template, in the alphabet that Kubernetes uses to avoid accidental words.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = comparable(template).to_string();
    if collisions > 0 {
        text.push_str(&collisions.to_string());
    }
    // FNV-1a, 32 bits.
    let sum = text.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    sum.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

fn comparable(template: &PodTemplateSpec) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(HASH_LABEL);
    }
    let mut value = objects::json(&template);
    prune(&mut value);
    value
}

/// Drops what says nothing, so that an absent list equals an empty one.
fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(prune);
        // An empty object can say something (`emptyDir: {}`); an empty list or null cannot.
        fields.retain(|_, field| !field.is_null() && field.as_array().is_none_or(|items| !items.is_empty()));
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(prune);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_label_and_empty_lists_do_not_distinguish_templates() {
        let plain = template(json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}));
        let labelled = template(json!({
            "metadata": {"labels": {"app": "a", HASH_LABEL: "x"}}, "spec": {"containers": [{"name": "c", "env": []}]}}));
        assert!(are_equal(&plain, &labelled));
        assert_eq!(hash(&plain, 0), hash(&labelled, 0));
        assert_ne!(hash(&plain, 0), hash(&plain, 1));
    }
}
