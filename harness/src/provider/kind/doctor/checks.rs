//! Judges what was seen of a machine: each check says what was found, why it matters, and what mends it. Pure.

use serde::Serialize;

use super::machine::{Docker, Machine, Needs};
use crate::image::Reference;
use crate::provider::kind::istio::Installer;
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::provider::kind::lock::{Lock, Minor, Release};
use crate::report::words;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Fine,
    /// It works, and something may go wrong.
    Doubtful,
    /// It cannot work.
    Lacking,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub state: State,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command that mends it; none where nothing has to be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

/// Something that was looked at and how to say what came of it.
struct Look {
    name: &'static str,
    why: &'static str,
}

impl Look {
    fn fine(&self, found: impl Into<String>) -> Check {
        Check { name: self.name, state: State::Fine, found: found.into(), why: self.why, cure: None }
    }

    fn lacking(&self, found: impl Into<String>, cure: impl Into<String>) -> Check {
        Check { state: State::Lacking, cure: Some(cure.into()), ..self.fine(found) }
    }

    fn doubtful(&self, found: impl Into<String>, cure: impl Into<String>) -> Check {
        Check { state: State::Doubtful, ..self.lacking(found, cure) }
    }
}

/// Judges a machine. Without Docker nothing that Docker would have to tell is looked at.
#[must_use]
pub fn check(machine: &Machine, needs: &Needs, lock: &Lock) -> Vec<Check> {
    let mut checks = vec![docker(machine)];
    if let Ok(docker) = &machine.docker {
        checks.extend([
            cgroup(docker, needs),
            disk(docker, needs),
            throughput(docker),
            addresses(docker, needs),
            image_store(docker, machine),
            node_image(docker, machine, needs),
            proxies(docker, machine),
        ]);
    }
    checks.extend(["kind", "kubectl"].map(|name| tool(name, machine, lock)));
    checks.extend(needs.istio.as_ref().map(|istio| installer(machine, istio, needs.installer, lock)));
    checks.extend(load_balancers(machine, needs, lock));
    checks.extend([kubernetes(needs, lock), inotify(machine, needs), memory(machine, needs), cpus(machine, needs)]);
    checks
}

fn docker(machine: &Machine) -> Check {
    let look = Look { name: "docker", why: "clusters, their networks and the router between them are containers" };
    match &machine.docker {
        Err(unusable) => look.lacking(&unusable.why, format!("{}; or `--provider embedded`", unusable.cure)),
        Ok(docker) => look.fine(format!("it answers, with API {}", docker.api)),
    }
}

/// The first Kubernetes whose kubelet refuses the first version of control groups.
const WITHOUT_CGROUP_1: Minor = Minor { major: 1, minor: 35 };

fn cgroup(docker: &Docker, needs: &Needs) -> Check {
    let look = Look {
        name: "cgroup",
        why: "the kubelet of Kubernetes 1.35 and newer ends where control groups are version 1",
    };
    let wanted: Minor = needs.node_image.parse().unwrap_or_default();
    let found = format!("version {}, for a node of Kubernetes {wanted}", docker.cgroup);
    match docker.cgroup {
        1 if wanted >= WITHOUT_CGROUP_1 => look.lacking(
            found,
            "boot with systemd.unified_cgroup_hierarchy=1, or take an older node: --node-image with Kubernetes 1.34",
        ),
        1 => look.doubtful(found, "boot with systemd.unified_cgroup_hierarchy=1"),
        _ => look.fine(found),
    }
}

/// What the image of a node takes, once, and what a node takes beside it.
const DISK: (u64, u64) = (2 << 30, 3 << 29);

fn disk(docker: &Docker, needs: &Needs) -> Check {
    let look = Look { name: "disk", why: "a node that runs out of room evicts pods in the middle of a measurement" };
    let needed = DISK.0 + DISK.1 * needs.nodes;
    let Some(free) = docker.free else { return look.fine("Docker is on another machine, whose disk cannot be seen") };
    let found = format!("{} free, {} needed for {} nodes", words::bytes(free), words::bytes(needed), needs.nodes);
    if free < needed {
        look.lacking(found, "docker system prune --all removes what no container uses")
    } else {
        look.fine(found)
    }
}

/// What etcd needs of a disk, in bytes a second.
const SLOWEST: u64 = 20 << 20;

