//! Looks at a machine: asks Docker, asks programs for their versions, reads the kernel's limits. Judges nothing, changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bollard::models::SystemInfo;
use bollard::query_parameters::ListImagesOptionsBuilder;
use camino::Utf8Path;
use docker_support::{Engine, Error};
use nix::sys::statvfs::statvfs;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::machine::{Docker, Machine, Unusable};
use crate::cluster::chain;
use crate::provider::kind::lock::Minor;

/// How long a program may take to say its version, and a registry to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How programs are asked for their version.
const TOOLS: [(&str, &[&str]); 4] = [
    ("kind", &["version"]),
    ("kubectl", &["version", "--client"]),
    ("helm", &["version", "--short"]),
    ("istioctl", &["version", "--remote=false"]),
];
/// Limits of the kernel.
const LIMITS: [&str; 2] = ["fs.inotify.max_user_instances", "fs.inotify.max_user_watches"];
/// Variables that programs and nodes take proxies from.
const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
/// How much is written to measure a disk, in bytes.
const SAMPLE: usize = 32 << 20;

/// Looks at this machine. Whether a registry answers is asked only where `node_image` is not here.
pub async fn observe(node_image: &str) -> Machine {
    let (docker, tools) = tokio::join!(docker(), tools());
    let here = docker.as_ref().is_ok_and(|docker| super::checks::has(docker, node_image));
    let registry = if here { Ok(()) } else { registry(node_image).await };
    Machine {
        docker,
        tools,
        limits: LIMITS.iter().filter_map(|name| Some(((*name).to_owned(), limit(name)?))).collect(),
        memory: memory(),
        cpus: std::thread::available_parallelism().map_or(1, |number| number.get() as u64),
        proxies: PROXIES.iter().filter_map(|name| Some(((*name).to_owned(), proxy(name)?))).collect(),
        cloud_provider_kind: runs("cloud-provider-kind"),
        registry,
    }
}

/// Whether a process of that program runs here.
fn runs(program: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| {
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        first.rsplit(|byte| *byte == b'/').next() == Some(program.as_bytes())
    })
}

async fn docker() -> Result<Docker, Unusable> {
    look_at_docker().await.map_err(|error| Unusable { why: chain(&error), cure: error.cure() })
}

async fn look_at_docker() -> Result<Docker, docker_support::Error> {
    let engine = Engine::connect(&docker_support::socket()?).await?;
    let client = engine.docker();
    let info = client.info().await.map_err(Error::refused("describe itself"))?;
    let options = ListImagesOptionsBuilder::default().build();
    let images = client.list_images(Some(options)).await.map_err(Error::refused("list images"))?;
    let names = images.into_iter().flat_map(|image| image.repo_tags.into_iter().chain(image.repo_digests));
    let subnets = engine.subnets().await?.iter().filter_map(|subnet| subnet.parse().ok()).collect();
    let folder = info.docker_root_dir.clone().unwrap_or_default();
    let folder = Utf8Path::new(&folder);
    let free = statvfs(folder.as_std_path()).ok().map(|found| found.blocks_available() * found.fragment_size());
    Ok(Docker {
        api: engine.api_version().to_string(),
        cgroup: info.cgroup_version.map_or(1, |version| if version.to_string() == "2" { 2 } else { 1 }),
        containerd_store: containerd_store(&info),
        free,
        throughput: throughput(folder),
        subnets,
        images: names.collect::<BTreeSet<_>>(),
        proxies: [("HTTP_PROXY", &info.http_proxy), ("HTTPS_PROXY", &info.https_proxy)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect(),
        storage: info.driver.unwrap_or_default(),
    })
}

/// With containerd's store the driver says what kind of thing it is.
pub(crate) fn containerd_store(info: &SystemInfo) -> bool {
    let status = info.driver_status.iter().flatten();
    status.into_iter().any(|pair| pair.iter().any(|word| word.contains("containerd.snapshotter")))
}

/// How fast the disk below a folder takes what has to stay: etcd waits for that with every write. `None` where this user may not
/// write there.
fn throughput(folder: &Utf8Path) -> Option<u64> {
    let mut file = tempfile_in(folder)?;
    let block = vec![0x5a; 1 << 20];
    let began = Instant::now();
    for _ in 0..SAMPLE / block.len() {
        file.write_all(&block).ok()?;
    }
    file.sync_data().ok()?;
    let micros = began.elapsed().as_micros().max(1);
    u64::try_from(SAMPLE as u128 * 1_000_000 / micros).ok()
}

/// A file without a name: it is gone with this process, however that ends.
fn tempfile_in(folder: &Utf8Path) -> Option<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).custom_flags(nix::libc::O_TMPFILE).mode(0o600).open(folder).ok()
}

async fn tools() -> BTreeMap<String, Result<Minor, String>> {
    let asked = TOOLS.map(async |(name, arguments)| Some((name.to_owned(), version(name, arguments).await?)));
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

/// What a program says of its version; `None` where there is no such program.
async fn version(name: &str, arguments: &[&str]) -> Option<Result<Minor, String>> {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let line = format!("`{name} {}`", arguments.join(" "));
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Err(_elapsed) => return Some(Err(format!("{line} does not end within {} s", PATIENCE.as_secs()))),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Ok(Err(error)) => return Some(Err(format!("{name} cannot be started: {error}"))),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Some(Err(format!("{line} ended with {}: {}", output.status, complaint.trim())));
    }
    Some(String::from_utf8_lossy(&output.stdout).parse())
}

fn limit(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

fn proxy(name: &str) -> Option<String> {
    std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).ok().filter(|value| !value.is_empty())
}

/// Whether the registry of an image takes connections.
async fn registry(image: &str) -> Result<(), String> {
    let host = registry_of(image);
    let address = if host.contains(':') { host.clone() } else { format!("{host}:443") };
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_elapsed) => Err(format!("{host}: no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The host that an image is pulled from.
fn registry_of(image: &str) -> String {
    let full = crate::image::archive::full(image);
    let host = full.split('/').next().unwrap_or_default();
    // The name in references and the host differ for this one registry.
    if host == "docker.io" { "registry-1.docker.io".to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_image_is_known() {
        assert_eq!(registry_of("kindest/node:v1.35.8@sha256:07"), "registry-1.docker.io");
        assert_eq!(registry_of("localhost:5001/node:1"), "localhost:5001");
    }

    #[tokio::test]
    async fn programs_that_are_missing_and_such_as_fail_are_told_apart() {
        assert_eq!(version("no-such-program", &[]).await, None);
        let failed = version("false", &[]).await.expect("there is one").expect_err("it fails");
        assert!(failed.contains("`false ` ended with exit status: 1"), "{failed}");
        assert_eq!(version("echo", &["v1.2.3"]).await, Some(Ok(Minor::new(1, 2))));
    }

    #[test]
    fn a_program_that_runs_is_seen() {
        let own = std::env::args().next().expect("a name");
        assert!(runs(own.rsplit('/').next().expect("a name")));
        assert!(!runs("no-such-program"));
    }

    #[tokio::test]
    async fn this_machine_has_memory_and_limits() {
        let machine = observe("localhost:1/node:v1.35.0").await;
        assert!(machine.memory > 1 << 20 && machine.cpus > 0);
        assert!(machine.limits.contains_key("fs.inotify.max_user_watches"));
        let reason = machine.registry.expect_err("nobody listens there");
        assert!(reason.starts_with("localhost:1: "), "{reason}");
    }
}
