//! The command lines of `kind`, `helm` and `istioctl`, as data: the plan shows them and the bring-up runs them. Pure.

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

impl CommandLine {
    /// The same charts with the same values by the same program, printed as objects in place of being installed.
    #[must_use]
    pub fn rendering(&self) -> Self {
        let mut arguments = Vec::with_capacity(self.arguments.len());
        let mut words = self.arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "upgrade" => arguments.push("template".to_owned()),
                "--install" | "--wait" => {}
                // These take a value; nobody is asked and nothing is awaited.
                "--timeout" | "--kubeconfig" => drop(words.next()),
                word => arguments.push(word.to_owned()),
            }
        }
        arguments.push("--include-crds".to_owned());
        Self { arguments, ..self.clone() }
    }
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

/// Where Istio's charts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charts {
    /// In a repository, which is asked for them.
    Repository(String),
    /// In a folder, as files such as `base-1.30.3.tgz`.
    Folder(Utf8PathBuf),
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

/// The file of a chart.
#[must_use]
pub fn chart_file(chart: &str, version: &str) -> String {
    format!("{chart}-{version}.tgz")
}

/// Installs a chart, or brings one that is there to these values: run twice it does what it does once.
#[must_use]
pub fn helm(chart: &Chart, charts: &Charts, version: &str, kubeconfig: &Utf8Path) -> CommandLine {
    let mut arguments: Vec<String> = ["upgrade", "--install", chart.release].map(str::to_owned).to_vec();
    match charts {
        Charts::Repository(url) => {
            arguments.extend([chart.chart, "--repo", url, "--version", version].map(str::to_owned));
        }
        Charts::Folder(folder) => arguments.push(folder.join(chart_file(chart.chart, version)).into_string()),
    }
    arguments.extend(["--namespace", RELEASES, "--kubeconfig", kubeconfig.as_str()].map(str::to_owned));
    arguments.extend(chart.values.iter().flat_map(|file| ["--values".to_owned(), file.to_string()]));
    arguments.extend(["--wait", "--timeout", "5m"].map(str::to_owned));
    CommandLine { program: "helm", arguments, environment: Vec::new() }
}

/// Installs MetalLB, or brings it to this release.
#[must_use]
pub fn metallb(charts: &str, version: &str, namespace: &str, kubeconfig: &Utf8Path) -> CommandLine {
    let chart = ["upgrade", "--install", "metallb", "metallb", "--repo", charts, "--version", version];
    let place = ["--namespace", namespace, "--create-namespace", "--kubeconfig", kubeconfig.as_str()];
    let words = [&chart[..], &place, &["--wait", "--timeout", "5m"]].concat();
    CommandLine { program: "helm", arguments: words.into_iter().map(str::to_owned).collect(), environment: Vec::new() }
}

/// Where releases of Istio are.
pub const RELEASES: &str = "istio-system";

/// Uninstalls a release, and waits until what it brought is gone.
#[must_use]
pub fn helm_uninstall(release: &str, kubeconfig: &Utf8Path) -> CommandLine {
    let words = ["uninstall", release, "--namespace", RELEASES, "--kubeconfig", kubeconfig.as_str()];
    let arguments = words.into_iter().chain(["--wait", "--timeout", "5m"]).map(str::to_owned).collect();
    CommandLine { program: "helm", arguments, environment: Vec::new() }
}

/// Installs what an IstioOperator says, or brings what is there to it: run twice it does what it does once.
#[must_use]
pub fn istioctl(operator: &Utf8Path, kubeconfig: &Utf8Path) -> CommandLine {
    let words = ["install", "--skip-confirmation", "--filename", operator.as_str()];
    let options = ["--kubeconfig", kubeconfig.as_str(), "--readiness-timeout", "5m"];
    let arguments = words.into_iter().chain(options).map(str::to_owned).collect();
    CommandLine { program: "istioctl", arguments, environment: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_rendered_as_it_would_be_installed() {
        let chart =
            Chart { release: "istiod", chart: "istiod", values: vec!["/state/a.yaml".into(), "/state/b.yaml".into()] };
        let charts = Charts::Repository("https://charts".to_owned());
        let install = helm(&chart, &charts, "1.30.3", "/state/kubeconfig".into());
        assert_eq!(
            install.rendering().to_string(),
            "helm template istiod istiod --repo https://charts --version 1.30.3 --namespace istio-system --values \
             /state/a.yaml --values /state/b.yaml --include-crds"
        );
    }
}