fn throughput(docker: &Docker) -> Check {
    let look =
        Look { name: "disk throughput", why: "on a slow disk etcd misses its deadlines, and API servers time out" };
    match docker.throughput {
        None => look.fine("not measured"),
        Some(speed) if speed < SLOWEST => look.doubtful(
            format!("{}/s, less than {}/s", words::bytes(speed), words::bytes(SLOWEST)),
            "put Docker's folder on a faster disk: `data-root` in /etc/docker/daemon.json",
        ),
        Some(speed) => look.fine(format!("{}/s", words::bytes(speed))),
    }
}

fn addresses(docker: &Docker, needs: &Needs) -> Check {
    let look =
        Look { name: "addresses", why: "a network of the host with the addresses of pods takes their packets away" };
    let overlap = needs.inside.iter().find_map(|(name, subnet)| {
        docker.subnets.iter().find(|other| other.overlaps(*subnet)).map(|other| (name, subnet, other))
    });
    let free = crate::provider::kind::addresses::free(
        &docker.subnets.iter().copied().chain(needs.inside.iter().map(|(_, subnet)| *subnet)).collect::<Vec<_>>(),
    );
    match overlap {
        Some((name, subnet, other)) => look.lacking(
            format!("{subnet}, the {name}, overlaps {other}, a network of Docker"),
            format!("docker network ls, and remove the one with {other}; or change the topology's subnets"),
        ),
        None if free.len() < needs.networks => look.lacking(
            format!("{} networks are needed, and {} subnets are free", needs.networks, free.len()),
            "docker network prune removes networks that nobody uses",
        ),
        None => look.fine(format!("{} subnets are free for {} networks", free.len(), needs.networks)),
    }
}

/// The first kind that loads images from containerd's store.
const LOADS_FROM_CONTAINERD: Minor = Minor { major: 0, minor: 28 };

fn image_store(docker: &Docker, machine: &Machine) -> Check {
    let look =
        Look { name: "image store", why: "older kind cannot load images that Docker keeps in containerd's store" };
    let kind = machine.tools.get("kind").and_then(|version| version.as_ref().ok());
    match kind {
        Some(version) if docker.containerd_store && *version < LOADS_FROM_CONTAINERD => look.lacking(
            format!("containerd's, and kind is {version}"),
            format!("install kind {LOADS_FROM_CONTAINERD} or newer, or set \"containerd-snapshotter\": false in /etc/docker/daemon.json"),
        ),
        _ if docker.containerd_store => look.fine("containerd's"),
        _ if docker.storage == "vfs" => look.doubtful(
            "vfs, which copies every layer for every container",
            "set \"storage-driver\": \"overlay2\" in /etc/docker/daemon.json",
        ),
        _ => look.fine(docker.storage.clone()),
    }
}

fn node_image(docker: &Docker, machine: &Machine, needs: &Needs) -> Check {
    let look = Look { name: "node image", why: "a node is a container of this image" };
    let image = &needs.node_image;
    if has(docker, image) {
        return look.fine(format!("{image} is here"));
    }
    match &machine.registry {
        Ok(()) => look.fine(format!("{image} is not here, and its registry answers")),
        Err(reason) => look.lacking(
            format!("{image} is not here, and its registry does not answer: {reason}"),
            by_hand(&Reference::parse(image)),
        ),
    }
}

/// How an image gets here without a registry. What is saved by its digest has no name where it is loaded.
fn by_hand(image: &Reference) -> String {
    let (pull, tagged) = (image.pull(), image.tagged());
    format!(
        "where there is a network: {pull} && docker save {tagged} -o node.tar; here: docker load -i node.tar, and \
         --node-image {tagged}; or a bundle: cargo xtask bundle there, --bundle FILE here"
    )
}

/// Whether an image is there, by its name or its digest.
#[must_use]
pub fn has(docker: &Docker, image: &str) -> bool {
    docker.images.contains(image) || docker.images.contains(&Reference::parse(image).pulled())
}

