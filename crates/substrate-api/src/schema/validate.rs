//! Validation of values against a schema, with Kubernetes' wording.

use serde_json::{Map, Number, Value};

use super::error::{CauseType, FieldError};
use super::format;
use super::model::{ListType, Rules, Structural, ValueType};

impl Structural {
    /// Every problem of `value`, in the order of the fields.
    pub fn validate(&self, value: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate(self, value, "", &mut errors);
        errors
    }
}

fn validate(schema: &Structural, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() && (schema.nullable || schema.builtin) {
        return;
    }
    if let Some(wanted) = wrong_type(schema, value) {
        errors.push(type_error(path, value, wanted));
        return;
    }
    if let Some(rules) = &schema.rules {
        check_rules(rules, value, path, errors);
    }
    match value {
        Value::Object(object) => validate_object(schema, object, path, errors),
        Value::Array(list) => validate_list(schema, list, path, errors),
        _ => {}
    }
}

fn validate_object(schema: &Structural, object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if schema.embedded_resource {
        validate_embedded(object, path, errors);
    }
    for (name, value) in object {
        if let Some(child) = schema.field(name) {
            let child_path = if schema.properties.contains_key(name) { join(path, name) } else { keyed(path, name) };
            validate(child, value, &child_path, errors);
        }
    }
}

fn validate_embedded(object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["apiVersion", "kind"] {
        if object.get(field).and_then(Value::as_str).is_none_or(str::is_empty) {
            errors.push(FieldError::required(join(path, field), "must not be empty"));
        }
    }
}

fn validate_list(schema: &Structural, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    if let Some(items) = &schema.items {
        for (index, item) in list.iter().enumerate() {
            validate(items, item, &format!("{path}[{index}]"), errors);
        }
    }
    // A built-in list with repeated keys (two ports of one number) is the business of its own kind's validation.
    if schema.builtin {
        return;
    }
    let identity = |item: &Value| -> Option<Value> {
        match &schema.list_type {
            ListType::Atomic => None,
            ListType::Set => Some(item.clone()),
            ListType::Map(keys) => {
                let of_key = |key: &String| {
                    let default = || schema.items.as_ref()?.properties.get(key)?.default.clone();
                    Some((key.clone(), item.get(key).cloned().or_else(default)?))
                };
                Some(Value::Object(keys.iter().filter_map(of_key).collect()))
            }
        }
    };
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let Some(identity) = identity(item) else { return };
        if seen.contains(&identity) {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), identity));
        } else {
            seen.push(identity);
        }
    }
}

/// The type that is demanded, if `value` does not have it.
fn wrong_type(schema: &Structural, value: &Value) -> Option<&'static str> {
    if schema.int_or_string {
        let fits = value.is_string() || is_integer(value) || (schema.builtin && value.is_number());
        return (!fits).then_some("integer,string");
    }
    let wanted = schema.value_type?;
    let fits = match wanted {
        ValueType::Object => value.is_object(),
        ValueType::Array => value.is_array(),
        ValueType::String => value.is_string(),
        ValueType::Integer => is_integer(value),
        ValueType::Number => value.is_number(),
        ValueType::Boolean => value.is_boolean(),
    };
    (!fits).then_some(wanted.as_str())
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_error(path: &str, value: &Value, wanted: &str) -> FieldError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let field = shown(path);
    FieldError {
        detail: format!("{field} in body must be of type {wanted}: {found:?}"),
        field,
        cause: CauseType::FieldValueTypeInvalid,
        value: Some(found.into()),
    }
}

fn check_rules(rules: &Rules, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !rules.allowed.is_empty() && !rules.allowed.contains(value) {
        let supported: Vec<String> = rules.allowed.iter().map(Value::to_string).collect();
        errors.push(FieldError::not_supported(shown(path), value.clone(), &supported));
    }
    match value {
        Value::Object(object) => check_object(rules, object, path, errors),
        Value::Array(list) => check_list(rules, list, path, errors),
        Value::String(text) => check_text(rules, text, path, errors),
        Value::Number(number) => check_number(rules, number, path, errors),
        Value::Null | Value::Bool(_) => {}
    }
    check_alternatives(rules, value, path, errors);
}

fn check_object(rules: &Rules, object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for name in rules.required.iter().filter(|name| !object.contains_key(*name)) {
        errors.push(FieldError::required(join(path, name), ""));
    }
    let count = object.len() as u64;
    if let Some(limit) = rules.max_properties.filter(|limit| count > *limit) {
        errors.push(too_many(path, count, limit));
    }
    if let Some(limit) = rules.min_properties.filter(|limit| count < *limit) {
        let detail = format!("{} in body should have at least {limit} properties", shown(path));
        errors.push(FieldError::invalid(shown(path), Value::Object(object.clone()), detail));
    }
}

