//! From a container of a pod to what the runtime starts: image, environment, command, mounts, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, PathBuf};

use k8s_openapi::api::core::v1::{Container as PodContainer, Pod, VolumeMount};

use super::cell::PodCell;
use super::observed::Failure;
use crate::beneath::{self, Bounds, Missing};
use crate::kubelet::context::ConfigRef;
use crate::kubelet::{dns, environment};
use crate::runtime::{CAPABILITY_NAMES, ContainerSpec, Mount, MountSource, StartError};

/// Where a container says why it ended, unless it names another file.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// What the runtime is to start.
///
/// # Errors
/// The waiting reason of the container, with what to do about it.
pub(super) async fn specification(
    cell: &PodCell,
    container: &PodContainer,
    restarts: i32,
) -> Result<ContainerSpec, Failure> {
    let config_error = |message: String| Failure::new("CreateContainerConfigError", message);
    let pod = cell.pod();
    let image = container.image.as_deref().unwrap_or_default();
    let rule = cell.context.images.resolve(image).map_err(|error| Failure::new("ErrImagePull", error.to_string()))?;
    let referenced = cell.context.fetch(&references(&cell.namespace, container)).await;
    let referenced = referenced.map_err(|error| config_error(format!("configuration could not be read: {error}")))?;
    let ip = cell.observed().ip;
    let facts = cell.context.facts(ip);
    let services = cell.context.service_variables(&pod);
    let variables =
        environment::environment(&pod, container, rule, services, &referenced, &facts).map_err(config_error)?;
    let mut mounts = mounts(cell, container, &variables).await.map_err(config_error)?;
    mounts.push(termination_log(cell, container).map_err(|error| config_error(error.to_string()))?);
    Ok(ContainerSpec {
        id: format!("{}/{}/{}", cell.namespace, cell.name, container.name),
        hostname: dns::host_name(&pod),
        files: rule.files.clone(),
        mounts,
        command: environment::command(container, rule, &variables),
        environment: variables,
        working_directory: container.working_dir.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from),
        capabilities: capabilities(container),
        resolv_conf: dns::resolv_conf(&pod, cell.context.cluster_dns, &cell.context.host_resolv_conf),
        hosts: ip.map(|ip| dns::hosts(&pod, ip)).unwrap_or_default(),
        read_only_root: container.security_context.as_ref().and_then(|context| context.read_only_root_filesystem)
            == Some(true),
        log_file: cell.log_file(&container.name, restarts),
    })
}

/// ConfigMaps and Secrets that a container's environment refers to.
pub(super) fn references(namespace: &str, container: &PodContainer) -> BTreeSet<ConfigRef> {
    let (config_maps, secrets) = environment::references(container);
    let config_maps = config_maps.iter().map(|name| ConfigRef::config_map(namespace, name));
    config_maps.chain(secrets.iter().map(|name| ConfigRef::secret(namespace, name))).collect()
}

/// Added capabilities only: a container has none to begin with.
fn capabilities(container: &PodContainer) -> Vec<String> {
    let capabilities =
        container.security_context.as_ref().and_then(|context| context.capabilities.clone()).unwrap_or_default();
    kept(&capabilities.add.unwrap_or_default(), &capabilities.drop.unwrap_or_default())
}

/// What is left, in the order of container runtimes: `ALL` first, then what is added by name, less what is dropped by
/// name. The prefix `CAP_` means nothing.
fn kept(add: &[String], drop: &[String]) -> Vec<String> {
    let plain = |names: &[String]| -> Vec<String> {
        names.iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned()).collect()
    };
    let (add, drop) = (plain(add), plain(drop));
    let all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let every = if all(&add) && !all(&drop) { &CAPABILITY_NAMES[..] } else { &[] };
    let named = add.iter().filter(|name| *name != "ALL").cloned();
    let added = every.iter().map(ToString::to_string).chain(named);
    added.filter(|name| !drop.contains(name)).collect()
}

async fn mounts(
    cell: &PodCell,
    container: &PodContainer,
    variables: &[(String, String)],
) -> Result<Vec<Mount>, String> {
    let volumes = cell.volumes.lock().await;
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.as_ref().and_then(|volumes| volumes.mount(&mount.name));
        let (path, read_only) = volume.ok_or_else(|| format!("there is no volume named \"{}\"", mount.name))?;
        let source = match part(mount, variables) {
            Some(part) => sub_path(path, PathBuf::from(part))?,
            None => MountSource::Bind(path),
        };
        mounts.push(Mount {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: read_only || mount.read_only == Some(true),
        });
    }
    Ok(mounts)
}

