//! What the files of a volume contain: from the pod's volume and the objects it refers to, to paths, bytes and modes.
//! Pure: what has to be fetched is handed in.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret, ServiceAccountTokenProjection,
    Volume,
};

use crate::kubelet::downward::{self, Facts};
use crate::kubelet::environment::{Referenced, missing};

/// Files of a volume by their path relative to its root.
pub(super) type Payload = BTreeMap<String, File>;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    /// Permission bits.
    pub(super) mode: u32,
}

/// What kind of volume it is, as far as the node is concerned.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// An empty directory.
    Empty,
    /// Files that are made from objects, and made anew when those change.
    Files(Vec<Part>),
}

/// One source of files.
#[derive(Clone, Debug)]
pub(super) enum Part {
    ConfigMap { name: String, items: Option<Vec<KeyToPath>>, optional: bool, mode: u32 },
    Secret { name: String, items: Option<Vec<KeyToPath>>, optional: bool, mode: u32 },
    DownwardApi { files: Vec<DownwardAPIVolumeFile>, mode: u32 },
    Token { projection: ServiceAccountTokenProjection, mode: u32 },
}

const DEFAULT_MODE: i32 = 0o644;

/// Classifies a volume.
///
/// # Errors
/// What this node does not have, with what to use instead.
pub(super) fn classify(volume: &Volume) -> Result<Source, String> {
    let mode = |mode: Option<i32>| u32::try_from(mode.unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777;
    if let Some(source) = &volume.config_map {
        let (name, items) = (source.name.clone(), source.items.clone());
        let optional = source.optional == Some(true);
        return Ok(Source::Files(vec![Part::ConfigMap { name, items, optional, mode: mode(source.default_mode) }]));
    }
    if let Some(source) = &volume.secret {
        let (name, items) = (source.secret_name.clone().unwrap_or_default(), source.items.clone());
        let optional = source.optional == Some(true);
        return Ok(Source::Files(vec![Part::Secret { name, items, optional, mode: mode(source.default_mode) }]));
    }
    if let Some(source) = &volume.downward_api {
        let files = source.items.clone().unwrap_or_default();
        return Ok(Source::Files(vec![Part::DownwardApi { files, mode: mode(source.default_mode) }]));
    }
    if let Some(source) = &volume.projected {
        return projected(volume, source, mode(source.default_mode));
    }
    if volume.empty_dir.is_some() {
        return Ok(Source::Empty);
    }
    let name = &volume.name;
    if volume.host_path.is_some() {
        return Err(format!(
            "volume \"{name}\" is a hostPath, which pods of this cluster may not have: they would reach the machine's files; \
             use an emptyDir, configMap or secret volume, or add the file to the image's rule"
        ));
    }
    if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
        return Err(format!(
            "volume \"{name}\" needs persistent storage, which this cluster does not have; use an emptyDir volume"
        ));
    }
    let known = "emptyDir, configMap, secret, downwardAPI and projected";
    Err(format!("volume \"{name}\" is of a type that this node does not have; it has {known}"))
}

fn projected(volume: &Volume, source: &ProjectedVolumeSource, mode: u32) -> Result<Source, String> {
    let mut parts = Vec::new();
    for source in source.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let (name, items, optional) = (map.name.clone(), map.items.clone(), map.optional == Some(true));
            parts.push(Part::ConfigMap { name, items, optional, mode });
        } else if let Some(secret) = &source.secret {
            let (name, items, optional) = (secret.name.clone(), secret.items.clone(), secret.optional == Some(true));
            parts.push(Part::Secret { name, items, optional, mode });
        } else if let Some(downward) = &source.downward_api {
            parts.push(Part::DownwardApi { files: downward.items.clone().unwrap_or_default(), mode });
        } else if let Some(projection) = &source.service_account_token {
            parts.push(Part::Token { projection: projection.clone(), mode });
        } else {
            let name = &volume.name;
            return Err(format!(
                "volume \"{name}\" projects something else than configMap, secret, downwardAPI or serviceAccountToken"
            ));
        }
    }
    Ok(Source::Files(parts))
}

/// The files of a volume. `tokens` has the current token of each path that a token is projected to.
///
/// # Errors
/// A reference that leads nowhere or a path that leaves the volume, with what to do about it.
pub(super) fn payload(
    pod: &Pod,
    parts: &[Part],
    referenced: &Referenced,
    tokens: &BTreeMap<String, String>,
    facts: &Facts,
) -> Result<Payload, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut files = Payload::new();
    for part in parts {
        match part {
            Part::ConfigMap { name, items, optional, mode } => match referenced.config_maps.get(name) {
                Some(map) => add_items(
                    &mut files,
                    config_map_entries(map),
                    items.as_deref(),
                    (*mode, *optional),
                    ("configmap", name),
                )?,
                None if *optional => {}
                None => return Err(missing("configmap", name, namespace)),
            },
            Part::Secret { name, items, optional, mode } => match referenced.secrets.get(name) {
                Some(secret) => add_items(
                    &mut files,
                    secret_entries(secret),
                    items.as_deref(),
                    (*mode, *optional),
                    ("secret", name),
                )?,
                None if *optional => {}
                None => return Err(missing("secret", name, namespace)),
            },
            Part::DownwardApi { files: wanted, mode } => {
                for file in wanted {
                    add(
                        &mut files,
                        &file.path,
                        downward_value(pod, file, facts)?.into_bytes(),
                        file_mode(file.mode, *mode),
                    )?;
                }
            }
            Part::Token { projection, mode } => {
                if let Some(token) = tokens.get(&projection.path) {
                    add(&mut files, &projection.path, token.clone().into_bytes(), *mode)?;
                }
            }
        }
    }
    Ok(files)
}

