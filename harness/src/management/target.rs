//! A cluster that a kubeconfig names: a client, and the address under which other clusters reach its API server.

use std::time::Duration;

use camino::Utf8Path;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::Error;
use crate::cluster::{Access, Cluster};
use crate::install::credential::Endpoint;
use crate::install::remote_secret;

/// How long an API server may take to begin an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A cluster, and how the management cluster reaches its API server.
#[derive(Clone)]
pub struct Target {
    /// The cluster.
    pub cluster: Cluster,
    /// Its API server as the management cluster is told it.
    pub endpoint: Endpoint,
}

impl Target {
    /// The cluster of a kubeconfig's context. Without a file, the one that kubectl would take; without a context, the current.
    /// `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Refused`] where the kubeconfig cannot be used.
    pub async fn of_kubeconfig(name: &str, path: Option<&Utf8Path>, context: Option<&str>) -> Result<Self, Error> {
        let shown = path.map_or_else(|| "the kubeconfig".to_owned(), |path| format!("kubeconfig {path}"));
        let broken = |message: String| {
            Error::refused(
                format!("{shown} cannot be used: {message}"),
                "`kubectl --kubeconfig FILE config get-contexts` lists what a file has",
            )
        };
        let config = match path {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let config = config.map_err(|error| broken(crate::cluster::chain(&error)))?;
        let endpoint = Endpoint::of(&config, context).map_err(&broken)?;
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let made = kube::Config::from_custom_kubeconfig(config, &options).await;
        let mut made = made.map_err(|error| broken(crate::cluster::chain(&error)))?;
        // A retry inside the client would hide what is reported.
        made.default_retry = false;
        let builder = ClientBuilder::try_from(made).map_err(|error| broken(crate::cluster::chain(&error)))?;
        let client = builder.with_layer(&tower::timeout::TimeoutLayer::new(ANSWER)).build();
        let access = Access {
            kubeconfig: path.unwrap_or(Utf8Path::new("")).to_owned(),
            server_for_other_clusters: endpoint.server.clone(),
        };
        Ok(Self { cluster: Cluster::new(name, "", access, client), endpoint })
    }

    /// A cluster of an environment.
    ///
    /// # Errors
    /// [`Error::Cluster`] where its kubeconfig cannot be used.
    pub fn of_environment(cluster: &Cluster) -> Result<Self, Error> {
        Ok(Self { cluster: cluster.clone(), endpoint: remote_secret::endpoint(cluster)? })
    }

    /// The same cluster, reached at another address by the management cluster.
    #[must_use]
    pub fn at(mut self, server: Option<&str>) -> Self {
        if let Some(server) = server {
            self.endpoint = self.endpoint.at(server);
        }
        self
    }
}
