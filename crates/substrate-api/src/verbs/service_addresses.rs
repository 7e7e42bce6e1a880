//! Cluster addresses and node ports of a Service: given out with the write that needs them, given back if it fails.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::Context;
use crate::allocation::{AllocationError, Allocator};
use crate::object::child;
use crate::server::ApiServer;
use crate::status::ApiError;
use crate::validation::Errors;

/// What a Service holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Held {
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

/// Addresses and ports taken for a write. Dropped without [`Reservation::keep`], they are free again.
pub(super) struct Reservation<'a> {
    allocator: &'a Allocator,
    taken: Held,
    /// What the old object held and the new one does not.
    obsolete: Held,
    kept: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let free = if self.kept { &self.obsolete } else { &self.taken };
        give_back(self.allocator, free);
    }
}

fn give_back(allocator: &Allocator, held: &Held) {
    held.addresses.iter().for_each(|address| allocator.release_address(*address));
    held.ports.iter().for_each(|port| allocator.release_port(*port));
}

/// Gives back everything that a removed Service held.
pub(super) fn release(server: &ApiServer, service: &Value) {
    give_back(&server.allocator, &held(service));
}

fn held(service: &Value) -> Held {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().into_iter().flatten();
    let number = |port: &Value| port["nodePort"].as_u64().and_then(|number| u16::try_from(number).ok());
    Held {
        addresses: spec["clusterIP"].as_str().and_then(|text| text.parse().ok()).into_iter().collect(),
        ports: ports.filter_map(number).filter(|number| *number != 0).collect(),
    }
}

impl<'a> Reservation<'a> {
    /// Takes what the Service asks for and fills in what it leaves open. Does nothing for other kinds.
    pub(super) fn new(ctx: &'a Context, object: &mut Value, old: Option<&Value>) -> Result<Reservation<'a>, ApiError> {
        let allocator = &ctx.server.allocator;
        let mut reservation = Reservation { allocator, taken: Held::default(), obsolete: Held::default(), kept: false };
        if ctx.resource.table != "services" || !ctx.subresource.is_empty() {
            return Ok(reservation);
        }
        let before = old.map(held).unwrap_or_default();
        let outcome = reservation.fill(object, &before);
        outcome.map_err(|(field, value, error)| {
            let mut errors = Errors::default();
            errors.invalid(field, &value, &error.to_string());
            ApiError::invalid(ctx.subject(), crate::object::name(object), &errors.0)
        })?;
        let after = held(object);
        reservation.obsolete = Held {
            addresses: before.addresses.into_iter().filter(|address| !after.addresses.contains(address)).collect(),
            ports: before.ports.into_iter().filter(|port| !after.ports.contains(port)).collect(),
        };
        Ok(reservation)
    }

    /// The write has reached the store: the new object holds what was taken.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    fn fill(&mut self, object: &mut Value, before: &Held) -> Result<(), (String, Value, AllocationError)> {
        if object["spec"]["type"] == "ExternalName" {
            let spec = child(object, "spec");
            for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
                spec.shift_remove(key);
            }
            return Ok(());
        }
        self.fill_address(object, before)?;
        self.fill_ports(object, before)
    }

    fn fill_address(&mut self, object: &mut Value, before: &Held) -> Result<(), (String, Value, AllocationError)> {
        let spec = child(object, "spec");
        let first = spec.get("clusterIPs").and_then(|list| list[0].as_str()).map(str::to_owned);
        let wanted =
            spec.get("clusterIP").and_then(Value::as_str).map(str::to_owned).filter(|text| !text.is_empty()).or(first);
        let failed = |error| ("spec.clusterIPs".to_owned(), json!([wanted]), error);
        let address = match wanted.as_deref() {
            Some("None") => "None".to_owned(),
            Some(text) => {
                let address: Ipv4Addr = text.parse().map_err(|_| failed(AllocationError::AddressOutOfRange))?;
                if !before.addresses.contains(&address) {
                    self.allocator.take_address(address).map_err(failed)?;
                    self.taken.addresses.push(address);
                }
                text.to_owned()
            }
            None => {
                let address = self.allocator.next_address().map_err(failed)?;
                self.taken.addresses.push(address);
                address.to_string()
            }
        };
        spec.insert("clusterIP".to_owned(), json!(address));
        spec.insert("clusterIPs".to_owned(), json!([address]));
        spec.insert("ipFamilies".to_owned(), json!(["IPv4"]));
        spec.insert("ipFamilyPolicy".to_owned(), json!("SingleStack"));
        Ok(())
    }

    fn fill_ports(&mut self, object: &mut Value, before: &Held) -> Result<(), (String, Value, AllocationError)> {
        let spec = child(object, "spec");
        let wanted = match spec.get("type").and_then(Value::as_str) {
            Some("NodePort") => true,
            Some("LoadBalancer") => spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
            _ => false,
        };
        let outside = matches!(spec.get("type").and_then(Value::as_str), Some("NodePort" | "LoadBalancer"));
        let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let given = port["nodePort"].as_u64().filter(|number| *number != 0);
            let field = format!("spec.ports[{index}].nodePort");
            let failed = |error| (field.clone(), json!(given), error);
            let map = crate::object::as_map(port);
            match given {
                Some(number) if outside => {
                    let number = u16::try_from(number).map_err(|_| failed(AllocationError::PortOutOfRange))?;
                    if !before.ports.contains(&number) {
                        self.allocator.take_port(number).map_err(failed)?;
                        self.taken.ports.push(number);
                    }
                }
                None if wanted => {
                    let number = self.allocator.next_port().map_err(failed)?;
                    self.taken.ports.push(number);
                    map.insert("nodePort".to_owned(), json!(number));
                }
                _ => drop(map.shift_remove("nodePort")),
            }
        }
        Ok(())
    }
}