fn check_list(rules: &Rules, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let count = list.len() as u64;
    if let Some(limit) = rules.max_items.filter(|limit| count > *limit) {
        errors.push(too_many(path, count, limit));
    }
    if let Some(limit) = rules.min_items.filter(|limit| count < *limit) {
        let detail = format!("{} in body should have at least {limit} items", shown(path));
        errors.push(FieldError::invalid(shown(path), count.into(), detail));
    }
}

fn too_many(path: &str, count: u64, limit: u64) -> FieldError {
    FieldError {
        field: shown(path),
        cause: CauseType::FieldValueTooMany,
        value: Some(count.into()),
        detail: format!("must have at most {limit} items"),
    }
}

fn check_text(rules: &Rules, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let field = shown(path);
    let length = text.chars().count() as u64;
    if let Some(limit) = rules.max_length.filter(|limit| length > *limit) {
        let detail = format!("may not be more than {limit} bytes");
        errors.push(FieldError { field: field.clone(), cause: CauseType::FieldValueTooLong, value: None, detail });
    }
    if let Some(limit) = rules.min_length.filter(|limit| length < *limit) {
        let detail = format!("{field} in body should be at least {limit} chars long");
        errors.push(FieldError::invalid(field.clone(), text.into(), detail));
    }
    if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let detail = format!("{field} in body should match '{}'", pattern.as_str());
        errors.push(FieldError::invalid(field.clone(), text.into(), detail));
    }
    if let Some(name) = rules.format.as_deref().filter(|name| !format::text_fits(name, text)) {
        let detail = format!("{field} in body must be of type {name}: {text:?}");
        errors.push(FieldError::invalid(field, text.into(), detail));
    }
}

fn check_number(rules: &Rules, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
    let field = shown(path);
    let value = Value::Number(number.clone());
    let compare = |bound: &Value| compare_numbers(&value, bound);
    let mut refuse = |detail: String| errors.push(FieldError::invalid(field.clone(), value.clone(), detail));
    if let Some(bound) = &rules.maximum {
        let order = compare(bound);
        if rules.exclusive_maximum && order.is_ge() {
            refuse(format!("{field} in body should be less than {bound}"));
        } else if order.is_gt() {
            refuse(format!("{field} in body should be less than or equal to {bound}"));
        }
    }
    if let Some(bound) = &rules.minimum {
        let order = compare(bound);
        if rules.exclusive_minimum && order.is_le() {
            refuse(format!("{field} in body should be greater than {bound}"));
        } else if order.is_lt() {
            refuse(format!("{field} in body should be greater than or equal to {bound}"));
        }
    }
    if let Some(step) = rules.multiple_of.as_ref().filter(|step| !is_multiple(&value, step)) {
        refuse(format!("{field} in body should be a multiple of {step}"));
    }
    if let Some(name) = rules.format.as_deref().filter(|name| !format::number_fits(name, number)) {
        refuse(format!("{field} in body must be of type {name}: {number}"));
    }
}

fn compare_numbers(left: &Value, right: &Value) -> std::cmp::Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().unwrap_or(f64::NAN).total_cmp(&right.as_f64().unwrap_or(f64::NAN)),
    }
}

fn is_multiple(value: &Value, step: &Value) -> bool {
    match (value.as_i64(), step.as_i64()) {
        (Some(value), Some(step)) if step != 0 => value % step == 0,
        _ => match (value.as_f64(), step.as_f64()) {
            (Some(value), Some(step)) if step != 0.0 => ((value / step).round() * step - value).abs() < 1e-9,
            _ => true,
        },
    }
}

