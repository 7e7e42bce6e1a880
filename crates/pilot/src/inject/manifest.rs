//! Injection of manifests: YAML in, YAML out, for people and pipelines without the webhook. Comments are lost.

use serde_json::Value;

use super::{InjectError, MeshSettings, NamespaceContext, Outcome, Workload, inject};

/// A manifest that cannot be injected.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML.
    #[error("{0}")]
    Yaml(String),
    /// An object in it.
    #[error("{kind} {name}: {source}")]
    Object {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What is wrong.
        source: InjectError,
    },
}

/// Injects every workload of a manifest; other objects pass unchanged. `notices` receives a line for whatever was left
/// out or has no effect.
///
/// # Errors
/// [`ManifestError`].
pub fn inject_manifest(
    yaml: &str,
    settings: &MeshSettings,
    notices: &mut Vec<String>,
) -> Result<String, ManifestError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(yaml, options)
        .map_err(|error| ManifestError::Yaml(error.to_string()))?;
    let mut output = Vec::new();
    for mut document in documents {
        if document.is_null() {
            continue;
        }
        object(&mut document, settings, notices)?;
        output.push(serde_saphyr::to_string(&document).map_err(|error| ManifestError::Yaml(error.to_string()))?);
    }
    Ok(output.join("---\n"))
}

fn object(object: &mut Value, settings: &MeshSettings, notices: &mut Vec<String>) -> Result<(), ManifestError> {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind == "List" {
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        return items.into_iter().flatten().try_for_each(|item| self::object(item, settings, notices));
    }
    let Some(pointer) = template_of(&kind) else { return Ok(()) };
    let workload = Workload::of_manifest(object);
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default").to_owned();
    let name = workload.name.clone();
    let Some(template) = object.pointer_mut(pointer) else {
        notices.push(format!("{kind} {name}: no pod template"));
        return Ok(());
    };
    let context = NamespaceContext { name: &namespace, labels: None };
    match inject(template, context, &workload, settings) {
        Ok(Outcome::Injected(injected)) => {
            *template = injected.pod;
            notices.extend(injected.warnings.into_iter().map(|warning| format!("{kind} {name}: {warning}")));
        }
        Ok(Outcome::Skipped(reason)) => notices.push(format!("{kind} {name}: not injected: {reason}")),
        Err(source) => return Err(ManifestError::Object { kind, name, source }),
    }
    Ok(())
}

fn template_of(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => {
            Some("/spec/template")
        }
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}
