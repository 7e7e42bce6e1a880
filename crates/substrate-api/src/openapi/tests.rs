//! What kubectl reads from the documents.

use serde_json::{Value, json};

use super::{ResourceInfo, SubresourceInfo, fingerprint, v2_document, v3_document, v3_index};

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn all_verbs() -> Vec<String> {
    texts(&["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"])
}

fn deployments() -> ResourceInfo {
    let part = |name: &str, group: &str, kind: &str| SubresourceInfo {
        name: name.into(),
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        verbs: texts(&["get", "patch", "update"]),
    };
    ResourceInfo {
        group: "apps".into(),
        version: "v1".into(),
        kind: "Deployment".into(),
        plural: "deployments".into(),
        namespaced: true,
        verbs: all_verbs(),
        subresources: vec![part("status", "apps", "Deployment"), part("scale", "autoscaling", "Scale")],
        ..ResourceInfo::default()
    }
}

fn cron_tabs() -> ResourceInfo {
    ResourceInfo {
        group: "stable.example.com".into(),
        version: "v1".into(),
        kind: "CronTab".into(),
        plural: "crontabs".into(),
        namespaced: false,
        verbs: all_verbs(),
        custom_schema: Some(
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"image": {"type": "string"}}}}}),
        ),
        ..ResourceInfo::default()
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn assert_references_resolve(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        // Slashes and tildes do not occur in definition names, so the reference is a JSON pointer as it stands.
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[test]
fn a_builtin_document_has_what_kubectl_apply_looks_for() {
    let document = v3_document("apps", "v1", &[deployments(), cron_tabs()]);
    assert_references_resolve(&document);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(
        paths,
        [
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status",
        ]
    );
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    let parameters: Vec<&str> =
        patch["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    assert_eq!(
        schemas["io.k8s.api.apps.v1.DeploymentList"]["x-kubernetes-group-version-kind"][0]["kind"],
        "DeploymentList"
    );
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"
    );
}

#[test]
fn a_custom_document_offers_no_strategic_merge_patch() {
    let document = v3_document("stable.example.com", "v1", &[deployments(), cron_tabs()]);
    assert_references_resolve(&document);
    let content = &document["paths"]["/apis/stable.example.com/v1/crontabs/{name}"]["patch"]["requestBody"]["content"];
    assert!(content.get("application/strategic-merge-patch+json").is_none());
    assert!(content.get("application/apply-patch+yaml").is_some());
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(schema["properties"]["spec"]["properties"]["image"]["type"], "string");
    assert_eq!(
        schema["properties"]["metadata"]["allOf"][0]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
}

#[test]
fn the_index_names_each_document_with_a_hash_that_follows_the_schemas() {
    let before = fingerprint(&[cron_tabs()]);
    let mut changed = cron_tabs();
    changed.custom_schema = Some(json!({"type": "object"}));
    assert_ne!(before, fingerprint(&[changed]));
    assert_eq!(before, fingerprint(&[cron_tabs()]));
    let index = v3_index(&[(String::new(), "v1".into(), "A".into()), ("apps".into(), "v1".into(), "B".into())]);
    assert_eq!(index["paths"]["api/v1"]["serverRelativeURL"], "/openapi/v3/api/v1?hash=A");
    assert_eq!(index["paths"]["apis/apps/v1"]["serverRelativeURL"], "/openapi/v3/apis/apps/v1?hash=B");
}

#[test]
fn version_two_has_the_same_content_in_its_own_form() {
    let document = v2_document(&[deployments(), cron_tabs()]);
    assert_references_resolve(&document);
    let definition = &document["definitions"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(definition["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.apps.v1.DeploymentSpec");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(
        patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation" && p["type"] == "string")
    );
    assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["in"] == "body"));
    assert!(patch["consumes"].as_array().unwrap().contains(&json!("application/strategic-merge-patch+json")));
}

#[test]
fn every_builtin_group_version_has_a_consistent_document() {
    for kind in crate::schema::builtin_kinds() {
        let resource = ResourceInfo {
            group: kind.group.into(),
            version: kind.version.into(),
            kind: kind.kind.into(),
            plural: format!("{}s", kind.kind.to_lowercase()),
            verbs: all_verbs(),
            ..ResourceInfo::default()
        };
        assert_references_resolve(&v3_document(kind.group, kind.version, &[resource]));
    }
}

/// The schema of schemas has fields that are called like keywords of schemas.
#[test]
fn fields_called_like_keywords_stay_fields() {
    let definitions = ResourceInfo {
        group: "apiextensions.k8s.io".into(),
        version: "v1".into(),
        kind: "CustomResourceDefinition".into(),
        plural: "customresourcedefinitions".into(),
        verbs: all_verbs(),
        ..ResourceInfo::default()
    };
    let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let v3 = v3_document("apiextensions.k8s.io", "v1", std::slice::from_ref(&definitions));
    let v2 = v2_document(&[definitions]);
    for fields in [&v3["components"]["schemas"][name]["properties"], &v2["definitions"][name]["properties"]] {
        assert_eq!(fields["$ref"]["type"], "string");
        for field in ["allOf", "oneOf", "anyOf", "not", "nullable", "default"] {
            assert!(fields[field].is_object(), "{field}: {}", fields[field]);
        }
    }
}
