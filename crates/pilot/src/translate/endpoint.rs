//! EDS: addresses, with those of other networks replaced by the gateways that lead there.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Locality as EnvoyLocality;
use envoy_types::pb::envoy::config::endpoint::v3 as envoy;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use mesh_types::destination_rule::{ClientTlsMode, LocalityLbSetting};
use mesh_types::names;
use mesh_types::peer_authentication::MutualTlsMode;

use super::destination::Destination;
use super::{Context, pb, tls};
use crate::model::{Endpoint, Locality, NetworkGateway};

/// An address that Envoy connects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    address: String,
    port: u16,
    mutual_tls: bool,
}

/// Endpoints of one locality and rank.
type Groups = BTreeMap<(u32, Locality), BTreeMap<Target, u32>>;

/// The endpoints of a destination under the name of its cluster.
pub(super) fn assignment(context: &Context<'_>, destination: &Destination<'_>, cluster: &str) -> ClusterLoadAssignment {
    let mut groups = Groups::new();
    let networks = &context.state.gateways;
    let scale = scale(networks);
    for endpoint in context.endpoints(destination).filter(|endpoint| context.proxy.sees(&endpoint.workload.network)) {
        let mutual_tls = takes_mutual_tls(context, destination, endpoint);
        let rank = rank(context, destination, endpoint);
        let group = groups.entry((rank, endpoint.workload.locality.clone())).or_default();
        let weight = endpoint.weight * scale;
        let gateways = gateways_to(context, endpoint);
        if gateways.is_empty() {
            let target = Target { address: endpoint.address.clone(), port: endpoint.port, mutual_tls };
            *group.entry(target).or_default() += weight;
        } else if mutual_tls {
            // A gateway passes only mutual TLS through, so an endpoint without it cannot be reached from here.
            let share = weight / u32::try_from(gateways.len()).unwrap_or(1);
            for gateway in gateways {
                let target = Target { address: gateway.address.clone(), port: gateway.port, mutual_tls: true };
                *group.entry(target).or_default() += share;
            }
        }
    }
    distribute(context, destination, &mut groups);
    load_assignment(cluster, groups)
}

/// The endpoints that a gateway passes mutual TLS on to: those of its own network that take it.
pub(super) fn pass_through(
    context: &Context<'_>,
    destination: &Destination<'_>,
    cluster: &str,
) -> ClusterLoadAssignment {
    let mut groups = Groups::new();
    for endpoint in context.endpoints(destination) {
        let network = &endpoint.workload.network;
        let near = network.is_empty() || context.proxy.network.is_empty() || *network == context.proxy.network;
        if near && context.proxy.sees(network) && takes_mutual_tls(context, destination, endpoint) {
            let rank = rank(context, destination, endpoint);
            let group = groups.entry((rank, endpoint.workload.locality.clone())).or_default();
            let target = Target { address: endpoint.address.clone(), port: endpoint.port, mutual_tls: true };
            *group.entry(target).or_default() += endpoint.weight;
        }
    }
    load_assignment(cluster, groups)
}

/// The gateways that lead to an endpoint; none where it is reached directly.
fn gateways_to<'a>(context: &'a Context<'_>, endpoint: &Endpoint) -> Vec<&'a NetworkGateway> {
    let network = &endpoint.workload.network;
    if network.is_empty() || *network == context.proxy.network {
        return Vec::new();
    }
    let of_network: Vec<_> = context.state.gateways.iter().filter(|gateway| gateway.network == *network).collect();
    let of_cluster: Vec<_> = of_network.iter().copied().filter(|gateway| gateway.cluster == endpoint.cluster).collect();
    if of_cluster.is_empty() { of_network } else { of_cluster }
}

/// A factor that lets every weight be divided evenly among the gateways of any network or cluster.
fn scale(gateways: &[NetworkGateway]) -> u32 {
    let mut counts: BTreeMap<(&str, Option<&str>), u32> = BTreeMap::new();
    for gateway in gateways {
        *counts.entry((&gateway.network, None)).or_default() += 1;
        *counts.entry((&gateway.network, Some(&gateway.cluster))).or_default() += 1;
    }
    counts.values().fold(1, |scale, count| scale / greatest_common_divisor(scale, *count) * count)
}

fn greatest_common_divisor(left: u32, right: u32) -> u32 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}

pub(super) fn takes_mutual_tls(context: &Context<'_>, destination: &Destination<'_>, endpoint: &Endpoint) -> bool {
    let explicit = destination.policy.tls.as_ref().map(|tls| tls.mode);
    if explicit.is_some_and(|mode| mode != ClientTlsMode::IstioMutual) || !endpoint.workload.mutual_tls {
        return false;
    }
    let workload = &endpoint.workload;
    if explicit.is_none() && destination.service.external() {
        return false;
    }
    explicit.is_some()
        || context.mutual_tls(&workload.namespace, &workload.labels, endpoint.port) != MutualTlsMode::Disable
}

fn setting<'a>(destination: &'a Destination<'_>) -> Option<&'a LocalityLbSetting> {
    destination.policy.load_balancer.as_ref().and_then(|balancer| balancer.locality_lb_setting.as_ref())
}

/// How far an endpoint is from the proxy; nothing is far without outlier detection, because Envoy would then never
/// leave the first rank.
fn rank(context: &Context<'_>, destination: &Destination<'_>, endpoint: &Endpoint) -> u32 {
    let setting = setting(destination);
    let off = setting.is_some_and(|setting| setting.enabled == Some(false) || !setting.distribute.is_empty());
    if off || destination.policy.outlier_detection.is_none() {
        return 0;
    }
    let by_locality = distance(&context.proxy.locality, &endpoint.workload.locality, setting);
    match setting.filter(|setting| !setting.failover_priority.is_empty()) {
        Some(setting) => {
            let by_label = label_distance(context, &setting.failover_priority, endpoint);
            if setting.failover.is_empty() { by_label } else { by_label * 5 + by_locality }
        }
        None => by_locality,
    }
}

