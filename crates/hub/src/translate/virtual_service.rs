//! VirtualServices: what accepted policies make of the requests to a destination, as callers of one cluster see it.

use mesh_types::hub::destination::ServicePort;
use mesh_types::hub::traffic_policy::{KubeTarget, VirtualTarget, WeightedDestination};
use mesh_types::hub::{ClusterObjectRef, Destination};
use mesh_types::virtual_service::{
    Destination as RouteTarget, HttpMatch, HttpRoute, HttpRouteDestination, PortSelector, VirtualService,
};

use super::route::{self, Group};
use super::{port, subset};
use crate::world::{Subset, World};

/// The resource for callers in a cluster, by the host by which they know the destination. `None` where the policies do
/// nothing for them.
pub fn translate(world: &World, destination: &Destination, groups: &[Group], cluster: &str) -> Option<VirtualService> {
    let service = &destination.kube_service;
    let host = world.host_in(&service.reference, cluster)?;
    let conditions = route::by_condition(groups.iter().filter(|group| group.concerns(cluster)), cluster);
    if conditions.is_empty() {
        return None;
    }
    let ports: Vec<_> = service.tcp_ports().filter(|one| port::carries_requests(one)).collect();
    let several = service.tcp_ports().count() > 1;
    let mut http = Vec::new();
    for one in ports {
        let place = Place { world, cluster, host: &host, port: one };
        let on_port = several.then(|| u32::from(one.port));
        let mut unconditional = false;
        for (condition, group) in &conditions {
            let Some(route) = place.route(group) else { continue };
            let plain = HttpMatch { name: None, ..condition.clone() } == HttpMatch::default();
            unconditional |= plain;
            let condition = HttpMatch { port: on_port, ..condition.clone() };
            let matches = if condition == HttpMatch::default() { Vec::new() } else { vec![condition] };
            http.push(HttpRoute { matches, ..route });
        }
        // What no policy is about goes where it would go without policies.
        if !unconditional {
            let matches = on_port.map(|number| HttpMatch { port: Some(number), ..HttpMatch::default() });
            http.push(HttpRoute {
                matches: matches.into_iter().collect(),
                route: vec![place.own()],
                ..HttpRoute::default()
            });
        }
    }
    route::sort(&mut http);
    Some(VirtualService { hosts: vec![host], http, ..VirtualService::default() })
}

struct Place<'a> {
    world: &'a World,
    cluster: &'a str,
    host: &'a str,
    port: &'a ServicePort,
}

impl Place<'_> {
    /// `None` where a target is not known here; such a policy is not accepted.
    fn route(&self, group: &Group) -> Option<HttpRoute> {
        let mut route = group.actions();
        route.route = match &group.shift {
            None => vec![self.own()],
            Some(shift) => {
                let only = shift.destinations.len() == 1;
                shift.destinations.iter().map(|target| self.weighted(target, only)).collect::<Option<_>>()?
            }
        };
        if let Some(mirror) = &group.mirror {
            let number = target_port(self.world, &mirror.kube_service, mirror.port, self.port.port)?;
            let host = self.world.host_in(&mirror.kube_service, self.cluster)?;
            route.mirror = Some(target(host, None, number));
        }
        Some(route)
    }

    fn own(&self) -> HttpRouteDestination {
        HttpRouteDestination { destination: target(self.host.to_owned(), None, self.port.port), ..Default::default() }
    }

    fn weighted(&self, entry: &WeightedDestination, only: bool) -> Option<HttpRouteDestination> {
        let destination = match (&entry.kube_service, &entry.virtual_destination) {
            (Some(service), None) => self.service(service)?,
            (None, Some(virtual_target)) => self.virtual_destination(virtual_target)?,
            _ => return None,
        };
        let headers = entry.options.as_ref().and_then(|options| options.header_manipulation.as_ref());
        Some(HttpRouteDestination {
            destination,
            weight: if only { 0 } else { i32::try_from(entry.weight).unwrap_or(i32::MAX) },
            headers: headers.map(route::headers),
        })
    }

    fn service(&self, named: &KubeTarget) -> Option<RouteTarget> {
        let service = named.service();
        let number = target_port(self.world, &service, named.port, self.port.port)?;
        Some(target(self.world.host_in(&service, self.cluster)?, Some(&named.subset), number))
    }

    fn virtual_destination(&self, named: &VirtualTarget) -> Option<RouteTarget> {
        let reference = mesh_types::hub::ObjectRef::new(&named.name, &named.namespace);
        let spec = &self.world.inputs.virtual_destinations.get(&reference)?.object.spec;
        Some(target(spec.hostname.clone(), Some(&named.subset), spec.port.number))
    }
}

fn target(host: String, labels: Option<&Subset>, number: u16) -> RouteTarget {
    RouteTarget {
        host,
        subset: labels.filter(|labels| !labels.is_empty()).map(subset::name),
        port: Some(PortSelector { number: u32::from(number) }),
    }
}

/// The port of a target that requests to `called` go to: the one that is named, else the only one, else the same number.
pub fn target_port(world: &World, service: &ClusterObjectRef, named: Option<u16>, called: u16) -> Option<u16> {
    let known = &world.inputs.destinations.get(service)?.spec.kube_service;
    if let Some(named) = named {
        return known.port(named).map(|port| port.port);
    }
    let ports: Vec<_> = known.tcp_ports().collect();
    match ports.as_slice() {
        [only] => Some(only.port),
        several => several.iter().find(|port| port.port == called).map(|port| port.port),
    }
}
