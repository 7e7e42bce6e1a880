//! From the generated files and what the machine knows of itself to the variables that an injected pod has, and to the
//! connections that are led through the proxy. Pure.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::env_file::{self, LineError};
use super::{CLUSTER_ENV, MESH, ROOT_CERTIFICATE};
use crate::capture::{self, Capture, CaptureError, Selection};

/// Directory of the certificate that proves who the machine is.
const CERTIFICATES: &str = "etc/certs";
/// Ports that stay as they are where the files do not say: secure shell, and those of agent and Envoy.
const EXCLUDED_PORTS: &str = "22,15090,15021,15020";

/// Why a machine cannot join.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A file of the onboarding is missing or cannot be read.
    #[error("{}: {source}; copy the files that `meshproof vm configure` or `istioctl x workload entry configure` wrote to this machine", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line of `cluster.env`.
    #[error("/{CLUSTER_ENV}: {0}")]
    Line(#[from] LineError),
    /// The configuration of the mesh.
    #[error("/{MESH}: {0}")]
    Mesh(String),
    /// Something that has to be captured.
    #[error("/{CLUSTER_ENV}: {variable}: {source}")]
    Capture {
        /// The variable.
        variable: &'static str,
        /// The cause.
        source: CaptureError,
    },
    /// The machine has no address but loopback.
    #[error("this machine has no IPv4 address besides loopback; connect it, or set ISTIO_SVC_IP in /{CLUSTER_ENV}")]
    NoAddress,
    /// The operating system.
    #[error("what this machine is: {0}")]
    Machine(io::Error),
}

/// What the machine knows of itself.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// Where its files are: `/`, but in tests.
    pub root: &'a Path,
    /// Short host name.
    pub host_name: String,
    /// Addresses, the main one first.
    pub addresses: Vec<IpAddr>,
}

/// The variables of the agent. The file of the machine wins over the process, as in the script of Istio's packages.
///
/// # Errors
/// [`VmError`].
pub fn merged(
    process: BTreeMap<String, String>,
    cluster_env: &str,
    mesh: &str,
    machine: &Machine<'_>,
) -> Result<BTreeMap<String, String>, VmError> {
    let mut variables = process;
    variables.extend(env_file::parse(cluster_env)?);
    let config = default_config(mesh)?;
    let given = |variables: &BTreeMap<String, String>, name: &str| {
        variables.get(name).filter(|value| !value.is_empty()).cloned()
    };
    let below = |path: &str| machine.root.join(path).to_string_lossy().into_owned();
    let address = match given(&variables, "ISTIO_SVC_IP") {
        Some(address) => address,
        None => machine.addresses.first().ok_or(VmError::NoAddress)?.to_string(),
    };
    let mut default = |name: &str, value: String| {
        if given(&variables, name).is_none() {
            variables.insert(name.to_owned(), value);
        }
    };
    default("INSTANCE_IP", address);
    default("POD_NAME", machine.host_name.clone());
    default("PROXY_CONFIG", config.to_string());
    default("XDS_ROOT_CA", below(ROOT_CERTIFICATE));
    default("PROV_CERT", below(CERTIFICATES));
    default("OUTPUT_CERTS", below(CERTIFICATES));
    if let Some(namespace) = given(&variables, "ISTIO_NAMESPACE") {
        variables.insert("POD_NAMESPACE".to_owned(), namespace);
    }
    Ok(variables)
}

/// `defaultConfig` of the mesh's configuration.
fn default_config(mesh: &str) -> Result<Value, VmError> {
    let document: Value = serde_saphyr::from_str(mesh).map_err(|error| VmError::Mesh(error.to_string()))?;
    match document.get("defaultConfig") {
        Some(config) if config.is_object() => Ok(config.clone()),
        _ => Err(VmError::Mesh("there is no defaultConfig; it is not the file mesh.yaml of the onboarding".to_owned())),
    }
}

