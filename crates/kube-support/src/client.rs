//! Clients of clusters that kubeconfigs describe.

use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Why the kubeconfig of a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The value is not a kubeconfig.
    #[error("not a kubeconfig: {0}")]
    Form(#[from] kube::config::KubeconfigError),
    /// No client can be made of it.
    #[error("no client for the kubeconfig: {0}")]
    Client(#[from] kube::Error),
}

/// A client for the cluster that a kubeconfig describes; it gives a connection up after `patience`, and tries nothing twice by
/// itself. Nothing is connected yet.
///
/// # Errors
/// The text is no kubeconfig, or its certificates cannot be used.
pub async fn of_kubeconfig(kubeconfig: &str, patience: Duration) -> Result<Client, KubeconfigError> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(patience);
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