fn check_alternatives(rules: &Rules, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let problems = |schema: &Structural| {
        let mut problems = Vec::new();
        validate(schema, value, path, &mut problems);
        problems
    };
    let field = shown(path);
    for schema in &rules.all_of {
        errors.extend(problems(schema));
    }
    if !rules.any_of.is_empty() {
        let mut best: Option<Vec<FieldError>> = None;
        for found in rules.any_of.iter().map(problems) {
            if best.as_ref().is_none_or(|best| found.len() < best.len()) {
                best = Some(found);
            }
        }
        let best = best.unwrap_or_default();
        if !best.is_empty() {
            let detail = format!("{field:?} must validate at least one schema (anyOf)");
            errors.push(FieldError::invalid(field.clone(), value.clone(), detail));
            errors.extend(best);
        }
    }
    if !rules.one_of.is_empty() {
        let valid = rules.one_of.iter().filter(|schema| problems(schema).is_empty()).count();
        if valid != 1 {
            let found =
                if valid == 0 { "Found none valid".to_owned() } else { format!("Found {valid} valid alternatives") };
            let detail = format!("{field:?} must validate one and only one schema (oneOf). {found}");
            errors.push(FieldError::invalid(field.clone(), value.clone(), detail));
        }
    }
    if rules.not.as_deref().is_some_and(|schema| problems(schema).is_empty()) {
        let detail = format!("{field:?} must not validate the schema (not)");
        errors.push(FieldError::invalid(field, value.clone(), detail));
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Entries of a map are written like fields, unless the key would read as a path.
fn keyed(path: &str, name: &str) -> String {
    if name.contains(['.', '/']) { format!("{path}[{name}]") } else { join(path, name) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin;

    fn cron_tab() -> Structural {
        Structural::parse(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "required": ["image"], "minProperties": 1, "properties": {
                "image": {"type": "string", "maxLength": 8, "pattern": "^[a-z]+$"},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1, "format": "int32"},
                "mode": {"type": "string", "enum": ["A", "B"]},
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 3, "items": {"type": "string"}},
                "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "number": {"type": "integer", "default": 80}}}},
                "note": {"type": "string", "nullable": true},
                "raw": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "when": {"type": "string", "format": "date-time"},
                "choice": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
                "never": {"type": "integer", "not": {"minimum": 5}},
            }},
        }})).unwrap()
    }

    fn messages(schema: &Structural, value: &Value) -> Vec<String> {
        schema.validate(value).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_valid_object_has_no_problem() {
        let value = json!({"apiVersion": "a/v1", "kind": "CronTab", "metadata": {"name": "x"}, "spec": {
            "image": "nginx", "replicas": 3.0, "mode": "A", "port": "http", "tags": ["a", "b"], "ports": [{"name": "a"}, {"name": "b"}],
            "note": null, "raw": {"x": [1]}, "labels": {"a": "b"}, "when": "2026-01-02T03:04:05Z", "choice": {"a": "1"}, "never": 4}});
        assert_eq!(messages(&cron_tab(), &value), Vec::<String>::new());
    }

    #[test]
    fn problems_are_worded_as_kubernetes_does() {
        let value = json!({"spec": {
            "replicas": 11, "mode": "C", "port": true, "tags": ["a", "a", "b", "c"], "ports": [{"name": "a"}, {"name": "a"}, {}],
            "note": 5, "labels": {"a": 1}, "when": "yesterday", "choice": {"a": "1", "b": "2"}, "never": 5}});
        insta::assert_snapshot!(messages(&cron_tab(), &value).join("\n"), @r#"
        spec.image: Required value
        spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10
        spec.mode: Unsupported value: "C": supported values: "A", "B"
        spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"
        spec.tags: Too many: 4: must have at most 3 items
        spec.tags[1]: Duplicate value: "a"
        spec.ports[2].name: Required value
        spec.ports[1]: Duplicate value: {"name":"a"}
        spec.note: Invalid value: "integer": spec.note in body must be of type string: "integer"
        spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"
        spec.when: Invalid value: "yesterday": spec.when in body must be of type date-time: "yesterday"
        spec.choice: Invalid value: {"a":"1","b":"2"}: "spec.choice" must validate one and only one schema (oneOf). Found 2 valid alternatives
        spec.never: Invalid value: 5: "spec.never" must not validate the schema (not)
        "#);
        insta::assert_snapshot!(messages(&cron_tab(), &json!({"spec": {"image": "TooLong99", "replicas": 1.5}})).join("\n"), @r#"
        spec.image: Too long: may not be more than 8 bytes
        spec.image: Invalid value: "TooLong99": spec.image in body should match '^[a-z]+$'
        spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number"
        "#);
        assert_eq!(
            messages(&cron_tab(), &json!([])),
            ["<nil>: Invalid value: \"array\": <nil> in body must be of type object: \"array\""]
        );
    }

    #[test]
    fn pruning_and_defaults_follow_the_schema() {
        let mut value = json!({"apiVersion": "a/v1", "metadata": {"name": "x"}, "extra": 1,
            "spec": {"image": "a", "replicas": null, "unknown": 1, "raw": {"kept": 1}, "labels": {"k": "v"}, "ports": [{"name": "a", "gone": 1}], "note": null}});
        cron_tab().prune(&mut value);
        cron_tab().apply_defaults(&mut value);
        assert_eq!(
            value,
            json!({"apiVersion": "a/v1", "metadata": {"name": "x"},
            "spec": {"image": "a", "replicas": 1, "raw": {"kept": 1}, "labels": {"k": "v"}, "ports": [{"name": "a", "number": 80}], "note": null}})
        );
    }

    #[test]
    fn built_in_kinds_lose_nulls_and_unknown_metadata() {
        let mut value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "creationTimestamp": null, "odd": 1, "labels": {"a": null}}, "stringData": {"k": null}, "type": null, "odd": 1});
        builtin("", "v1", "Secret").unwrap().prune(&mut value);
        assert_eq!(
            value,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": {"a": ""}}, "stringData": {"k": ""}})
        );
        let mut custom = json!({"metadata": {"name": "x", "odd": 1}, "spec": {"image": "a", "note": null}});
        cron_tab().prune(&mut custom);
        assert_eq!(custom, json!({"metadata": {"name": "x"}, "spec": {"image": "a", "note": null}}));
    }

    #[test]
    fn schemas_that_are_not_structural_are_refused() {
        let schema = json!({"type": "object", "properties": {
            "untyped": {}, "list": {"type": "array"}, "both": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "closed": {"type": "object", "additionalProperties": false}, "text": {"type": "string", "pattern": "(", "allOf": [{"default": "x"}]},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            "ref": {"$ref": "#/x", "type": "string"}}});
        let errors: Vec<String> = Structural::parse(&schema)
            .unwrap_err()
            .into_iter()
            .map(|error| error.below("spec.versions[0].schema").to_string())
            .collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        spec.versions[0].schema.openAPIV3Schema.properties[untyped].type: Required value: must not be empty for specified object fields
        spec.versions[0].schema.openAPIV3Schema.properties[list].items: Required value: must be specified
        spec.versions[0].schema.openAPIV3Schema.properties[both].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive
        spec.versions[0].schema.openAPIV3Schema.properties[closed].additionalProperties: Forbidden: additionalProperties cannot be set to false
        spec.versions[0].schema.openAPIV3Schema.properties[text].pattern: Invalid value: "(": must be a valid regular expression, but isn't: error: unclosed group
        spec.versions[0].schema.openAPIV3Schema.properties[text].allOf[0].default: Forbidden: must be empty to be structural
        spec.versions[0].schema.openAPIV3Schema.properties[map].items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
        spec.versions[0].schema.openAPIV3Schema.properties[ref].$ref: Forbidden: $ref is not supported
        "#);
        assert!(Structural::parse(&json!({"properties": {}})).is_err());
        assert!(Structural::parse(&json!({"type": "string"})).is_err());
        assert!(Structural::parse(&json!(1)).is_err());
    }

    #[test]
    fn built_in_kinds_demand_types_and_required_fields() {
        let deployment = builtin("apps", "v1", "Deployment").unwrap();
        let value = json!({"metadata": {"name": "web", "creationTimestamp": null}, "spec": {"replicas": "3", "template": {"spec": {"containers": [{"image": "x", "ports": [{"containerPort": 80, "name": null}]}]}}}, "status": {"conditions": [{}]}});
        insta::assert_snapshot!(messages(deployment, &value).join("\n"), @r#"
        spec.selector: Required value
        spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"
        spec.template.spec.containers[0].name: Required value
        "#);
        let errors = deployment.validate(&value);
        assert_eq!(
            errors[1].unmarshal_message("Deployment"),
            "json: cannot unmarshal string into Go struct field Deployment.spec.replicas of type int32"
        );
        assert!(builtin("apps", "v1", "Nothing").is_none());
    }

    #[test]
    fn every_built_in_schema_can_be_parsed() {
        for kind in crate::schema::builtin_kinds() {
            let schema = builtin(kind.group, kind.version, kind.kind).unwrap();
            assert!(schema.properties.contains_key("metadata"), "{kind:?}");
        }
    }

    #[test]
    fn unknown_fields_are_named() {
        let pod = builtin("", "v1", "Pod").unwrap();
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labelz": {}, "labels": {"x": "y"}}, "spec": {"containers": [{"name": "a", "imagee": "x"}], "foo": 1, "nodeSelector": {"any": "thing"}}});
        assert_eq!(
            pod.unknown_fields(&value),
            [
                "unknown field \"metadata.labelz\"",
                "unknown field \"spec.containers[0].imagee\"",
                "unknown field \"spec.foo\""
            ]
        );
        assert_eq!(
            cron_tab().unknown_fields(&json!({"kind": "CronTab", "spec": {"raw": {"a": 1}, "b": 1}})),
            ["unknown field \"spec.b\""]
        );
    }
}
