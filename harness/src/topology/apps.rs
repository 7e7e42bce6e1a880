//! The applications that a topology may name, and the workloads they consist of: names, labels, accounts as their
//! manifests have them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{App, Vm};

/// An application that can be placed on clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AppName {
    /// Istio's book shop: productpage, details, reviews, ratings.
    Bookinfo,
    /// The client that traffic is sent with.
    Probe,
    /// A server that answers in every protocol with what it saw, in two versions.
    Echo,
    /// A client like the probe, with a ServiceAccount of its own.
    Sleep,
}

/// A Deployment of an application, on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Name of the Deployment, such as `reviews-v3`.
    pub name: String,
    /// The cluster it runs on.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Value of the label `app`, also the name of its Service.
    pub app: String,
    /// Value of the label `version`; `None` where it has none.
    pub version: Option<String>,
    /// The application container.
    pub container: String,
    /// Port of the application container; `None` for a pure client.
    pub port: Option<u16>,
    /// Its ServiceAccount.
    pub service_account: String,
    /// Its SPIFFE id.
    pub identity: String,
    /// Whether its pods have a sidecar.
    pub sidecar: bool,
    /// The virtual machine that it is, which has no pods: `cluster` is then the one whose mesh it has joined, and `container`
    /// one of its programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<Box<Vm>>,
}

impl Workload {
    /// A client on a cluster, for tests.
    #[cfg(test)]
    pub(crate) fn client(cluster: &str) -> Self {
        Self {
            name: "sleep".to_owned(),
            cluster: cluster.to_owned(),
            namespace: "echo".to_owned(),
            app: "sleep".to_owned(),
            version: None,
            container: "sleep".to_owned(),
            port: None,
            service_account: "sleep".to_owned(),
            identity: "spiffe://cluster.local/ns/echo/sa/sleep".to_owned(),
            sidecar: true,
            vm: None,
        }
    }

    /// Where it is, as answers say it: its cluster, or the machine that it is.
    #[must_use]
    pub fn place(&self) -> &str {
        self.vm.as_ref().map_or(&self.cluster, |vm| &vm.name)
    }

    /// Selects its pods: `app=reviews,version=v3`.
    #[must_use]
    pub fn selector(&self) -> String {
        match &self.version {
            Some(version) => format!("app={},version={version}", self.app),
            None => format!("app={}", self.app),
        }
    }
}

/// A Deployment as the application's manifest declares it.
struct Declared {
    name: &'static str,
    app: &'static str,
    version: Option<&'static str>,
    service_account: &'static str,
    port: Option<u16>,
}

const fn bookinfo(
    name: &'static str,
    app: &'static str,
    version: &'static str,
    service_account: &'static str,
) -> Declared {
    Declared { name, app, version: Some(version), service_account, port: Some(9080) }
}

const BOOKINFO: &[Declared] = &[
    bookinfo("productpage-v1", "productpage", "v1", "bookinfo-productpage"),
    bookinfo("details-v1", "details", "v1", "bookinfo-details"),
    bookinfo("ratings-v1", "ratings", "v1", "bookinfo-ratings"),
    bookinfo("reviews-v1", "reviews", "v1", "bookinfo-reviews"),
    bookinfo("reviews-v2", "reviews", "v2", "bookinfo-reviews"),
    bookinfo("reviews-v3", "reviews", "v3", "bookinfo-reviews"),
];
const PROBE: &[Declared] =
    &[Declared { name: "probe", app: "probe", version: None, service_account: "probe", port: None }];
const ECHO: &[Declared] = &[echo("echo-v1", "v1"), echo("echo-v2", "v2")];
const SLEEP: &[Declared] =
    &[Declared { name: "sleep", app: "sleep", version: None, service_account: "sleep", port: None }];

/// Its port is that for HTTP; the others are in `manifests/echo/services.yaml`.
const fn echo(name: &'static str, version: &'static str) -> Declared {
    Declared { name, app: "echo", version: Some(version), service_account: "echo", port: Some(8080) }
}

impl AppName {
    fn declared(self) -> &'static [Declared] {
        match self {
            Self::Bookinfo => BOOKINFO,
            Self::Probe => PROBE,
            Self::Echo => ECHO,
            Self::Sleep => SLEEP,
        }
    }

    /// Names of the Services (labels `app`) of the application, each once.
    #[must_use]
    pub fn services(self) -> Vec<&'static str> {
        let mut services: Vec<&'static str> = self.declared().iter().map(|declared| declared.app).collect();
        services.dedup();
        services
    }

    /// The Deployments behind a Service with their versions.
    #[must_use]
    pub fn versions(self, service: &str) -> Vec<(&'static str, Option<&'static str>)> {
        self.declared()
            .iter()
            .filter(|declared| declared.app == service)
            .map(|declared| (declared.name, declared.version))
            .collect()
    }

    /// Names of all Deployments of the application.
    #[must_use]
    pub fn deployments(self) -> Vec<&'static str> {
        self.declared().iter().map(|declared| declared.name).collect()
    }
}

impl App {
    /// The workloads of the application, with their identities in the trust domain of their cluster.
    #[must_use]
    pub fn workloads<'domain>(&self, trust_domain: impl Fn(&str) -> &'domain str) -> Vec<Workload> {
        let mut workloads = Vec::new();
        for placement in &self.placements {
            let placed = self
                .app
                .declared()
                .iter()
                .filter(|declared| placement.workloads.iter().any(|name| name == declared.name));
            let domain = trust_domain(&placement.cluster);
            workloads.extend(placed.map(|declared| self.workload(declared, &placement.cluster, domain)));
        }
        workloads
    }

    fn workload(&self, declared: &Declared, cluster: &str, trust_domain: &str) -> Workload {
        Workload {
            name: declared.name.to_owned(),
            cluster: cluster.to_owned(),
            namespace: self.namespace.clone(),
            app: declared.app.to_owned(),
            version: declared.version.map(str::to_owned),
            container: declared.app.to_owned(),
            port: declared.port,
            service_account: declared.service_account.to_owned(),
            identity: format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, declared.service_account),
            sidecar: self.sidecar,
            vm: None,
        }
    }
}
