//! From the YAML form to a checked [`Topology`]: every problem of the file at once.

use std::collections::BTreeMap;

use super::cidr::{CidrError, Ipv4Cidr};
use super::file::{AppFile, ClusterFile, PlacementFile, TopologyFile};
use super::{App, Cluster, Mesh, Placement, Topology, Trust};
use crate::diagnostic::tree::Path;
use crate::diagnostic::{self, Document, Problem, Problems, Severity, suggest};

/// How many clusters one environment may have: node subnets are numbered in one byte, and more do not fit a machine.
pub const MOST_CLUSTERS: usize = 16;

/// Reads a topology.
///
/// # Errors
/// Every problem of the file, in its order.
pub fn read(name: &str, text: &str) -> Result<Topology, Problems> {
    match check(name, text) {
        (Some(topology), _) => Ok(topology),
        (None, problems) => Err(problems),
    }
}

/// Reads a topology; problems may be there even when there is one, but then only warnings.
#[must_use]
pub fn check(name: &str, text: &str) -> (Option<Topology>, Problems) {
    match decoded(name, text) {
        Ok((topology, problems)) => ((!problems.has_errors()).then_some(topology), problems.sorted()),
        Err(problems) => (None, problems.sorted()),
    }
}

fn decoded(name: &str, text: &str) -> Result<(Topology, Problems), Problems> {
    let document = Document::parse(name, text)?;
    let (file, problems) = diagnostic::decode::<TopologyFile>(&document)?;
    let mut check = Check { document: &document, problems };
    let topology = check.topology(&file);
    Ok((topology, check.problems))
}

struct Check<'input> {
    document: &'input Document,
    problems: Problems,
}

