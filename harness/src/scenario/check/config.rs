//! Questions to proxies, and what they must hold.

use mesh_types::hub::names;

use super::context::Context;
use super::expect::Measurement;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{ConfigFile, ExpectFile, HeldClusterFile, HeldListenerFile, HeldRouteFile};
use crate::scenario::plan::{ConfigOf, Held};

impl Context<'_> {
    pub(super) fn config(&mut self, step: &Path, file: &ConfigFile, expect: Option<&[ExpectFile]>) -> Option<ConfigOf> {
        let path = step.key("config");
        if let Some(asked) = file.path.as_ref().filter(|asked| !asked.starts_with('/')) {
            self.error(&path.key("path"), format!("`{asked}` is no path")).help("such as `/clusters?format=json`");
        }
        let of = self.deployment(&path.key("of"), &file.of);
        if file.path.is_none() && of.as_ref().is_some_and(|of| of.namespace == names::NAMESPACE) {
            self.key_error(&path, format!("{} has no proxy that could be asked", file.of.workload))
                .help("say with `path` what it is asked for, such as `path: /v1/graph` of `hub-manager`");
        }
        let measurement = if file.path.is_some() { Measurement::ConfigAt } else { Measurement::Config };
        let expectations = self.expectations(&step.key("expect"), expect, measurement);
        Some(ConfigOf { of: of?, path: file.path.clone(), expectations })
    }

    pub(super) fn held_cluster(&mut self, path: &Path, file: &HeldClusterFile) -> Option<Held> {
        self.whole_host(&path.key("host"), &file.host);
        let subset = file.subset.as_deref().unwrap_or_default();
        let name = format!("outbound|{}|{subset}|{}", file.port, file.host);
        match (file.absent, file.healthy) {
            (true, Some(_)) => {
                self.error(&path.key("healthy"), "a cluster that is absent has no endpoints");
                None
            }
            (true, None) => Some(Held::NoCluster(name)),
            (false, healthy) => Some(Held::Cluster { name, healthy }),
        }
    }

    pub(super) fn held_route(&mut self, path: &Path, file: &HeldRouteFile) -> Held {
        self.whole_host(&path.key("host"), &file.host);
        let sum: f64 = file.weights.values().sum();
        if (sum - 100.0).abs() > 1e-6 {
            self.key_error(&path.key("weights"), format!("the weights sum to {sum}, not 100"))
                .help("weights are percent of all requests");
        }
        Held::Route { host: file.host.clone(), weights: file.weights.clone() }
    }

    /// Proxies know hosts by their whole names.
    fn whole_host(&mut self, path: &Path, host: &str) {
        if !host.contains('.') {
            self.error(path, format!("`{host}` is no whole host"))
                .help(format!("such as `{host}.bookinfo.svc.cluster.local`"));
        }
    }
}

pub(super) fn held_listener(file: &HeldListenerFile) -> Held {
    if file.absent { Held::NoListener(file.port) } else { Held::Listener(file.port) }
}
