//! Scenarios of mounts that lead out of a volume, or out of a container.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;
use substrate_node::fabric::Fabric;
use substrate_node::runtime::{Container, Mount, MountSource};

use crate::containers::{script, spec, start_error};
use crate::scenarios::{FOLDER, Facts, cluster, two_clusters};

/// A volume with links that lead out of it, a folder `outside` beside it, and containers that follow the links.
pub(crate) async fn confinement() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let (volume, outside) = (Path::new(FOLDER).join("volume"), Path::new(FOLDER).join("outside"));
    std::fs::create_dir_all(volume.join("real"))?;
    std::fs::create_dir(&outside)?;
    std::fs::write(volume.join("real/file"), "inside")?;
    let through = Path::new("/.host").join(outside.strip_prefix("/")?);
    symlink(&outside, volume.join("absolute"))?;
    symlink("../outside", volume.join("relative"))?;
    symlink("real", volume.join("inner"))?;
    symlink(&through, volume.join("old-root"))?;
    let whole = |target: PathBuf| Mount { source: MountSource::Bind(volume.clone()), target, read_only: false };

    let mut parts = BTreeMap::new();
    for part in ["absolute", "relative", "inner"] {
        let source = MountSource::Part { volume: volume.clone(), part: part.into() };
        let mut container = spec(part, &["cat", "/part/file"]);
        container.mounts = vec![Mount { source, target: "/part".into(), read_only: true }];
        let outcome = Container::spawn(container, pod.namespace()).await;
        parts.insert(part, start_error(outcome.map(drop)));
    }
    let mut targets =
        spec("targets", &["sh", "-c", "cd /.host/run/outside && echo *; cat /.host/run/outside/direct/real/file"]);
    targets.files = BTreeMap::from([(through.join("image"), std::env::current_exe()?)]);
    targets.mounts = vec![
        whole("/volume".into()),
        whole(through.join("direct")),
        whole("/volume/old-root/linked".into()),
        whole("/volume/../../../upwards".into()),
    ];
    let targets = script(&pod, targets).await?;
    let mut kernel = BTreeMap::new();
    for target in ["/proc/sys", "/proc/self/root/x"] {
        let mut container = spec("kernel", &["true"]);
        container.mounts = vec![whole(target.into())];
        let outcome = Container::spawn(container, pod.namespace()).await;
        kernel.insert(target, start_error(outcome.map(drop)));
    }
    let made: Vec<_> = std::fs::read_dir(&outside)?.flatten().map(|entry| entry.file_name()).collect();
    let made: Vec<_> = made.iter().map(|name| name.to_string_lossy()).collect();
    Ok(json!({"parts": parts, "targets": targets, "kernel": kernel, "made": made}))
}