fn downward_value(pod: &Pod, file: &DownwardAPIVolumeFile, facts: &Facts) -> Result<String, String> {
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(selector), _) => downward::field(pod, selector, facts),
        (None, Some(selector)) => downward::resource(pod, None, selector, facts),
        (None, None) => Err(format!("the downward API file {} has neither fieldRef nor resourceFieldRef", file.path)),
    }
}

fn config_map_entries(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

fn secret_entries(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn add_items(
    files: &mut Payload,
    mut entries: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    (mode, optional): (u32, bool),
    (kind, name): (&str, &str),
) -> Result<(), String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return entries.into_iter().try_for_each(|(key, bytes)| add(files, &key, bytes, mode));
    };
    for item in items {
        match entries.remove(&item.key) {
            Some(bytes) => add(files, &item.path, bytes, file_mode(item.mode, mode))?,
            None if optional => {}
            None => {
                let key = &item.key;
                return Err(format!(
                    "{kind} \"{name}\" has no key \"{key}\"; add the key, or mark the volume optional"
                ));
            }
        }
    }
    Ok(())
}

fn file_mode(own: Option<i32>, default: u32) -> u32 {
    own.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default) & 0o777
}

fn add(files: &mut Payload, path: &str, bytes: Vec<u8>, mode: u32) -> Result<(), String> {
    let stays_inside =
        !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !stays_inside {
        return Err(format!("the path \"{path}\" leaves the volume; use a relative path without \"..\""));
    }
    files.insert(path.to_owned(), File { bytes, mode });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::net::Ipv4Addr;

    fn pod() -> Pod {
        let spec = json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]});
        serde_json::from_value(
            json!({"metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}}, "spec": spec}),
        )
        .unwrap()
    }

    fn files(volume: Value) -> Result<BTreeMap<String, (String, String)>, String> {
        let map = json!({"metadata": {}, "data": {"a.txt": "A", "b.txt": "B"}, "binaryData": {"c.bin": "Qw=="}});
        let secret = json!({"metadata": {}, "data": {"key": "S2V5"}});
        let referenced = Referenced {
            config_maps: BTreeMap::from([("map".into(), serde_json::from_value(map).unwrap())]),
            secrets: BTreeMap::from([("secret".into(), serde_json::from_value(secret).unwrap())]),
        };
        let facts = Facts { node_name: "n".into(), host_ip: Ipv4Addr::LOCALHOST, pod_ip: None, cpus: 1, memory: 1 };
        let tokens = BTreeMap::from([("token".into(), "jwt".into())]);
        let Source::Files(parts) = classify(&serde_json::from_value(volume).unwrap())? else {
            return Ok(BTreeMap::new());
        };
        let payload = payload(&pod(), &parts, &referenced, &tokens, &facts)?;
        let show =
            |(path, file): (String, File)| (path, (String::from_utf8(file.bytes).unwrap(), format!("{:o}", file.mode)));
        Ok(payload.into_iter().map(show).collect())
    }

    #[test]
    fn files_of_every_source() {
        let map = json!({"name": "v", "configMap": {"name": "map", "defaultMode": 0o400, "items": [{"key": "a.txt", "path": "x/a"}, {"key": "b.txt", "path": "b", "mode": 0o755}]}});
        let projected = json!({"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "map", "items": [{"key": "a.txt", "path": "ca.crt"}]}},
            {"secret": {"name": "none", "optional": true}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
                {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}},
        ]}});
        insta::assert_yaml_snapshot!([
            files(map),
            files(json!({"name": "v", "configMap": {"name": "map"}})),
            files(json!({"name": "v", "secret": {"secretName": "secret", "defaultMode": 0o600}})),
            files(projected),
        ]);
    }

    #[test]
    fn what_cannot_be_mounted_says_why_and_what_to_do() {
        insta::assert_yaml_snapshot!([
            files(json!({"name": "v", "configMap": {"name": "none"}})),
            files(json!({"name": "v", "configMap": {"name": "map", "items": [{"key": "none", "path": "x"}]}})),
            files(json!({"name": "v", "configMap": {"name": "map", "items": [{"key": "a.txt", "path": "../x"}]}})),
            files(json!({"name": "v", "hostPath": {"path": "/etc"}})),
            files(json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})),
            files(json!({"name": "v", "nfs": {"server": "s", "path": "/"}})),
        ]);
    }
}
