//! Networks of the engine's, as its users make them, for one container each.

use std::collections::HashMap;

use docker_support::bollard::models::{ContainerCreateBody, Ipam, IpamConfig, NetworkCreateRequest};
use docker_support::{Engine, Error};
use substrate_config::machine::UserDefinedNetwork;

/// Their addresses are from `198.18.0.0/15`, which nobody routes (RFC 2544): an address that the engine chose might be one of the
/// world's, which it cannot see, and the machine would reach nobody there.
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Addresses of one: a router, a container, and room.
const SIZE: u32 = 8;
/// So many there can be.
const NETWORKS: u32 = 0x2_0000 / SIZE;
/// So many are tried: the engine refuses those that it has.
const TRIES: u32 = 64;

/// Makes a network, and gives its id.
pub(super) async fn create(engine: &Engine, name: &str, labels: &HashMap<String, String>) -> Result<String, Error> {
    let mut refusal = None;
    for attempt in 0..TRIES {
        let created = engine.docker().create_network(request(name, &subnet(name, attempt), labels)).await;
        match created.map_err(Error::refused(format!("create the network {name}"))) {
            Ok(created) => return Ok(created.id),
            Err(error) if error.is_overlap() => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refusal.expect("invariant: at least one was tried"))
}

/// Runs begin at different ones, so that few are tried twice.
fn subnet(name: &str, attempt: u32) -> String {
    let start = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let first = FIRST + start.wrapping_add(attempt) % NETWORKS * SIZE;
    format!("{}/29", std::net::Ipv4Addr::from(first))
}

/// It has no way out: nobody but the container is on it.
fn request(name: &str, subnet: &str, labels: &HashMap<String, String>) -> NetworkCreateRequest {
    let addresses = IpamConfig { subnet: Some(subnet.to_owned()), ..IpamConfig::default() };
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        labels: Some(labels.clone()),
        ipam: Some(Ipam { config: Some(vec![addresses]), ..Ipam::default() }),
        ..NetworkCreateRequest::default()
    }
}

/// Puts a container that is to be made on a network of the engine's.
pub(super) fn attach(body: &mut ContainerCreateBody, id: &str, network: &UserDefinedNetwork) {
    if let Some(host) = &mut body.host_config {
        host.network_mode = Some(id.to_owned());
        host.dns = Some(vec![network.resolver.clone()]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::super::process::container;
    use super::*;

    #[test]
    fn a_network_has_no_way_out_and_carries_the_labels_of_the_run() {
        let labels = HashMap::from([("run".to_owned(), "1".to_owned())]);
        let request = to_value(request("net", "198.18.0.8/29", &labels)).unwrap();
        assert_eq!((&request["Internal"], &request["Labels"]), (&json!(true), &json!({"run": "1"})));
        assert_eq!(request["IPAM"]["Config"], json!([{"Subnet": "198.18.0.8/29"}]));
        let mut body = container("vm1", "image", &[], labels);
        attach(&mut body, "net", &UserDefinedNetwork { resolver: "127.0.0.53".to_owned() });
        let host = to_value(body).unwrap()["HostConfig"].take();
        assert_eq!((&host["NetworkMode"], &host["Dns"]), (&json!("net"), &json!(["127.0.0.53"])));
    }

    #[test]
    fn addresses_are_of_the_range_that_nobody_routes_and_differ_from_try_to_try() {
        let mut all: Vec<String> = (0..TRIES).map(|attempt| subnet("meshproof-a-vm1", attempt)).collect();
        all.extend((0..TRIES).map(|attempt| subnet(&"z".repeat(200), attempt)));
        assert!(all.iter().all(|one| one.starts_with("198.18.") || one.starts_with("198.19.")), "{all:?}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2 * TRIES as usize);
    }
}