/// What is led through the proxy. `resolvers` are those of the machine.
///
/// # Errors
/// [`VmError::Capture`].
pub fn captured(
    variables: &BTreeMap<String, String>,
    captures_dns: bool,
    resolvers: Vec<String>,
) -> Result<Capture, VmError> {
    let text = |name: &str, default: &'static str| {
        variables.get(name).map(String::as_str).filter(|value| !value.is_empty()).unwrap_or(default)
    };
    let ports = |name: &'static str, default: &'static str| {
        capture::parse_ports(text(name, default)).map_err(|source| VmError::Capture { variable: name, source })
    };
    let ranges = |name: &'static str, default: &'static str| {
        capture::parse_cidrs(text(name, default)).map_err(|source| VmError::Capture { variable: name, source })
    };
    // Excluding everything is what `*` would mean, and nobody wants that of a list of exceptions.
    let listed = |selection: Selection| match selection {
        Selection::Only(items) => items,
        Selection::All => Vec::new(),
    };
    Ok(Capture {
        outbound_port: 15001,
        inbound_port: 15006,
        include_outbound_cidrs: ranges("ISTIO_SERVICE_CIDR", "*")?,
        exclude_outbound_cidrs: listed(ranges("ISTIO_SERVICE_EXCLUDE_CIDR", "")?),
        include_outbound_ports: ports("ISTIO_OUTBOUND_PORTS", "")?,
        exclude_outbound_ports: listed(ports("ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE", "")?),
        include_inbound_ports: ports("ISTIO_INBOUND_PORTS", "*")?,
        exclude_inbound_ports: listed(ports("ISTIO_LOCAL_EXCLUDE_PORTS", EXCLUDED_PORTS)?),
        dns_servers: Selection::Only(if captures_dns { resolvers } else { Vec::new() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Role, Settings};

    const CLUSTER: &str = "ISTIO_INBOUND_PORTS=9080\nISTIO_LOCAL_EXCLUDE_PORTS=22,15090,15021,15020\nISTIO_NAMESPACE=bookinfo\nISTIO_SERVICE=details-vm.bookinfo\nISTIO_SERVICE_CIDR='*'\nSERVICE_ACCOUNT=bookinfo-details\n";
    const CONFIG: &str = "defaultConfig:\n  discoveryAddress: istiod.istio-system.svc:15012\n  meshId: mesh1\n  proxyMetadata:\n    ISTIO_META_AUTO_REGISTER_GROUP: details-vm\n    ISTIO_META_CLUSTER_ID: cluster1\n    ISTIO_META_DNS_CAPTURE: \"true\"\n    ISTIO_META_NETWORK: vms\n    ISTIO_METAJSON_LABELS: '{\"app\":\"details\"}'\n    POD_NAMESPACE: bookinfo\n    TRUST_DOMAIN: cluster1.example\n  readinessProbe:\n    httpGet:\n      path: /health\n      port: 9080\n";

    fn machine() -> Machine<'static> {
        Machine { root: Path::new("/"), host_name: "vm1".to_owned(), addresses: vec!["192.0.2.10".parse().unwrap()] }
    }

    fn variables(cluster_env: &str) -> BTreeMap<String, String> {
        merged(BTreeMap::new(), cluster_env, CONFIG, &machine()).unwrap()
    }

    #[test]
    fn the_files_say_what_an_injected_pod_is_told() {
        let settings = Settings::from_environment(Role::Sidecar, None, &variables(CLUSTER)).unwrap();
        assert_eq!((settings.pod_name.as_str(), settings.pod_namespace.as_str()), ("vm1", "bookinfo"));
        assert_eq!(settings.instance_ip().to_string(), "192.0.2.10");
        assert_eq!(settings.service_account, "bookinfo-details");
        assert_eq!(settings.trust_domain, "cluster1.example");
        assert_eq!(settings.metadata["AUTO_REGISTER_GROUP"], "details-vm");
        assert_eq!(settings.metadata_json["LABELS"]["app"], "details");
        assert_eq!(settings.paths.root_certificate, Path::new("/etc/certs/root-cert.pem"));
        assert_eq!(settings.paths.provisioned.as_deref(), Some(Path::new("/etc/certs")));
        assert_eq!(settings.paths.output.as_deref(), Some(Path::new("/etc/certs")));
        assert!(settings.captures_dns && settings.mark_sockets && settings.proxy_config.readiness_probe.is_some());
    }

    #[test]
    fn the_file_of_the_machine_wins() {
        let process = BTreeMap::from([("SERVICE_ACCOUNT".to_owned(), "other".to_owned())]);
        let file = format!("{CLUSTER}ISTIO_SVC_IP=192.0.2.99\n");
        let merged = merged(process, &file, CONFIG, &machine()).unwrap();
        assert_eq!(
            (merged["SERVICE_ACCOUNT"].as_str(), merged["INSTANCE_IP"].as_str()),
            ("bookinfo-details", "192.0.2.99")
        );
    }

    #[test]
    fn what_is_captured_is_what_the_files_say() {
        let resolvers = || vec!["192.0.2.53".to_owned()];
        let capture = captured(&variables(CLUSTER), true, resolvers()).unwrap();
        assert_eq!(capture.include_inbound_ports, Selection::Only(vec!["9080".to_owned()]));
        assert_eq!(capture.exclude_inbound_ports, ["22", "15090", "15021", "15020"]);
        assert_eq!(capture.include_outbound_cidrs, Selection::All);
        assert_eq!(capture.dns_servers, Selection::Only(resolvers()));
        assert_eq!(captured(&variables(CLUSTER), false, resolvers()).unwrap().dns_servers, Selection::Only(Vec::new()));
    }

    #[test]
    fn bad_files_are_named() {
        let error = |cluster_env: &str, mesh: &str, machine: &Machine<'_>| {
            let result = merged(BTreeMap::new(), cluster_env, mesh, machine);
            result.and_then(|variables| captured(&variables, false, Vec::new())).unwrap_err().to_string()
        };
        let lost = Machine { addresses: Vec::new(), ..machine() };
        for (message, words) in [
            (error("A", CONFIG, &machine()), "cluster.env: line 1"),
            (error(CLUSTER, "defaultConfig: [", &machine()), "/etc/istio/config/mesh"),
            (error(CLUSTER, "other: 1", &machine()), "no defaultConfig"),
            (error(CLUSTER, CONFIG, &lost), "ISTIO_SVC_IP"),
            (error("ISTIO_INBOUND_PORTS=http", CONFIG, &machine()), "ISTIO_INBOUND_PORTS: \"http\" is not a port"),
        ] {
            assert!(message.contains(words), "{message}");
        }
    }
}
