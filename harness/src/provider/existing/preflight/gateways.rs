//! The gateways of a mesh that is there: what other networks reach them at, and whether this machine does.

use std::time::Duration;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use kube::api::Api;
use tokio::net::TcpStream;

use super::super::contexts::Refusal;
use crate::cluster::{Cluster, Error};
use crate::install::remote_secret::ISTIO_SYSTEM;
use crate::topology::GatewayKind;

/// How long a gateway may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where gateways between networks listen, by Istio's convention.
const EASTWEST_PORT: i32 = 15_443;

/// Looks at the gateways that a topology has on a cluster; `crossed` says that calls between its clusters pass them. Returns a line for people on each, and what stands in the way.
///
/// # Errors
/// Where the cluster cannot be asked.
pub(super) async fn look(
    cluster: &Cluster,
    gateways: &[GatewayKind],
    crossed: bool,
) -> Result<(Vec<String>, Vec<Refusal>), Error> {
    let services: Api<Service> = Api::namespaced(cluster.client(), ISTIO_SYSTEM);
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for gateway in gateways {
        let name = gateway.deployment();
        let service = services.get_opt(name).await;
        let service =
            service.map_err(|source| cluster.api_error(format!("get Service {ISTIO_SYSTEM}/{name}"), source))?;
        match address(service.as_ref(), *gateway) {
            Ok(address) => lines.push(format!("gateway {name} at {address}, {}", reached(&address).await)),
            // Scenarios reach an ingress gateway from inside its cluster.
            Err(what) if !crossed || (service.is_some() && *gateway == GatewayKind::Ingress) => {
                lines.push(format!("gateway {name}, which {what}"));
            }
            Err(what) => problems.push(Refusal::new(
                format!("{}: Service {ISTIO_SYSTEM}/{name} {what}", cluster.name()),
                "install the gateway with an address that the other networks reach, or name a topology without it",
            )),
        }
    }
    Ok((lines, problems))
}

/// Host and port that others reach a gateway at.
fn address(service: Option<&Service>, gateway: GatewayKind) -> Result<String, &'static str> {
    let service = service.ok_or("is not there")?;
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    let spec = service.spec.as_ref();
    let external = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten().cloned();
    let host = given.filter_map(host).chain(external).next().ok_or("has no address that other networks reach")?;
    let mut ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten().map(|port| port.port);
    let port = match gateway {
        GatewayKind::Eastwest => ports.find(|port| *port == EASTWEST_PORT),
        GatewayKind::Ingress => ports.find(|port| [80, 443].contains(port)),
    };
    let port = port.ok_or("has not the port that it is reached at (15443; of an ingress gateway 80 or 443)")?;
    // An address with colons is told from its port by brackets.
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

fn host(ingress: &LoadBalancerIngress) -> Option<String> {
    ingress.ip.clone().or_else(|| ingress.hostname.clone())
}

/// Whether this machine reaches it. The other clusters may all the same, and the first request across shows that they do.
async fn reached(address: &str) -> &'static str {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => "which takes connections from this machine",
        Ok(Err(_)) | Err(_) => {
            "which this machine does not reach; whether the other clusters do, the first request shows"
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_what_others_reach() {
        let of = |spec: serde_json::Value, ingress: serde_json::Value, gateway| {
            let status = json!({ "loadBalancer": { "ingress": ingress } });
            let service = json!({ "metadata": { "name": "a" }, "spec": spec, "status": status });
            address(Some(&serde_json::from_value(service).expect("a Service")), gateway)
        };
        let ports = json!({ "ports": [{ "port": 15021 }, { "port": 15443 }, { "port": 80 }] });
        let name = json!([{ "hostname": "gw.example" }]);
        assert_eq!(
            of(ports.clone(), json!([{ "ip": "10.0.0.1" }]), GatewayKind::Eastwest),
            Ok("10.0.0.1:15443".to_owned())
        );
        let six = of(ports.clone(), json!([{ "ip": "2001:db8::1" }]), GatewayKind::Eastwest);
        assert_eq!(six, Ok("[2001:db8::1]:15443".to_owned()));
        assert_eq!(of(ports.clone(), name.clone(), GatewayKind::Ingress), Ok("gw.example:80".to_owned()));
        let external = json!({ "externalIPs": ["192.0.2.1"], "ports": [{ "port": 443 }] });
        assert_eq!(of(external, json!([]), GatewayKind::Ingress), Ok("192.0.2.1:443".to_owned()));
        let pending = of(ports, json!([]), GatewayKind::Eastwest).expect_err("it waits for one");
        assert_eq!(pending, "has no address that other networks reach");
        assert!(of(json!({ "ports": [{ "port": 80 }] }), name, GatewayKind::Eastwest).is_err());
        assert_eq!(address(None, GatewayKind::Ingress), Err("is not there"));
    }

    #[tokio::test]
    async fn whether_this_machine_reaches_it_is_tried() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        assert!(reached(&address).await.contains("takes connections"));
        drop(listener);
        assert!(reached(&address).await.contains("does not reach"));
    }
}
