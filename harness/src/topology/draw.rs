//! A topology as a small text drawing, for plans and consoles. ASCII only, at most 100 columns.

use super::vm::VmRuntime;
use super::{Cluster, Discovery, Intermediate, Provider, RootOfTrust, Topology, Vm};

/// Inner width of a box; two of them and the gap between fit 100 columns.
const WIDTH: usize = 44;
const GAP: &str = "    ";
/// No line is longer.
const MOST_COLUMNS: usize = 100;

/// The drawing, with a line feed at the end of each line.
#[must_use]
pub fn draw(topology: &Topology) -> String {
    let mut lines = vec![headline(topology)];
    if !topology.description.is_empty() {
        lines.push(topology.description.clone());
    }
    for pair in topology.clusters.chunks(2) {
        lines.push(String::new());
        lines.extend(side_by_side(topology, pair));
    }
    lines.push(String::new());
    lines.extend(joined(topology));
    lines.extend(topology.vms.iter().map(|vm| clipped(&machine(vm), MOST_COLUMNS)));
    lines.into_iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn headline(topology: &Topology) -> String {
    let providers =
        [(Provider::Embedded, "embedded"), (Provider::Kind, "kind"), (Provider::Existing, "existing clusters")];
    let providers = providers.iter().filter(|(provider, _)| topology.has_clusters_of(*provider));
    let provider = providers.map(|(_, name)| *name).collect::<Vec<_>>().join(" and ");
    let root = match topology.trust.root {
        RootOfTrust::Shared => "one root",
        RootOfTrust::PerCluster => "a root per cluster",
    };
    let intermediate = match topology.trust.intermediate {
        Intermediate::PerCluster => ", an intermediate per cluster",
        Intermediate::None => "",
    };
    let (name, mesh) = (&topology.name, &topology.mesh.id);
    let domains = topology.trust_domains().into_iter().collect::<Vec<_>>().join(", ");
    format!("{name} ({provider}): {mesh}, trust domain {domains}, {root}{intermediate}")
}

fn side_by_side(topology: &Topology, clusters: &[Cluster]) -> Vec<String> {
    let bodies: Vec<Vec<String>> = clusters.iter().map(|cluster| body(topology, cluster)).collect();
    let height = bodies.iter().map(Vec::len).max().unwrap_or(0);
    let row = |cell: &dyn Fn(usize) -> String| (0..clusters.len()).map(cell).collect::<Vec<_>>().join(GAP);
    let mut lines = vec![row(&|column| edge(&clusters[column].name, &clusters[column].network))];
    for line in 0..height {
        lines.push(row(&|column| cell(bodies[column].get(line).map_or("", String::as_str))));
    }
    lines.push(row(&|_| format!("+{}+", "-".repeat(WIDTH + 2))));
    lines
}

/// The upper edge of a box, with the names of cluster and network in it.
fn edge(cluster: &str, network: &str) -> String {
    let text = clipped(&format!(" {cluster} on {network} "), WIDTH);
    format!("+-{text}{}+", "-".repeat(WIDTH + 1 - text.chars().count()))
}

fn cell(text: &str) -> String {
    format!("| {:WIDTH$} |", clipped(text, WIDTH))
}

fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}..")
}

fn body(topology: &Topology, cluster: &Cluster) -> Vec<String> {
    let mut lines = vec![
        format!("{}/{}", cluster.region, cluster.zone),
        format!("pods {}  services {}", cluster.pod_subnet, cluster.service_subnet),
    ];
    match cluster.provider {
        Some(Provider::Kind) => lines.push("made by kind".to_owned()),
        Some(Provider::Existing) => lines.push("there already".to_owned()),
        Some(Provider::Embedded) | None => {}
    }
    for (namespace, sidecar, workloads) in namespaces(topology, cluster) {
        let outside = if sidecar { "" } else { " (no sidecar)" };
        lines.push(format!("{namespace}{outside}:"));
        lines.extend(wrapped(&workloads, WIDTH - 2).into_iter().map(|line| format!("  {line}")));
    }
    if topology.management.as_ref().is_some_and(|management| management.cluster == cluster.name) {
        lines.push("meshproof-hub: the management plane".to_owned());
    }
    if !cluster.mesh {
        lines.push("no mesh".to_owned());
        return lines;
    }
    let gateways: Vec<&str> = topology.mesh.gateways.iter().map(|gateway| gateway.deployment()).collect();
    if let Some(primary) = &cluster.control_plane {
        lines.push(format!("the control plane of {primary}"));
    }
    lines.push("istio-system:".to_owned());
    let control_plane = cluster.control_plane.is_none().then_some("istiod");
    let names: Vec<String> = control_plane.into_iter().chain(gateways).map(str::to_owned).collect();
    lines.extend(wrapped(&names, WIDTH - 2).into_iter().map(|line| format!("  {line}")));
    lines
}

/// What runs on a cluster by namespace, in the order of the file: name, whether it has sidecars, workloads.
fn namespaces<'names>(topology: &'names Topology, cluster: &Cluster) -> Vec<(&'names str, bool, Vec<String>)> {
    let mut namespaces: Vec<(&str, bool, Vec<String>)> = Vec::new();
    for app in &topology.apps {
        let Some(placement) = app.placements.iter().find(|placement| placement.cluster == cluster.name) else {
            continue;
        };
        match namespaces.iter_mut().find(|(name, _, _)| *name == app.namespace) {
            Some((_, _, workloads)) => workloads.extend(placement.workloads.iter().cloned()),
            None => namespaces.push((&app.namespace, app.sidecar, placement.workloads.clone())),
        }
    }
    namespaces
}

/// Words in lines that are at most so wide.
fn wrapped(words: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// A virtual machine, what runs on it, and how it belongs to a mesh.
fn machine(vm: &Vm) -> String {
    let programs: Vec<&str> = vm.programs.iter().map(|program| program.name.as_str()).collect();
    let played = match vm.runtime {
        // It is settled when it is brought up.
        VmRuntime::Auto => String::new(),
        runtime => format!(" ({})", runtime.word()),
    };
    format!(
        "{} on {}: virtual machine{played} with {}, joins {} as {}/{}",
        vm.name,
        vm.network,
        programs.join(" "),
        vm.cluster,
        vm.namespace,
        vm.service_account
    )
}

/// How the clusters reach each other, one line for each pair.
fn joined(topology: &Topology) -> Vec<String> {
    let discovery = match topology.discovery {
        Discovery::RemoteSecrets => "endpoints by remote secrets",
        Discovery::Hub if topology.is_federated() => "names *.global by the management plane",
        Discovery::Hub => "known to each other as the management plane is told",
        Discovery::None => "endpoints unknown to each other",
    };
    let mut lines = Vec::new();
    let meshed: Vec<&Cluster> = topology.meshed().collect();
    for (index, first) in meshed.iter().enumerate() {
        for second in &meshed[index + 1..] {
            let way = if first.network == second.network { "pod to pod" } else { "through east-west gateways only" };
            lines.push(format!("{} <-> {}: {way}, mutual TLS, {discovery}", first.name, second.name));
        }
    }
    lines
}