/// The part of a volume that is mounted; `None` for all of it.
fn part(mount: &VolumeMount, variables: &[(String, String)]) -> Option<String> {
    let expanded = mount.sub_path_expr.as_ref().map(|expression| environment::expand(expression, variables));
    expanded.or_else(|| mount.sub_path.clone()).filter(|part| !part.is_empty())
}

/// Looks for the part, and makes a directory where it is missing, as in Kubernetes. The volume's files belong to
/// containers: neither `..` nor a symbolic link may lead out of it, now or when it is mounted.
fn sub_path(volume: PathBuf, part: PathBuf) -> Result<MountSource, String> {
    let leaves = || {
        let cure = "use a relative path without \"..\", and no symbolic link that leads elsewhere";
        format!("the subPath \"{}\" leaves the volume; {cure}", part.display())
    };
    if !part.components().all(|component| matches!(component, Component::Normal(_))) {
        return Err(leaves());
    }
    let found = beneath::locate(&volume)
        .and_then(|folder| beneath::resolve_or_create(folder, &part, Bounds::Refused, Missing::Folder));
    match found {
        Ok(_) => Ok(MountSource::Part { volume, part }),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EXDEV | libc::ELOOP)) => Err(leaves()),
        Err(error) => Err(format!("the subPath \"{}\" cannot be made: {error}", part.display())),
    }
}

fn termination_log(cell: &PodCell, container: &PodContainer) -> std::io::Result<Mount> {
    let file = termination_file(cell, container);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&file, "")?;
    let target =
        container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(TERMINATION_LOG);
    Ok(Mount { source: MountSource::Bind(file), target: PathBuf::from(target), read_only: false })
}

/// The file behind a container's termination message.
pub(super) fn termination_file(cell: &PodCell, container: &PodContainer) -> PathBuf {
    cell.directory().join("termination").join(&container.name)
}

/// A failed start as a waiting reason, with what to do about it.
pub(super) fn start_failure(error: &StartError) -> Failure {
    let cure = match error {
        StartError::NoCommand => "; give the container a `command`, or its image's rule an `entrypoint`",
        StartError::CommandNotFound { .. } => {
            "; add the program to `files` of the image's rule, or use one that is installed on this machine"
        }
        StartError::NotExecutable { .. } => "; is it a program for this machine, and executable?",
        _ => "",
    };
    Failure::new(error.reason(), format!("{error}{cure}"))
}

/// What this node cannot do for a pod, whatever happens.
pub(super) fn unsupported(pod: &Pod) -> Option<Failure> {
    let spec = pod.spec.as_ref()?;
    let refused = |what: &str, cure: &str| {
        Some(Failure::new("CreateContainerConfigError", format!("{what} is not possible here: {cure}")))
    };
    if spec.host_network == Some(true) {
        return refused(
            "hostNetwork",
            "pods live in networks of their own; remove it, and reach the pod through a Service",
        );
    }
    if spec.host_pid == Some(true) || spec.host_ipc == Some(true) {
        return refused("hostPID or hostIPC", "containers do not see the machine's processes; remove it");
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let privileged = |container: &&PodContainer| {
        container.security_context.as_ref().and_then(|context| context.privileged) == Some(true)
    };
    if let Some(container) = containers.into_iter().find(privileged) {
        let cure = "name what it needs in securityContext.capabilities.add (NET_ADMIN, for instance)";
        return refused(&format!("privileged container {}", container.name), cure);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_capability_is_not_kept() {
        let kept = |add: &[&str], drop: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
            super::kept(&owned(add), &owned(drop))
        };
        let most = kept(&["ALL"], &["NET_ADMIN"]);
        assert!(most.len() == CAPABILITY_NAMES.len() - 1 && !most.contains(&"NET_ADMIN".to_owned()), "{most:?}");
        assert!(kept(&["NET_RAW"], &["CAP_NET_RAW"]).is_empty());
        assert!(kept(&["CAP_NET_RAW"], &["NET_RAW"]).is_empty());
        assert_eq!(kept(&["CAP_NET_ADMIN"], &["ALL"]), ["NET_ADMIN"]);
        assert!(kept(&["ALL"], &["ALL"]).is_empty());
    }
}
