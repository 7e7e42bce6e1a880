//! Everything that is done to bring clusters up on Docker, in its order: what `meshproof plan --provider kind` shows is what
//! `up` carries out. Pure.

use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::addresses::MeshNetwork;
use super::commands::{self, CommandLine};
use super::istio::{self, Installation, Way};
use super::load_balancers::{self, LoadBalancers, Metallb};
use super::lock::Lock;
use super::router;
use crate::image::ours::ROUTER;
use crate::install::manifest;
use crate::topology::{Cluster, Provider, Topology, kind};

/// The file with images of ours, in the folder of the environment.
pub const ARCHIVE: &str = "images.tar";
/// The folder with what was unpacked of a bundle, in the folder of the environment.
pub const BUNDLE: &str = "bundle";
/// What stands for the address of a gateway that does not run yet.
const LATER: &str = "ADDRESS-OF-THE-EASTWEST-GATEWAY";

/// A topology has no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of values of ours is broken.
    #[error(transparent)]
    Values(#[from] manifest::Error),
}

/// What is wanted, beside the topology.
#[derive(Clone, Debug)]
pub struct Wanted<'plan> {
    /// Name of the environment.
    pub environment: &'plan str,
    /// Its folder.
    pub directory: &'plan Utf8Path,
    /// The image of every node.
    pub node_image: &'plan str,
    /// How Istio is installed, where that is wanted.
    pub istio: Option<&'plan Way>,
    /// Archives of images that nodes get besides ours.
    pub archives: &'plan [Utf8PathBuf],
    /// Its networks.
    pub networks: &'plan [MeshNetwork],
    /// Who gives LoadBalancers their addresses.
    pub load_balancers: LoadBalancers,
}

/// A cluster to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPlan {
    /// Its name in the topology.
    pub name: String,
    /// Its network there.
    pub network: String,
    /// Its name for kind.
    pub kind_name: String,
    /// The containers of its nodes, that of the control plane first.
    pub nodes: Vec<String>,
    /// Its kubeconfig.
    pub kubeconfig: Utf8PathBuf,
    /// Its configuration: file and content.
    pub config: (Utf8PathBuf, String),
    /// Makes it.
    pub create: CommandLine,
    /// Load images into its nodes: ours, and those of a bundle.
    pub loads: Vec<CommandLine>,
    /// MetalLB, where that is wanted.
    pub metallb: Option<Metallb>,
    /// Installs Istio, where that is wanted here.
    pub istio: Option<Installation>,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name of the environment.
    pub environment: String,
    /// Networks, each a bridge.
    pub networks: Vec<MeshNetwork>,
    /// Clusters.
    pub clusters: Vec<ClusterPlan>,
    /// Who gives LoadBalancers their addresses.
    pub load_balancers: LoadBalancers,
    /// How Istio is installed, where that is wanted.
    pub istio: Option<Way>,
    /// The file with our images.
    pub archive: Utf8PathBuf,
}

/// The plan for the clusters of a topology that kind makes.
///
/// # Errors
/// [`Error`].
pub fn plan(topology: &Topology, wanted: &Wanted<'_>) -> Result<Plan, Error> {
    let archive = wanted.directory.join(ARCHIVE);
    let archives = || std::iter::once(&archive).chain(wanted.archives);
    let mut clusters = Vec::new();
    for cluster in topology.clusters_of(Provider::Kind) {
        let folder = wanted.directory.join("clusters").join(&cluster.name);
        let kind_name = kind_name(wanted.environment, &cluster.name);
        let config = folder.join("kind.yaml");
        let kubeconfig = folder.join("kubeconfig");
        let bridge = format!("meshproof-{}-{}", wanted.environment, cluster.network);
        let istio = wanted.istio.filter(|_| cluster.mesh);
        let istio = istio.map(|way| istio::installation(topology, cluster, &folder, LATER, way)).transpose()?;
        clusters.push(ClusterPlan {
            name: cluster.name.clone(),
            network: cluster.network.clone(),
            nodes: nodes(&kind_name, cluster.nodes),
            create: commands::create(&kind_name, &config, wanted.node_image, &kubeconfig, &bridge),
            loads: archives().map(|archive| commands::load(&kind_name, archive)).collect(),
            config: (config, kind::config(topology, cluster, "the topology")),
            kind_name,
            metallb: metallb(topology, cluster, wanted, &kubeconfig),
            kubeconfig,
            istio,
        });
    }
    Ok(Plan {
        environment: wanted.environment.to_owned(),
        networks: wanted.networks.to_vec(),
        clusters,
        load_balancers: wanted.load_balancers,
        istio: wanted.istio.cloned(),
        archive,
    })
}