fn proxies(docker: &Docker, machine: &Machine) -> Check {
    let look = Look {
        name: "proxies",
        why: "kind hands proxy variables to nodes, whose calls of each other must not go there",
    };
    let set = |name: &str| machine.proxies.get(name).filter(|value| !value.is_empty());
    let passed_on: Vec<&str> = ["HTTP_PROXY", "HTTPS_PROXY"].into_iter().filter(|name| set(name).is_some()).collect();
    if passed_on.is_empty() {
        return match docker.proxies.get("HTTPS_PROXY").filter(|value| !value.is_empty()) {
            Some(proxy) => look.fine(format!("Docker pulls through {proxy}; nodes get none")),
            None => look.fine("none"),
        };
    }
    let exempt = set("NO_PROXY").cloned().unwrap_or_default();
    let missing: Vec<&str> = ["172.29.0.0/16", ".svc", ".cluster.local"]
        .into_iter()
        .filter(|part| !exempt.split(',').any(|word| word.trim() == *part))
        .collect();
    let found = format!("{} set, NO_PROXY is {exempt:?}", passed_on.join(" and "));
    if missing.is_empty() {
        look.fine(found)
    } else {
        look.lacking(found, format!("export NO_PROXY=\"$NO_PROXY,{}\"", missing.join(",")))
    }
}

/// What installs Istio: what the user says, else Helm, or Istio's own command line in its place.
fn installer(machine: &Machine, release: &Release, wanted: Option<Installer>, lock: &Lock) -> Check {
    let helm = tool("helm", machine, lock);
    let istioctl = istioctl(machine, release);
    match wanted {
        Some(Installer::Istioctl) => istioctl,
        None if helm.state != State::Fine && istioctl.state == State::Fine => istioctl,
        None if helm.state != State::Fine && machine.tools.contains_key("istioctl") => {
            Check { found: format!("{}; istioctl: {}", helm.found, istioctl.found), ..helm }
        }
        _ => helm,
    }
}

/// It has the charts of its own release in it.
fn istioctl(machine: &Machine, release: &Release) -> Check {
    let look = Look { name: "istioctl", why: "it installs Istio" };
    let version = &release.version;
    let cure = format!(
        "install istioctl {version}: https://istio.io/latest/docs/setup/install/istioctl/; or --istio-installer helm"
    );
    match machine.tools.get("istioctl") {
        Some(Ok(found)) if Ok(*found) == version.parse() => look.fine(format!("version {found}")),
        Some(Ok(found)) => look.lacking(format!("version {found}, and Istio {version} needs its own"), cure),
        Some(Err(reason)) => look.lacking(reason.clone(), cure),
        None => look.lacking("there is no program `istioctl` on PATH", cure),
    }
}

fn tool(name: &'static str, machine: &Machine, lock: &Lock) -> Check {
    let why = match name {
        "kind" => "it makes the clusters",
        "helm" => "it installs Istio",
        _ => "reports name commands for it, and kind's own messages do",
    };
    let look = Look { name, why };
    let range = &lock.tools[name];
    let cure = match name {
        "kind" => {
            "install it: https://kind.sigs.k8s.io/docs/user/quick-start/#installation, or on Debian 13: sudo apt-get install kind"
        }
        "helm" => {
            "install it: https://helm.sh/docs/intro/install/; or istioctl of the release; or take the embedded mesh: --mesh embedded"
        }
        _ => "install it: https://kubernetes.io/docs/tasks/tools/",
    };
    match machine.tools.get(name) {
        Some(Ok(version)) if range.has(*version) => look.fine(format!("version {version}")),
        Some(Ok(version)) => look.lacking(format!("version {version}, and {range} is needed"), cure),
        Some(Err(reason)) => look.lacking(reason.clone(), cure),
        None => look.lacking(format!("there is no program `{name}` on PATH"), cure),
    }
}

/// What has to be there for addresses that somebody else gives.
fn load_balancers(machine: &Machine, needs: &Needs, lock: &Lock) -> Option<Check> {
    let look = Look { name: "load balancers", why: "a gateway without an address is reached by no other network" };
    match needs.load_balancers {
        LoadBalancers::BuiltIn => None,
        LoadBalancers::Metallb => {
            let helm = machine.tools.get("helm").and_then(|version| version.as_ref().ok());
            let fits = helm.is_some_and(|version| lock.tools["helm"].has(*version));
            Some(match fits {
                true => look.fine("helm is there, which installs MetalLB"),
                false => look.lacking(
                    format!("helm {} installs MetalLB, and is not there", lock.tools["helm"]),
                    "install it: https://helm.sh/docs/intro/install/; or leave --load-balancers out",
                ),
            })
        }
        LoadBalancers::CloudProviderKind if machine.cloud_provider_kind => Some(look.fine("cloud-provider-kind runs")),
        LoadBalancers::CloudProviderKind => Some(look.lacking(
            "cloud-provider-kind does not run",
            "start it in another terminal: sudo cloud-provider-kind; or leave --load-balancers out",
        )),
    }
}

