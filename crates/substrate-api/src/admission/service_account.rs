//! The ServiceAccount admission plugin: every pod has an account, and its containers the account's token.

use serde_json::{Value, json};

use super::Operation;
use crate::object::{self, as_map, child, default_to};
use crate::status::ApiError;
use crate::store::Key;
use crate::validation::generate_name;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";

/// Completes a pod that is being created; may run again on the same pod.
pub(super) fn admit(operation: &Operation<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let is_pod = operation.resource.table == "pods" && operation.subresource.is_empty();
    if operation.kind != "CREATE" || !is_pod {
        return Ok(());
    }
    let spec = child(pod, "spec");
    if spec.get("serviceAccountName").and_then(Value::as_str).is_none_or(str::is_empty) {
        spec.insert("serviceAccountName".to_owned(), json!("default"));
    }
    let name = spec["serviceAccountName"].as_str().unwrap_or_default().to_owned();
    spec.insert("serviceAccount".to_owned(), json!(name));
    let account = operation.server.store.get("serviceaccounts", &Key::new(operation.namespace, name.clone()));
    let account = account.ok_or_else(|| {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            operation.namespace
        );
        ApiError::forbidden(operation.resource.subject(), object::name(pod), &why)
    })?;
    let pull_secrets = &account.value["imagePullSecrets"];
    if pull_secrets.is_array() {
        default_to(child(pod, "spec"), "imagePullSecrets", pull_secrets.clone());
    }
    let automount = pod["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or(account.value["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if automount {
        mount_token(pod);
    }
    Ok(())
}

fn mount_token(pod: &mut Value) {
    let present = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let present = present.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with(VOLUME_PREFIX));
    let volume = present.map_or_else(|| generate_name(VOLUME_PREFIX), str::to_owned);
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    let mut used = false;
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            used |= add_mount(container, &mount);
        }
    }
    if !used {
        return;
    }
    let volumes = child(pod, "spec").entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut()
        && !volumes.iter().any(|other| other["name"] == volume)
    {
        volumes.push(token_volume(&volume));
    }
}

/// Adds the mount where the container has nothing at that path; answers whether it did.
fn add_mount(container: &mut Value, mount: &Value) -> bool {
    let mounts = as_map(container).entry("volumeMounts").or_insert_with(|| json!([]));
    let Some(mounts) = mounts.as_array_mut() else { return false };
    let taken = mounts.iter().any(|other| other["mountPath"] == mount["mountPath"]);
    if !taken {
        mounts.push(mount.clone());
    }
    !taken
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_gets_the_token_once() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}});
        mount_token(&mut pod);
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "injected"}));
        mount_token(&mut pod);
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 1);
        for container in pod["spec"]["containers"].as_array().unwrap() {
            assert_eq!(container["volumeMounts"].as_array().unwrap().len(), 1);
            assert_eq!(container["volumeMounts"][0]["name"], volumes[0]["name"]);
        }
    }

    #[test]
    fn a_mount_of_ones_own_is_kept() {
        let mut pod =
            json!({"spec": {"containers": [{"name": "a", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}]}});
        mount_token(&mut pod);
        assert!(pod["spec"]["volumes"].is_null());
    }
}
