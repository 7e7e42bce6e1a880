//! Checked questions to proxies, and what they must hold.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Deployment, Expectation};

/// What a proxy is asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigOf {
    /// Whose proxy.
    pub of: Deployment,
    /// The path at its administration interface; `None` for its clusters, routes and listeners.
    pub path: Option<String>,
    /// What must hold; at least one.
    pub expectations: Vec<Expectation>,
}

/// Something that a proxy holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Held {
    /// A cluster with so many healthy endpoints, or with any number.
    Cluster {
        /// Its name in Envoy.
        name: String,
        /// How many; any number where nothing is said.
        healthy: Option<usize>,
    },
    /// No cluster with this name.
    NoCluster(String),
    /// A route for a host with these shares of a hundred by subset.
    Route {
        /// The host.
        host: String,
        /// By subset; the host itself stands for none.
        weights: BTreeMap<String, f64>,
    },
    /// A listener on this port.
    Listener(u16),
    /// None on this port.
    NoListener(u16),
}

impl std::fmt::Display for Held {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster { name, healthy: None } => write!(formatter, "a cluster {name}"),
            Self::Cluster { name, healthy: Some(1) } => write!(formatter, "a cluster {name} with 1 healthy endpoint"),
            Self::Cluster { name, healthy: Some(healthy) } => {
                write!(formatter, "a cluster {name} with {healthy} healthy endpoints")
            }
            Self::NoCluster(name) => write!(formatter, "no cluster {name}"),
            Self::Route { host, weights } => {
                let shares: Vec<String> = weights.iter().map(|(to, share)| format!("{to} {share} %")).collect();
                write!(formatter, "a route for {host} with {}", shares.join(", "))
            }
            Self::Listener(port) => write!(formatter, "a listener on port {port}"),
            Self::NoListener(port) => write!(formatter, "no listener on port {port}"),
        }
    }
}