fn kubernetes(needs: &Needs, lock: &Lock) -> Check {
    let look = Look { name: "kubernetes", why: "Istio is supported on some versions of Kubernetes only" };
    let version: Minor = match needs.node_image.parse() {
        Ok(version) => version,
        Err(_) => {
            return look.doubtful(format!("{} does not say its version", needs.node_image), "name one by its version");
        }
    };
    match &needs.istio {
        Some(Release { version: istio, kubernetes }) if !kubernetes.has(version) => {
            let fits = |image: &&str| image.parse().is_ok_and(|version| kubernetes.has(version));
            let mut locked = [lock.node_image()].into_iter().chain(lock.node_images.values().map(String::as_str).rev());
            let cure = locked.find(fits).map_or_else(
                || format!("leave --istio-version out, which takes {}", lock.istio.version),
                |image| format!("take a node image that fits: --node-image {image}"),
            );
            look.lacking(format!("{version}, and Istio {istio} is supported on {kubernetes}"), cure)
        }
        _ => look.fine(version.to_string()),
    }
}

/// Kernel limits for each node: watches and instances of inotify that its programs take.
const INOTIFY: [(&str, u64); 2] = [("fs.inotify.max_user_instances", 128), ("fs.inotify.max_user_watches", 65_536)];

fn inotify(machine: &Machine, needs: &Needs) -> Check {
    let look = Look {
        name: "inotify",
        why: "all nodes share these limits; kube-proxy and containers end with \"too many open files\"",
    };
    let known = INOTIFY.iter().filter_map(|(name, each)| Some((*name, machine.limits.get(*name)?, each * needs.nodes)));
    let short: Vec<_> = known.clone().filter(|(_, limit, needed)| *limit < needed).collect();
    if short.is_empty() {
        let found: Vec<String> = known.map(|(name, limit, _)| format!("{name} is {limit}")).collect();
        return look.fine(if found.is_empty() { "not to be seen here".to_owned() } else { found.join(", ") });
    }
    let found: Vec<String> = short
        .iter()
        .map(|(name, limit, needed)| format!("{name} is {limit}, {needed} needed for {} nodes", needs.nodes))
        .collect();
    let settings: Vec<String> = short.iter().map(|(name, _, needed)| format!("{name}={needed}")).collect();
    look.lacking(found.join(", "), format!("sudo sysctl -w {}", settings.join(" ")))
}

/// What a control-plane node with a mesh takes, and what a worker does.
const MEMORY: (u64, u64) = (3 << 29, 3 << 28);

fn memory(machine: &Machine, needs: &Needs) -> Check {
    let look = Look {
        name: "memory",
        why: "where it runs out the kernel ends an API server or a proxy, and a measurement means nothing",
    };
    let needed = MEMORY.0 * needs.clusters + MEMORY.1 * (needs.nodes - needs.clusters.min(needs.nodes));
    let found = format!("{} available, {} needed", words::bytes(machine.memory), words::bytes(needed));
    if machine.memory < needed {
        look.lacking(found, "end other programs, take a topology with fewer nodes, or `--provider embedded`")
    } else {
        look.fine(found)
    }
}

fn cpus(machine: &Machine, needs: &Needs) -> Check {
    let look = Look {
        name: "processors",
        why: "with too few, clusters come up slowly, and latencies are those of this machine",
    };
    let found = format!("{} for {} nodes", machine.cpus, needs.nodes);
    if machine.cpus < 2 {
        look.lacking(found, "take a machine with two processors or more, or `--provider embedded`")
    } else if machine.cpus < needs.nodes {
        look.doubtful(found, "take a topology with fewer nodes, or `--provider embedded`")
    } else {
        look.fine(found)
    }
}

#[cfg(test)]
mod tests;
