//! Probes as Kubernetes defines them, with its defaults. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A probe, ready to be carried out.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(in crate::kubelet) struct ProbeSpec {
    pub(in crate::kubelet) check: Check,
    pub(in crate::kubelet) initial_delay: Duration,
    pub(in crate::kubelet) period: Duration,
    pub(in crate::kubelet) timeout: Duration,
    pub(in crate::kubelet) success_threshold: u32,
    pub(in crate::kubelet) failure_threshold: u32,
    /// The probe's own grace period for a container that it ends.
    pub(in crate::kubelet) grace: Option<Duration>,
}

/// What is done to find out.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(in crate::kubelet) enum Check {
    /// An HTTP request must be answered with a status from 200 to 399.
    Http(HttpCheck),
    /// A TCP connection must come about.
    Tcp { host: Option<String>, port: u16 },
    /// A command in the container must end with 0.
    Exec { command: Vec<String> },
    /// The gRPC health service must answer SERVING.
    Grpc { port: u16, service: String },
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(in crate::kubelet) struct HttpCheck {
    pub(in crate::kubelet) tls: bool,
    /// Where to connect; the pod's address if absent.
    pub(in crate::kubelet) host: Option<String>,
    pub(in crate::kubelet) port: u16,
    pub(in crate::kubelet) path: String,
    pub(in crate::kubelet) headers: BTreeMap<String, String>,
}

impl ProbeSpec {
    /// Reads a probe of a container.
    ///
    /// # Errors
    /// A probe without an action, or with a port that the container does not have.
    pub(in crate::kubelet) fn new(probe: &Probe, container: &Container) -> Result<Self, String> {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|v| *v > 0).unwrap_or(default)
        };
        Ok(Self {
            check: check(probe, container)?,
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
            grace: probe.termination_grace_period_seconds.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
        })
    }
}

fn check(probe: &Probe, container: &Container) -> Result<Check, String> {
    if let Some(action) = &probe.http_get {
        return http(action, container).map(Check::Http);
    }
    if let Some(action) = &probe.tcp_socket {
        return Ok(Check::Tcp { host: given(action.host.as_ref()), port: port(&action.port, container)? });
    }
    if let Some(action) = &probe.exec {
        return Ok(Check::Exec { command: action.command.clone().unwrap_or_default() });
    }
    if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port).map_err(|_| format!("{} is not a port", action.port))?;
        return Ok(Check::Grpc { port, service: action.service.clone().unwrap_or_default() });
    }
    Err("a probe needs one of httpGet, tcpSocket, exec and grpc".to_owned())
}

/// Reads an HTTP action, of a probe or of a lifecycle hook.
///
/// # Errors
/// A port that the container does not have.
pub(in crate::kubelet) fn http(action: &HTTPGetAction, container: &Container) -> Result<HttpCheck, String> {
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let headers = action.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
    Ok(HttpCheck {
        tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        host: given(action.host.as_ref()),
        port: port(&action.port, container)?,
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        headers: headers.collect(),
    })
}

fn given(host: Option<&String>) -> Option<String> {
    host.filter(|host| !host.is_empty()).cloned()
}

fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let declared = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            declared.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| match port {
        IntOrString::Int(number) => format!("{number} is not a port"),
        IntOrString::String(name) => format!("container {} has no port named \"{name}\"", container.name),
    })
}

/// The address to connect to: that of the action's host, which must be an IP address, or the pod's.
///
/// # Errors
/// A host that is a name: the node resolves none.
pub(in crate::kubelet) fn target(host: Option<&str>, port: u16, pod: std::net::Ipv4Addr) -> Result<SocketAddr, String> {
    match host {
        None => Ok((pod, port).into()),
        Some("localhost") => {
            Err("the host of a probe is seen from the node, so localhost is not the pod; leave it out".into())
        }
        Some(host) => {
            let address = host.parse::<std::net::IpAddr>();
            address
                .map(|address| (address, port).into())
                .map_err(|_| format!("the host of a probe must be an IP address, not \"{host}\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(probe: Value) -> Result<ProbeSpec, String> {
        let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": 8080}]});
        ProbeSpec::new(&serde_json::from_value(probe).unwrap(), &serde_json::from_value(container).unwrap())
    }

    #[test]
    fn defaults_and_named_ports() {
        insta::assert_yaml_snapshot!([
            spec(json!({"httpGet": {"port": "web", "path": "healthz"}})),
            spec(
                json!({"httpGet": {"port": 15020, "scheme": "HTTPS", "httpHeaders": [{"name": "X", "value": "y"}]}, "periodSeconds": 1, "failureThreshold": 30})
            ),
            spec(json!({"tcpSocket": {"port": "web"}, "initialDelaySeconds": 5})),
            spec(json!({"exec": {"command": ["true"]}, "timeoutSeconds": 3, "terminationGracePeriodSeconds": 2})),
            spec(json!({"grpc": {"port": 9000}})),
            spec(json!({"httpGet": {"port": "none"}})),
            spec(json!({})),
        ]);
    }
}
