//! Gives every Service of type LoadBalancer an address of the pool, keeps it, and takes it back. Pure.
//!
//! There is no other book-keeping than the Services' own status: what no Service shows is free.

use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus};

use crate::objects::{Key, is_deleting};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) service: Arc<Service>,
    /// All Services of the cluster.
    pub(crate) services: Vec<Arc<Service>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    Some(Inputs { service: caches.services.get(key)?, services: caches.services.all() })
}

/// The addresses that a Service shows in its status.
pub(crate) fn addresses(service: &Service) -> Vec<Ipv4Addr> {
    let ingress =
        service.status.iter().filter_map(|s| s.load_balancer.as_ref()).flat_map(|lb| lb.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

fn wants_an_address(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none() && !is_deleting(service)
}

/// Whether the Service is still without the address it should have.
pub(crate) fn awaits_an_address(service: &Service) -> bool {
    wants_an_address(service) && addresses(service).is_empty()
}

pub(crate) fn reconcile(inputs: &Inputs, pool: (Ipv4Addr, Ipv4Addr)) -> Plan {
    let service = &*inputs.service;
    if !wants_an_address(service) {
        let foreign_class = service.spec.as_ref().is_some_and(|spec| spec.load_balancer_class.is_some());
        if addresses(service).is_empty() || foreign_class || is_deleting(service) {
            return Plan::default();
        }
        return write(service, None);
    }
    if !addresses(service).is_empty() {
        return Plan::default();
    }
    let taken: Vec<_> = inputs.services.iter().flat_map(|service| addresses(service)).collect();
    let requested = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref()).filter(|ip| !ip.is_empty());
    match choose(requested, pool, &taken) {
        Ok(address) => write(service, Some(address)),
        Err(message) => Plan::of(vec![Action::warning(service, "SyncLoadBalancerFailed", message)]),
    }
}

fn choose(
    requested: Option<&str>,
    (first, last): (Ipv4Addr, Ipv4Addr),
    taken: &[Ipv4Addr],
) -> Result<Ipv4Addr, String> {
    let Some(requested) = requested else {
        let free = (first.to_bits()..=last.to_bits()).map(Ipv4Addr::from_bits).find(|address| !taken.contains(address));
        return free.ok_or_else(|| {
            format!(
                "the pool {first}-{last} has no free address; delete a Service of type LoadBalancer or widen the pool"
            )
        });
    };
    match requested.parse::<Ipv4Addr>() {
        Ok(address) if address < first || address > last => Err(format!(
            "spec.loadBalancerIP {address} is not in the pool {first}-{last}; choose one that is, or remove the field"
        )),
        Ok(address) if taken.contains(&address) => {
            Err(format!("spec.loadBalancerIP {address} belongs to another Service"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(format!("spec.loadBalancerIP \"{requested}\" is not an IPv4 address")),
    }
}

fn write(service: &Service, address: Option<Ipv4Addr>) -> Plan {
    let ingress = address.map(|address| {
        vec![LoadBalancerIngress {
            ip: Some(address.to_string()),
            ip_mode: Some("VIP".into()),
            ..LoadBalancerIngress::default()
        }]
    });
    let status = ServiceStatus {
        load_balancer: Some(LoadBalancerStatus { ingress }),
        ..service.status.clone().unwrap_or_default()
    };
    let mut actions: Vec<_> =
        Action::status(Kind::Service, &Key::of(service), &service.status, &status).into_iter().collect();
    if let Some(address) = address {
        actions.push(Action::normal(
            service,
            "EnsuredLoadBalancer",
            format!("Ensured load balancer with address {address}"),
        ));
    }
    Plan::of(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::from_json;
    use serde_json::{Value, json};

    const POOL: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(172, 30, 1, 100), Ipv4Addr::new(172, 30, 1, 101));

    fn service(name: &str, type_: &str, address: Option<&str>, requested: Option<&str>) -> Arc<Service> {
        let ingress: Vec<_> = address.map(|ip| json!({"ip": ip})).into_iter().collect();
        from_json(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name},
            "spec": {"type": type_, "loadBalancerIP": requested},
            "status": {"loadBalancer": {"ingress": ingress}},
        }))
    }

    fn answer(service: Arc<Service>, others: Vec<Arc<Service>>) -> Vec<Value> {
        let mut services = others;
        services.push(service.clone());
        let plan = reconcile(&Inputs { service, services }, POOL);
        plan.actions
            .iter()
            .map(|action| match action {
                Action::PatchStatus { patch, .. } => patch["status"]["loadBalancer"]["ingress"].clone(),
                Action::Event { occurrence } => json!(occurrence.message),
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    #[test]
    fn the_first_free_address_is_given() {
        let taken = service("a", "LoadBalancer", Some("172.30.1.100"), None);
        let given = answer(service("b", "LoadBalancer", None, None), vec![taken]);
        assert_eq!(given[0], json!([{"ip": "172.30.1.101", "ipMode": "VIP"}]));
    }

    #[test]
    fn an_address_is_kept() {
        assert!(answer(service("a", "LoadBalancer", Some("172.30.1.101"), None), vec![]).is_empty());
    }

    #[test]
    fn a_service_that_changes_its_type_gives_the_address_back() {
        assert_eq!(answer(service("a", "ClusterIP", Some("172.30.1.101"), None), vec![])[0], Value::Null);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let full = vec![
            service("a", "LoadBalancer", Some("172.30.1.100"), None),
            service("b", "LoadBalancer", Some("172.30.1.101"), None),
        ];
        let messages = [
            answer(service("c", "LoadBalancer", None, None), full.clone()),
            answer(service("c", "LoadBalancer", None, Some("10.0.0.1")), vec![]),
            answer(service("c", "LoadBalancer", None, Some("172.30.1.100")), full),
            answer(service("c", "LoadBalancer", None, Some("nonsense")), vec![]),
        ];
        insta::assert_yaml_snapshot!(messages);
    }
}