impl Check<'_> {
    fn error(&mut self, path: &Path, message: impl Into<String>) -> &mut Problem {
        self.problems.add(self.document.problem(Severity::Error, path, message))
    }

    fn topology(&mut self, file: &TopologyFile) -> Topology {
        let root = Path::root();
        self.label(&root.key("name"), &file.name);
        self.networks(file);
        self.unique(&root.key("clusters"), file.clusters.iter().map(|cluster| cluster.name.as_str()), "cluster");
        self.cluster_count(file);
        let clusters: Vec<Placed> = file
            .clusters
            .iter()
            .enumerate()
            .map(|(index, cluster)| self.cluster(&root.key("clusters").index(index), cluster, file))
            .collect();
        self.overlaps(&clusters);
        self.providers(file);
        self.domain(&root.key("trust").key("domain"), &file.trust.domain);
        self.label(&root.key("mesh").key("id"), &file.mesh.id);
        self.gateways(file);
        self.control_planes(file);
        let management = self.management(file);
        let apps = self.apps(file);
        let vms = self.vms(file);
        Topology {
            name: file.name.clone(),
            description: file.description.clone(),
            provider: file.provider,
            networks: file.networks.iter().map(|network| network.name.clone()).collect(),
            clusters: clusters.into_iter().map(|cluster| cluster.cluster).collect(),
            trust: Trust {
                domain: file.trust.domain.clone(),
                root: file.trust.root,
                intermediate: file.trust.intermediate,
            },
            mesh: Mesh { id: file.mesh.id.clone(), gateways: file.mesh.gateways.clone() },
            discovery: file.discovery,
            management,
            apps,
            vms,
        }
    }

    fn networks(&mut self, file: &TopologyFile) {
        let path = Path::root().key("networks");
        self.unique(&path, file.networks.iter().map(|network| network.name.as_str()), "network");
        for (index, network) in file.networks.iter().enumerate() {
            let path = path.index(index).key("name");
            self.label(&path, &network.name);
            let of_cluster = file.clusters.iter().any(|cluster| cluster.network == network.name);
            if !of_cluster && !file.vms.iter().any(|vm| vm.network == network.name) {
                let message = format!("nothing is on network `{}`", network.name);
                self.problems.add(self.document.problem(Severity::Warning, &path, message));
            }
        }
    }

    fn cluster_count(&mut self, file: &TopologyFile) {
        let path = Path::root().key("clusters");
        if file.clusters.is_empty() {
            self.error(&path, "a topology needs at least one cluster");
        } else if file.clusters.len() > MOST_CLUSTERS {
            let message = format!(
                "{} clusters are more than the {MOST_CLUSTERS} that one environment can have",
                file.clusters.len()
            );
            self.error(&path, message);
        }
    }

    fn cluster(&mut self, path: &Path, file: &ClusterFile, topology: &TopologyFile) -> Placed {
        self.label(&path.key("name"), &file.name);
        let networks: Vec<&str> = topology.networks.iter().map(|network| network.name.as_str()).collect();
        if !networks.contains(&file.network.as_str()) {
            let message = format!("unknown network `{}`", file.network);
            self.error(&path.key("network"), message).help(suggest::help(&file.network, networks));
        }
        let pods = self.subnet(&path.key("podSubnet"), &file.pod_subnet, 24);
        let services = self.subnet(&path.key("serviceSubnet"), &file.service_subnet, 24);
        if let (Some(pods), Some(services)) = (pods, services)
            && pods.overlaps(services)
        {
            let message = format!("podSubnet {pods} and serviceSubnet {services} of {} overlap", file.name);
            let related = self.document.span(&path.key("serviceSubnet"));
            self.error(&path.key("podSubnet"), message)
                .related(related, "overlaps with this")
                .help("a cluster tells a pod from a Service by its address; choose subnets without a common address");
        }
        let trust_domain = file.trust_domain.clone().unwrap_or_else(|| topology.trust.domain.clone());
        if file.trust_domain.is_some() {
            self.domain(&path.key("trustDomain"), &trust_domain);
        }
        let unset: Ipv4Cidr = "0.0.0.0/32".parse().expect("invariant: a subnet");
        let cluster = Cluster {
            name: file.name.clone(),
            provider: file.provider.filter(|provider| *provider != topology.provider),
            network: file.network.clone(),
            pod_subnet: pods.unwrap_or(unset),
            service_subnet: services.unwrap_or(unset),
            region: file.region.clone().unwrap_or_else(|| file.network.clone()),
            zone: file.zone.clone().unwrap_or_else(|| file.name.clone()),
            nodes: file.nodes,
            trust_domain,
            control_plane: file.control_plane.clone(),
            mesh: file.mesh,
        };
        Placed { cluster, path: path.clone(), pods, services }
    }

    fn subnet(&mut self, path: &Path, text: &str, longest_prefix: u8) -> Option<Ipv4Cidr> {
        match text.parse::<Ipv4Cidr>() {
            Ok(subnet) if subnet.prefix() > longest_prefix => {
                let message = format!("{subnet} has {} addresses, too few", subnet.size());
                self.error(path, message).help(format!("use a prefix of /{longest_prefix} or shorter"));
                None
            }
            Ok(subnet) => {
                self.reserved(path, subnet);
                Some(subnet)
            }
            Err(error @ CidrError::Shape(_)) => {
                self.error(path, error.to_string())
                    .help("write an address and a prefix length, such as `10.244.0.0/16`");
                None
            }
            Err(error @ CidrError::HostBits { subnet, .. }) => {
                self.error(path, error.to_string()).help(format!("write `{subnet}`"));
                None
            }
        }
    }

    fn reserved(&mut self, path: &Path, subnet: Ipv4Cidr) {
        for (range, why) in [
            ("127.0.0.0/8", "loopback addresses never leave a pod"),
            ("169.254.0.0/16", "link-local addresses are used inside the clusters"),
            ("172.30.0.0/16", "nodes have their addresses there"),
            ("224.0.0.0/3", "multicast and reserved addresses belong to no host"),
        ] {
            let reserved: Ipv4Cidr = range.parse().expect("invariant: a subnet");
            if subnet.overlaps(reserved) {
                let message = format!("{subnet} overlaps {range}");
                self.error(path, message).help(why);
            }
        }
    }

    /// Clusters on one network route each other's pods and reach each other's Services by name only, so pod subnets
    /// must differ there; across networks nothing is shared.
    fn overlaps(&mut self, clusters: &[Placed]) {
        for (index, later) in clusters.iter().enumerate() {
            for earlier in &clusters[..index] {
                if earlier.cluster.network != later.cluster.network {
                    continue;
                }
                self.overlap(later, "podSubnet", later.pods, earlier, "podSubnet", earlier.pods);
                self.overlap(later, "serviceSubnet", later.services, earlier, "podSubnet", earlier.pods);
                self.overlap(later, "podSubnet", later.pods, earlier, "serviceSubnet", earlier.services);
            }
        }
    }

    fn overlap(
        &mut self,
        later: &Placed,
        field: &str,
        subnet: Option<Ipv4Cidr>,
        earlier: &Placed,
        other_field: &str,
        other: Option<Ipv4Cidr>,
    ) {
        let (Some(subnet), Some(other)) = (subnet, other) else { return };
        if !subnet.overlaps(other) {
            return;
        }
        let (later_name, earlier_name) = (&later.cluster.name, &earlier.cluster.name);
        let message = format!(
            "{field} {subnet} of {later_name} overlaps {other_field} {other} of {earlier_name} on network {}",
            later.cluster.network
        );
        let related = self.document.span(&earlier.path.key(other_field));
        self.error(&later.path.key(field), message).related(related, format!("{other_field} of {earlier_name}")).help(
            "clusters on one network reach each other's pods; give them different subnets, or different networks",
        );
    }

    fn gateways(&mut self, file: &TopologyFile) {
        use super::GatewayKind::Eastwest;
        let mut meshed = file.clusters.iter().filter(|cluster| cluster.mesh);
        let several = meshed.next().is_some_and(|first| meshed.any(|cluster| cluster.network != first.network));
        if several && file.discovery != super::Discovery::None && !file.mesh.gateways.contains(&Eastwest) {
            self.error(
                &Path::root().key("mesh").key("gateways"),
                "clusters on different networks need the gateway `eastwest`",
            )
            .help("add `eastwest`, or set `discovery: none`");
        }
        let path = Path::root().key("mesh").key("gateways");
        for (index, gateway) in file.mesh.gateways.iter().enumerate() {
            if file.mesh.gateways[..index].contains(gateway) {
                self.error(&path.index(index), format!("gateway `{}` is named twice", gateway.deployment()));
            }
        }
    }

    fn apps(&mut self, file: &TopologyFile) -> Vec<App> {
        let mut apps = Vec::new();
        for (index, app) in file.apps.iter().enumerate() {
            let path = Path::root().key("apps").index(index);
            self.label(&path.key("namespace"), &app.namespace);
            if file.apps[..index].iter().any(|earlier| earlier.app == app.app && earlier.namespace == app.namespace) {
                self.error(
                    &path.key("namespace"),
                    format!("this application is already in namespace `{}`", app.namespace),
                )
                .help("put all its clusters into one entry");
            }
            apps.push(self.app(&path, app, file));
        }
        self.sidecars(file);
        apps
    }

    /// Sidecars are asked for by a label of the namespace, so one namespace has one answer.
    fn sidecars(&mut self, file: &TopologyFile) {
        let mut by_namespace: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for (index, app) in file.apps.iter().enumerate() {
            let (first, sidecar) = *by_namespace.entry(&app.namespace).or_insert((index, app.sidecar));
            if sidecar != app.sidecar {
                let related = self.document.span(&Path::root().key("apps").index(first).key("namespace"));
                let path = Path::root().key("apps").index(index).key("namespace");
                let message = format!("namespace `{}` would be both with and without sidecars", app.namespace);
                self.error(&path, message).related(related, "used here before").help("use another namespace");
            }
        }
    }

    fn app(&mut self, path: &Path, file: &AppFile, topology: &TopologyFile) -> App {
        let clusters: Vec<&str> = topology.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        let path = path.key("clusters");
        self.unique(&path, file.clusters.iter().map(|placement| placement.name.as_str()), "cluster");
        if file.clusters.is_empty() {
            self.error(&path, "this application runs nowhere");
        }
        let mut placements = Vec::new();
        for (index, placement) in file.clusters.iter().enumerate() {
            let path = path.index(index);
            if !clusters.contains(&placement.name.as_str()) {
                let message = format!("unknown cluster `{}`", placement.name);
                self.error(&path.key("name"), message).help(suggest::help(&placement.name, clusters.clone()));
            }
            let has_no_mesh = |cluster: &&ClusterFile| cluster.name == placement.name && !cluster.mesh;
            if file.sidecar && topology.clusters.iter().any(|cluster| has_no_mesh(&cluster)) {
                let message = format!("cluster `{}` has no mesh, so nothing there has a sidecar", placement.name);
                self.error(&path.key("name"), message).help("set `sidecar: false`, or choose another cluster");
            }
            let workloads = self.workloads(&path.key("versions"), file, placement);
            placements.push(Placement { cluster: placement.name.clone(), workloads });
        }
        App { app: file.app, namespace: file.namespace.clone(), sidecar: file.sidecar, placements }
    }

    fn workloads(&mut self, path: &Path, file: &AppFile, placement: &PlacementFile) -> Vec<String> {
        let services = file.app.services();
        for (service, versions) in &placement.versions {
            if !services.contains(&service.as_str()) {
                let problem = self.document.problem_with_key(
                    Severity::Error,
                    &path.key(service),
                    format!("unknown service `{service}`"),
                );
                self.problems.add(problem).help(suggest::help(service, services.iter().copied()));
                continue;
            }
            let known: Vec<&str> = file.app.versions(service).into_iter().filter_map(|(_, version)| version).collect();
            for (index, version) in
                versions.iter().enumerate().filter(|(_, version)| !known.contains(&version.as_str()))
            {
                let message = format!("{service} has no version `{version}`");
                self.error(&path.key(service).index(index), message).help(suggest::help(version, known.clone()));
            }
        }
        let runs = |service: &str, version: Option<&str>| match (placement.versions.get(service), version) {
            (Some(versions), Some(version)) => versions.iter().any(|wanted| wanted == version),
            _ => true,
        };
        services
            .iter()
            .flat_map(|service| {
                file.app.versions(service).into_iter().map(move |(name, version)| (*service, name, version))
            })
            .filter(|(service, _, version)| runs(service, *version))
            .map(|(_, name, _)| name.to_owned())
            .collect()
    }

    fn unique<'name>(&mut self, path: &Path, names: impl Iterator<Item = &'name str>, what: &str) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, name) in names.enumerate() {
            if let Some(first) = seen.get(name) {
                let related = self.document.span(&path.index(*first).key("name"));
                let message = format!("{what} `{name}` is named twice");
                self.error(&path.index(index).key("name"), message).related(related, "first named here");
            } else {
                seen.insert(name, index);
            }
        }
    }

    fn label(&mut self, path: &Path, name: &str) {
        if let Err(help) = dns_label(name) {
            self.error(path, format!("`{name}` is no valid name")).help(help);
        }
    }

    fn domain(&mut self, path: &Path, domain: &str) {
        if domain.len() > 253 || domain.split('.').any(|part| dns_label(part).is_err()) {
            self.error(path, format!("`{domain}` is no trust domain"))
                .help("use lower-case DNS labels joined by dots, such as `cluster.local`");
        }
    }
}

mod control_planes;
mod management;
mod providers;
mod vms;

struct Placed {
    cluster: Cluster,
    path: Path,
    pods: Option<Ipv4Cidr>,
    services: Option<Ipv4Cidr>,
}

/// Whether a text is a DNS label (RFC 1123), as most names in Kubernetes must be.
///
/// # Errors
/// What to do about it.
pub fn dns_label(name: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match name.as_bytes() {
        [] => Err("it must not be empty"),
        bytes if bytes.len() > 63 => Err("use at most 63 characters"),
        bytes if !bytes.iter().copied().all(allowed) => Err("use lower-case letters, digits and `-` only"),
        [b'-', ..] | [.., b'-'] => Err("it must start and end with a letter or digit"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