fn metallb(topology: &Topology, cluster: &Cluster, wanted: &Wanted<'_>, kubeconfig: &Utf8Path) -> Option<Metallb> {
    let network = wanted.networks.iter().find(|network| network.name == cluster.network)?;
    let beside = topology.clusters_of(Provider::Kind).filter(|other| other.network == cluster.network);
    let position = beside.clone().position(|other| other.name == cluster.name)?;
    let number = |count: usize| u8::try_from(count).expect("invariant: a checked topology has few clusters");
    let place = (number(position), number(beside.count()));
    (wanted.load_balancers == LoadBalancers::Metallb)
        .then(|| load_balancers::metallb(&Lock::read(), kubeconfig, network, place))
}

/// The name of a cluster for kind.
#[must_use]
pub fn kind_name(environment: &str, cluster: &str) -> String {
    format!("{environment}-{cluster}")
}

/// How kind names the containers of nodes.
fn nodes(cluster: &str, number: u8) -> Vec<String> {
    let worker = |position: u8| match position {
        1 => format!("{cluster}-worker"),
        position => format!("{cluster}-worker{position}"),
    };
    std::iter::once(format!("{cluster}-control-plane")).chain((1..number).map(worker)).collect()
}

impl Plan {
    /// The network of a cluster.
    #[must_use]
    pub fn network(&self, name: &str) -> Option<&MeshNetwork> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// The plan as people read it: what is done to Docker by its own command line, which they could type instead.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = "networks, and the router between them\n".to_owned();
        for network in &self.networks {
            let docker = &network.docker;
            line(
                &mut text,
                &format!(
                    "docker network create --subnet {} --gateway {} --ip-range {} {}",
                    docker.subnet, docker.gateway, docker.dynamic, docker.name
                ),
            );
        }
        self.router(&mut text);
        for cluster in &self.clusters {
            let _ = write!(text, "cluster {}\n  {}:\n{}", cluster.name, cluster.config.0, indented(&cluster.config.1));
            line(&mut text, &cluster.create.to_string());
            self.routes(cluster, &mut text);
            cluster.loads.iter().for_each(|load| line(&mut text, &load.to_string()));
            let Some(metallb) = &cluster.metallb else { continue };
            line(&mut text, &metallb.install.to_string());
            metallb.objects.iter().for_each(|object| line(&mut text, &format!("apply {object}")));
        }
        for cluster in &self.clusters {
            let Some(istio) = &cluster.istio else { continue };
            let _ = writeln!(text, "mesh of {}", cluster.name);
            for (path, content) in &istio.files {
                let _ = write!(text, "  {path}:\n{}", indented(content));
            }
            let commands = istio.control_plane.iter().chain(&istio.gateways);
            commands.for_each(|command| line(&mut text, &command.to_string()));
        }
        text
    }

    fn router(&self, text: &mut String) {
        // What is on one network needs nobody between.
        let [first, _, ..] = self.networks.as_slice() else { return };
        let name = router::container_name(&self.environment);
        line(
            text,
            &format!(
                "docker create --name {name} --network {} --ip {} --cap-drop ALL --cap-add NET_ADMIN --sysctl net.ipv4.ip_forward=1 {ROUTER}",
                first.docker.name,
                first.router()
            ),
        );
        for network in self.networks.iter().skip(1) {
            line(text, &format!("docker network connect --ip {} {} {name}", network.router(), network.docker.name));
        }
        line(text, &format!("docker start {name}"));
    }

    fn routes(&self, cluster: &ClusterPlan, text: &mut String) {
        let Some(own) = self.network(&cluster.network) else { return };
        for node in &cluster.nodes {
            for other in self.networks.iter().filter(|other| other.name != own.name) {
                line(
                    text,
                    &format!(
                        "docker run --rm --network container:{node} --cap-drop ALL --cap-add NET_ADMIN --entrypoint ip {ROUTER} route replace {} via {}",
                        other.docker.subnet,
                        own.router()
                    ),
                );
            }
        }
    }
}

fn line(text: &mut String, command: &str) {
    let _ = writeln!(text, "  {command}");
}