fn distance(proxy: &Locality, endpoint: &Locality, setting: Option<&LocalityLbSetting>) -> u32 {
    if proxy.region != endpoint.region {
        let takes_over =
            setting.and_then(|setting| setting.failover.iter().find(|failover| failover.from == proxy.region));
        return if takes_over.is_some_and(|failover| failover.to != endpoint.region) { 4 } else { 3 };
    }
    match (proxy.zone == endpoint.zone, proxy.subzone == endpoint.subzone) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    }
}

/// The number of labels left to compare from the first that differs on.
fn label_distance(context: &Context<'_>, labels: &[String], endpoint: &Endpoint) -> u32 {
    let differs = |label: &String| {
        let (key, literal) =
            label.split_once('=').map_or((label.as_str(), None), |(key, value)| (key, Some(value.to_owned())));
        let expected = literal.or_else(|| {
            topology(
                &context.proxy.labels,
                &context.proxy.locality,
                &context.proxy.network,
                &context.proxy.cluster,
                key,
            )
        });
        let workload = &endpoint.workload;
        expected != topology(&workload.labels, &workload.locality, &workload.network, &endpoint.cluster, key)
    };
    let first = labels.iter().position(differs);
    first.map_or(0, |index| u32::try_from(labels.len() - index).unwrap_or(u32::MAX))
}

fn topology(
    labels: &BTreeMap<String, String>,
    locality: &Locality,
    network: &str,
    cluster: &str,
    key: &str,
) -> Option<String> {
    Some(match key {
        names::LABEL_NETWORK => network.to_owned(),
        names::LABEL_CLUSTER => cluster.to_owned(),
        names::LABEL_REGION => locality.region.clone(),
        names::LABEL_ZONE => locality.zone.clone(),
        names::LABEL_SUBZONE => locality.subzone.clone(),
        _ => return labels.get(key).cloned(),
    })
}

/// Whether a locality is covered by `region/zone/subzone`, cut off anywhere or with `*` in the last place.
fn covers(pattern: &str, locality: &Locality) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.subzone];
    pattern.split('/').zip(parts).all(|(wanted, actual)| wanted == "*" || wanted.is_empty() || wanted == actual)
}

/// Applies the shares that a rule gives to localities; endpoints of localities without a share are left out.
fn distribute(context: &Context<'_>, destination: &Destination<'_>, groups: &mut Groups) {
    let Some(setting) = setting(destination).filter(|setting| setting.enabled != Some(false)) else { return };
    let Some(shares) = setting.distribute.iter().find(|entry| covers(&entry.from, &context.proxy.locality)) else {
        return;
    };
    groups.retain(|(_, locality), _| shares.to.iter().any(|(pattern, share)| *share > 0 && covers(pattern, locality)));
    for (pattern, share) in &shares.to {
        let mut members: Vec<_> = groups
            .iter_mut()
            .filter(|((_, locality), _)| covers(pattern, locality))
            .map(|(_, targets)| targets)
            .collect();
        let total: u64 = members.iter().flat_map(|targets| targets.values()).map(|weight| u64::from(*weight)).sum();
        for weight in members.iter_mut().flat_map(|targets| targets.values_mut()) {
            // Thousandths keep the proportions of endpoints within a locality.
            let scaled = u64::from(*share) * 1000 * u64::from(*weight) / total.max(1);
            *weight = u32::try_from(scaled.max(1)).unwrap_or(u32::MAX);
        }
    }
}

/// Whether the weights of localities count: where a rule gives shares to them, or says which of them takes over.
pub(super) fn weighs_localities(destination: &Destination<'_>) -> bool {
    let outliers = destination.policy.outlier_detection.is_some();
    setting(destination).filter(|setting| setting.enabled != Some(false)).is_some_and(|setting| {
        let ranked = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
        !setting.distribute.is_empty() || (ranked && outliers)
    })
}

fn load_assignment(cluster: &str, groups: Groups) -> ClusterLoadAssignment {
    let mut ranks: Vec<u32> =
        groups.iter().filter(|(_, targets)| !targets.is_empty()).map(|((rank, _), _)| *rank).collect();
    ranks.dedup();
    let endpoints = groups.into_iter().filter(|(_, targets)| !targets.is_empty()).map(|((rank, locality), targets)| {
        // Envoy wants consecutive priorities from 0.
        let priority = ranks
            .iter()
            .position(|known| *known == rank)
            .and_then(|index| u32::try_from(index).ok())
            .unwrap_or_default();
        envoy::LocalityLbEndpoints {
            locality: Some(EnvoyLocality { region: locality.region, zone: locality.zone, sub_zone: locality.subzone }),
            load_balancing_weight: Some(pb::uint(targets.values().sum())),
            lb_endpoints: targets.into_iter().map(|(target, weight)| lb_endpoint(&target, weight)).collect(),
            priority,
            ..Default::default()
        }
    });
    ClusterLoadAssignment { cluster_name: cluster.to_owned(), endpoints: endpoints.collect(), ..Default::default() }
}

fn lb_endpoint(target: &Target, weight: u32) -> envoy::LbEndpoint {
    let endpoint = envoy::Endpoint { address: Some(pb::address(&target.address, target.port)), ..Default::default() };
    envoy::LbEndpoint {
        metadata: target.mutual_tls.then(tls::endpoint_metadata),
        load_balancing_weight: Some(pb::uint(weight)),
        host_identifier: Some(envoy::lb_endpoint::HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    }
}
