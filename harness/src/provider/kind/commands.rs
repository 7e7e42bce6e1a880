//! The command lines of `kind` and `helm`, as data: the plan shows them and the bring-up runs them. Pure.

use camino::{Utf8Path, Utf8PathBuf};

use crate::report::words::quoted;

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables that it is given besides ours.
    pub environment: Vec<(&'static str, String)>,
}

impl std::fmt::Display for CommandLine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.environment {
            write!(formatter, "{name}={} ", quoted(value))?;
        }
        write!(formatter, "{}", self.program)?;
        self.arguments.iter().try_for_each(|word| write!(formatter, " {}", quoted(word)))
    }
}

/// Names the Docker network that kind puts nodes on.
const NETWORK: &str = "KIND_EXPERIMENTAL_DOCKER_NETWORK";
/// Lets kind use Docker where it would find another engine as well.
const ENGINE: (&str, &str) = ("KIND_EXPERIMENTAL_PROVIDER", "docker");
/// How long the control plane of a cluster may take.
const WAIT: &str = "180s";

fn kind(words: &[&str], network: Option<&str>) -> CommandLine {
    let network = network.map(|network| (NETWORK, network.to_owned()));
    CommandLine {
        program: "kind",
        arguments: words.iter().map(|word| (*word).to_owned()).collect(),
        environment: [(ENGINE.0, ENGINE.1.to_owned())].into_iter().chain(network).collect(),
    }
}

/// Creates a cluster on a network that is there. Its kubeconfig goes into a file of its own, never into the user's.
#[must_use]
pub fn create(name: &str, config: &Utf8Path, image: &str, kubeconfig: &Utf8Path, network: &str) -> CommandLine {
    let (config, kubeconfig) = (config.as_str(), kubeconfig.as_str());
    let options = ["--name", name, "--config", config, "--image", image, "--kubeconfig", kubeconfig, "--wait", WAIT];
    kind(&[&["create", "cluster"], options.as_slice()].concat(), Some(network))
}

/// Loads an archive of images into all nodes of a cluster in one pass.
#[must_use]
pub fn load(name: &str, archive: &Utf8Path) -> CommandLine {
    kind(&["load", "image-archive", archive.as_str(), "--name", name], None)
}

/// A chart of Istio on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chart {
    /// Name of the release.
    pub release: &'static str,
    /// Name of the chart.
    pub chart: &'static str,
    /// Files with values, the later ones before the earlier ones.
    pub values: Vec<Utf8PathBuf>,
}

/// Installs a chart, or brings one that is there to these values: run twice it does what it does once.
#[must_use]
pub fn helm(chart: &Chart, charts: &str, version: &str, kubeconfig: &Utf8Path) -> CommandLine {
    let mut arguments: Vec<String> =
        ["upgrade", "--install", chart.release, chart.chart, "--repo", charts, "--version", version]
            .map(str::to_owned)
            .to_vec();
    arguments.extend(["--namespace", "istio-system", "--kubeconfig", kubeconfig.as_str()].map(str::to_owned));
    arguments.extend(chart.values.iter().flat_map(|file| ["--values".to_owned(), file.to_string()]));
    arguments.extend(["--wait", "--timeout", "5m"].map(str::to_owned));
    CommandLine { program: "helm", arguments, environment: Vec::new() }
}
