//! Gateways by which other meshes reach a mesh, and what opens them.

use mesh_types::gateway::{Gateway, Port, Server, ServerTls, ServerTlsMode};
use mesh_types::hub::mesh::{GatewayPort, IngressGateway};
use mesh_types::hub::selector::selects_destination;
use mesh_types::hub::virtual_mesh::{FederationConfig, GatewaySelector};
use mesh_types::hub::{ClusterObjectRef, Mesh};

/// A gateway, and its port for mutual TLS that is passed through.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// The gateway.
    pub gateway: &'a IngressGateway,
    /// The port.
    pub port: &'a GatewayPort,
}

/// The gateways of a mesh that a federation uses, each with its own port.
pub fn selected<'a>(mesh: &'a Mesh, federation: &FederationConfig, cluster: &str) -> Vec<Selected<'a>> {
    let by_default = [GatewaySelector::default()];
    let selectors = match federation.east_west_ingress_gateway_selectors.as_slice() {
        [] => &by_default[..],
        given => given,
    };
    let port = |gateway: &'a IngressGateway| {
        let service = ClusterObjectRef::new(&gateway.name, &gateway.namespace, cluster);
        let selects = |selector: &&GatewaySelector| {
            selects_destination(&selector.destination_selectors, &service, &gateway.labels)
        };
        selectors
            .iter()
            .filter(selects)
            .find_map(|selector| gateway.tls_ports.iter().find(|port| port.name == selector.port()))
    };
    let gateways = mesh.istio.ingress_gateways.iter();
    gateways.filter_map(|gateway| Some(Selected { gateway, port: port(gateway)? })).collect()
}

/// Namespaces of gateways, sorted.
pub fn namespaces(gateways: &[Selected<'_>]) -> Vec<String> {
    let mut namespaces: Vec<_> = gateways.iter().map(|one| one.gateway.namespace.clone()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    namespaces
}

/// Opens a gateway for mutual TLS to every host of a suffix.
pub fn resource(selected: &Selected<'_>, federation: &FederationConfig) -> Gateway {
    Gateway {
        selector: selected.gateway.workload_labels.clone(),
        servers: vec![Server {
            port: Port {
                number: u32::from(selected.port.number),
                protocol: "TLS".to_owned(),
                name: selected.port.name.clone(),
            },
            hosts: vec![format!("*.{}", federation.suffix())],
            tls: Some(ServerTls { mode: Some(ServerTlsMode::AutoPassthrough), ..ServerTls::default() }),
            name: None,
        }],
    }
}

#[cfg(test)]
mod tests {
    use mesh_types::hub::mesh::Istio;
    use mesh_types::hub::selector::{DestinationSelector, Matcher};

    use super::*;

    fn gateway(name: &str, role: &str, ports: &[(&str, u16)]) -> IngressGateway {
        IngressGateway {
            name: name.to_owned(),
            namespace: "istio-system".to_owned(),
            labels: [("role".to_owned(), role.to_owned())].into(),
            tls_ports: ports
                .iter()
                .map(|(name, number)| GatewayPort {
                    name: (*name).to_owned(),
                    number: *number,
                    external_number: *number,
                })
                .collect(),
            ..IngressGateway::default()
        }
    }

    fn names(mesh: &Mesh, federation: &FederationConfig) -> Vec<(String, u16)> {
        let found = selected(mesh, federation, "cluster1");
        found.iter().map(|one| (one.gateway.name.clone(), one.port.number)).collect()
    }

    #[test]
    fn every_gateway_with_the_port_is_used_unless_some_are_selected() {
        let gateways = vec![
            gateway("east-west", "ew", &[("tls", 15443)]),
            gateway("second", "ew", &[("status", 15021), ("tls", 16443), ("other", 17443)]),
            gateway("front", "ns", &[("https", 443)]),
        ];
        let mesh = Mesh { istio: Istio { ingress_gateways: gateways, ..Istio::default() }, ..Mesh::default() };
        let mut federation = FederationConfig::default();
        assert_eq!(names(&mesh, &federation), [("east-west".to_owned(), 15443), ("second".to_owned(), 16443)]);
        federation.east_west_ingress_gateway_selectors = vec![GatewaySelector {
            destination_selectors: vec![DestinationSelector {
                kube_service_matcher: Some(Matcher {
                    labels: [("role".to_owned(), "ew".to_owned())].into(),
                    ..Matcher::default()
                }),
                kube_service_refs: None,
            }],
            port_name: "other".to_owned(),
        }];
        assert_eq!(names(&mesh, &federation), [("second".to_owned(), 17443)]);
    }
}