fn indented(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::provider::kind::commands::Charts;
    use crate::provider::kind::istio::Installer;

    /// Istio, by Helm from its repository.
    fn way() -> Way {
        let charts = Charts::Repository("https://charts.example".to_owned());
        Way {
            version: "1.30.3".to_owned(),
            hub: "registry.example/istio".to_owned(),
            installer: Installer::Helm,
            charts,
        }
    }

    fn planned(topology: &str, istio: Option<&Way>, archives: &[Utf8PathBuf]) -> Plan {
        planned_with(topology, istio, archives, LoadBalancers::BuiltIn)
    }

    fn planned_with(
        topology: &str,
        istio: Option<&Way>,
        archives: &[Utf8PathBuf],
        load_balancers: LoadBalancers,
    ) -> Plan {
        let path = format!("{}/../scenarios/topologies/{topology}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a topology");
        let topology = crate::topology::validate::read("t.yaml", &text).expect("it is right");
        let topology = topology.seen_by(Provider::Kind);
        let used = ["172.29.0.0/24".parse().expect("a subnet")];
        let networks = crate::provider::kind::addresses::networks(&topology, "mine", &used).expect("room");
        let wanted = Wanted {
            environment: "mine",
            directory: Utf8Path::new("/state/mine"),
            node_image: "kindest/node:v1.35.8@sha256:07",
            istio,
            archives,
            networks: &networks,
            load_balancers,
        };
        plan(&topology, &wanted).expect("a plan")
    }

    #[test]
    fn metallb_is_installed_on_each_cluster_with_addresses_of_its_own() {
        let text = planned_with("flat-network", None, &[], LoadBalancers::Metallb).text();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("metallb")).collect();
        insta::assert_snapshot!(lines.join("\n"));
        for other in [LoadBalancers::BuiltIn, LoadBalancers::CloudProviderKind] {
            assert!(!planned_with("flat-network", None, &[], other).text().contains("metallb"));
        }
    }

    /// Multi-primary on several networks, on one, and a primary with its remote.
    #[rstest]
    #[case("two-clusters")]
    #[case("flat-network")]
    #[case("primary-remote")]
    #[case("management-three-clusters")]
    #[case("management-on-kind")]
    fn what_is_shown_is_as_written_down(#[case] topology: &str) {
        insta::assert_snapshot!(topology, planned(topology, Some(&way()), &[]).text());
    }

    /// The same, by Istio's own command line: only what is done about the mesh.
    #[rstest]
    #[case("two-clusters")]
    #[case("primary-remote")]
    #[case("management-three-clusters")]
    fn what_istioctl_installs_is_as_written_down(#[case] topology: &str) {
        let way = Way { installer: Installer::Istioctl, ..way() };
        let text = planned(topology, Some(&way), &[]).text();
        let mesh = &text[text.find("mesh of").expect("a mesh")..];
        assert!(!text.contains("helm"), "{text}");
        insta::assert_snapshot!(format!("{topology}-by-istioctl"), mesh);
    }

    #[test]
    fn with_a_bundle_charts_are_files_and_its_images_go_to_every_node() {
        let way = Way { charts: Charts::Folder("/state/mine/charts".into()), ..way() };
        let archive = "/state/mine/images/istio.tar".into();
        let plan = planned("two-clusters", Some(&way), &[archive]);
        let text = plan.text();
        let installs: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("helm")).collect();
        assert!(
            installs[0].starts_with("helm upgrade --install istio-base /state/mine/charts/base-1.30.3.tgz --namespace")
        );
        assert!(installs.iter().all(|line| !line.contains("--repo") && line.contains("-1.30.3.tgz")), "{installs:?}");
        for cluster in &plan.clusters {
            let loads: Vec<String> = cluster.loads.iter().map(ToString::to_string).collect();
            assert_eq!(loads.len(), 2);
            assert!(loads[1].contains("kind load image-archive /state/mine/images/istio.tar --name mine-cluster"));
        }
    }

    /// What is recorded of them is what lets a later `up` uninstall one.
    #[test]
    fn gateways_are_releases_of_helm_and_of_nobody_else() {
        let releases = |way: &Way| {
            let clusters = planned("two-clusters", Some(way), &[]).clusters;
            clusters[0].istio.as_ref().expect("a mesh").releases.clone()
        };
        let by_helm = releases(&way());
        assert!(by_helm.contains(&"istio-eastwestgateway"), "{by_helm:?}");
        assert_eq!(releases(&Way { installer: Installer::Istioctl, ..way() }), [""; 0]);
        let uninstall = commands::helm_uninstall(by_helm[0], Utf8Path::new("/state/kubeconfig")).to_string();
        let rest = "--namespace istio-system --kubeconfig /state/kubeconfig --wait --timeout 5m";
        assert_eq!(uninstall, format!("helm uninstall {} {rest}", by_helm[0]));
    }

    #[test]
    fn the_embedded_mesh_needs_no_helm() {
        let text = planned("two-clusters", None, &[]).text();
        assert!(text.contains("kind create cluster") && !text.contains("helm"), "{text}");
    }

    #[test]
    fn nodes_are_called_as_kind_calls_them() {
        assert_eq!(nodes("c", 4), ["c-control-plane", "c-worker", "c-worker2", "c-worker3"]);
    }

    /// Helm would read a value that is no YAML as something else, or not at all.
    #[test]
    fn every_file_of_values_is_a_map() {
        for topology in ["two-clusters", "primary-remote", "two-trust-domains", "management-three-clusters"] {
            for cluster in planned(topology, Some(&way()), &[]).clusters {
                for (path, text) in cluster.istio.iter().flat_map(|istio| &istio.files) {
                    let value: serde_json::Value = serde_saphyr::from_str(text).expect("YAML");
                    assert!(value.is_object(), "{path}: {value}");
                }
            }
        }
    }
}
