//! Judges what a proxy holds: clusters, routes and listeners as Envoy's administration interface shows them. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use verdict::Outcome;

use super::judge::Judgement;
use super::observation::ConfigObservation;
use crate::scenario::plan::Held;

/// The proxy holds what it must; else what is there instead.
pub(super) fn held(expected: &Held, seen: &ConfigObservation) -> Judgement {
    let found = match expected {
        Held::Cluster { name, healthy } => cluster(name, *healthy, &seen.value),
        Held::NoCluster(name) => match endpoints(name, &seen.value) {
            None => Ok(()),
            Some(_) => Err(format!("{name} is there")),
        },
        Held::Route { host, weights } => route(host, weights, &seen.value),
        Held::Listener(port) => {
            let ports = listeners(&seen.value);
            if ports.contains(port) { Ok(()) } else { Err(format!("there are listeners on {}", join(&ports))) }
        }
        Held::NoListener(port) => {
            if listeners(&seen.value).contains(port) {
                Err("it is there".to_owned())
            } else {
                Ok(())
            }
        }
    };
    let figures = json!({ "place": seen.place, "expected": expected });
    match found {
        Ok(()) => Judgement::new(Outcome::Pass, format!("{}: {expected}", seen.place), figures),
        Err(instead) => {
            Judgement::new(Outcome::Fail, format!("{}: expected {expected}; {instead}", seen.place), figures)
        }
    }
}

/// The endpoints of a cluster, and whether each is healthy; `None` where there is no such cluster.
fn endpoints(name: &str, held: &Value) -> Option<Vec<(String, bool)>> {
    let cluster = array(held, "/clusters/cluster_statuses").find(|cluster| text(cluster, "/name") == name)?;
    let endpoint = |host: &Value| {
        let address = format!(
            "{}:{}",
            text(host, "/address/socket_address/address"),
            host.pointer("/address/socket_address/port_value").unwrap_or(&Value::Null)
        );
        let healthy = host.pointer("/health_status").and_then(Value::as_object).is_none_or(|status| {
            // Flags say what is wrong, and are left out otherwise.
            status.iter().all(|(key, value)| match key.as_str() {
                "eds_health_status" => value == "HEALTHY" || value == "UNKNOWN",
                _ => value.as_bool() == Some(false),
            })
        });
        (address, healthy)
    };
    Some(array(cluster, "/host_statuses").map(endpoint).collect())
}

fn cluster(name: &str, healthy: Option<usize>, held: &Value) -> Result<(), String> {
    let host = name.rsplit('|').next().unwrap_or(name);
    let Some(endpoints) = endpoints(name, held) else {
        let names: Vec<&str> = array(held, "/clusters/cluster_statuses").map(|one| text(one, "/name")).collect();
        let similar: Vec<&str> = names.iter().filter(|one| one.ends_with(&format!("|{host}"))).copied().collect();
        return Err(match similar.as_slice() {
            [] => format!("none of its {} clusters is for {host}", names.len()),
            similar => format!("there are {}", similar.join(", ")),
        });
    };
    let found = endpoints.iter().filter(|(_, healthy)| *healthy).count();
    match healthy {
        Some(wanted) if wanted != found => {
            let word = |(address, healthy): &(String, bool)| {
                format!("{address} ({})", if *healthy { "healthy" } else { "not healthy" })
            };
            let list: Vec<String> = endpoints.iter().map(word).collect();
            Err(if list.is_empty() { "it has no endpoints".to_owned() } else { format!("it has {}", list.join(", ")) })
        }
        _ => Ok(()),
    }
}

fn route(host: &str, weights: &BTreeMap<String, f64>, held: &Value) -> Result<(), String> {
    let hosts = array(held, "/routes/configs").flat_map(|config| array(config, "/route_config/virtual_hosts"));
    let for_host = |virtual_host: &&Value| array(virtual_host, "/domains").any(|domain| domain == host);
    let shares: Vec<BTreeMap<String, f64>> =
        hosts.filter(for_host).flat_map(|one| array(one, "/routes")).filter_map(|route| shares(host, route)).collect();
    let same = |found: &BTreeMap<String, f64>| {
        found.len() == weights.len()
            && found.iter().all(|(to, share)| weights.get(to).is_some_and(|wanted| (wanted - share).abs() < 0.01))
    };
    if shares.iter().any(same) {
        return Ok(());
    }
    let list: Vec<String> = shares
        .iter()
        .map(|one| one.iter().map(|(to, share)| format!("{to} {share} %")).collect::<Vec<_>>().join(", "))
        .collect();
    Err(if list.is_empty() { "there is no route for it".to_owned() } else { format!("there is {}", list.join("; ")) })
}

/// Percent by subset of one route; `None` where it leads to no cluster, as a redirect does.
fn shares(host: &str, route: &Value) -> Option<BTreeMap<String, f64>> {
    let target = |cluster: &str| match cluster.split('|').collect::<Vec<_>>().as_slice() {
        [_, _, "", to] => (*to).to_owned(),
        [_, _, subset, to] if *to == host => (*subset).to_owned(),
        [_, _, subset, to] => format!("{subset} of {to}"),
        _ => cluster.to_owned(),
    };
    if let Some(cluster) = route.pointer("/route/cluster").and_then(Value::as_str) {
        return Some(BTreeMap::from([(target(cluster), 100.0)]));
    }
    let clusters: Vec<(String, f64)> = array(route, "/route/weighted_clusters/clusters")
        .map(|one| (target(text(one, "/name")), one.pointer("/weight").and_then(Value::as_f64).unwrap_or(0.0)))
        .collect();
    let total: f64 = clusters.iter().map(|(_, weight)| weight).sum();
    let mut shares = BTreeMap::new();
    for (to, weight) in clusters {
        *shares.entry(to).or_insert(0.0) += weight / total * 100.0;
    }
    (total > 0.0).then_some(shares)
}

fn listeners(held: &Value) -> Vec<u16> {
    let port = |one: &Value| one.pointer("/local_address/socket_address/port_value").and_then(Value::as_u64);
    let ports = array(held, "/listeners/listener_statuses").filter_map(port);
    ports.filter_map(|port| u16::try_from(port).ok()).collect()
}

fn join(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn array<'value>(value: &'value Value, pointer: &str) -> impl Iterator<Item = &'value Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'value>(value: &'value Value, pointer: &str) -> &'value str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "reviews.bookinfo.svc.cluster.local";

    fn seen() -> ConfigObservation {
        let endpoint = |port: u16, health: Value| {
            let address = json!({ "socket_address": { "address": "10.0.0.1", "port_value": port } });
            json!({ "address": address, "health_status": health })
        };
        let healthy = json!({ "eds_health_status": "HEALTHY" });
        let ejected = json!({ "eds_health_status": "HEALTHY", "failed_outlier_check": true });
        let clusters = json!({ "cluster_statuses": [
            { "name": format!("outbound|9080||{HOST}"), "host_statuses": [
                endpoint(1, healthy.clone()), endpoint(2, healthy), endpoint(3, ejected),
            ] },
            { "name": format!("outbound|9080|v2|{HOST}") },
        ] });
        let weighted = json!([
            { "name": format!("outbound|9080|v1|{HOST}"), "weight": 1 },
            { "name": format!("outbound|9080|v2|{HOST}"), "weight": 3 },
        ]);
        let virtual_host = json!({ "domains": [HOST, "reviews"], "routes": [
            { "redirect": {} },
            { "route": { "cluster": format!("outbound|9080||{HOST}") } },
            { "route": { "weighted_clusters": { "clusters": weighted } } },
        ] });
        let routes = json!({ "configs": [{ "route_config": { "virtual_hosts": [virtual_host] } }] });
        let listener = json!({ "local_address": { "socket_address": { "address": "0.0.0.0", "port_value": 15006 } } });
        let listeners = json!({ "listener_statuses": [listener] });
        let value = json!({ "clusters": clusters, "routes": routes, "listeners": listeners });
        ConfigObservation { place: "proxy".to_owned(), value }
    }

    fn instead(expected: &Held) -> Option<String> {
        let judged = held(expected, &seen());
        (judged.outcome == Outcome::Fail).then(|| judged.evidence[0].split("; ").nth(1).unwrap_or("?").to_owned())
    }

    fn cluster(subset: &str, healthy: Option<usize>) -> Held {
        Held::Cluster { name: format!("outbound|9080|{subset}|{HOST}"), healthy }
    }

    #[test]
    fn clusters_are_found_with_their_healthy_endpoints() {
        assert_eq!(instead(&cluster("", Some(2))), None);
        assert_eq!(instead(&cluster("v2", None)), None);
        assert_eq!(instead(&cluster("v2", Some(0))), None);
        let list = "it has 10.0.0.1:1 (healthy), 10.0.0.1:2 (healthy), 10.0.0.1:3 (not healthy)";
        assert_eq!(instead(&cluster("", Some(3))).as_deref(), Some(list));
        assert_eq!(instead(&cluster("v2", Some(1))).as_deref(), Some("it has no endpoints"));
        let there = format!("there are outbound|9080||{HOST}, outbound|9080|v2|{HOST}");
        assert_eq!(instead(&cluster("v9", None)), Some(there));
        assert_eq!(instead(&Held::NoCluster(format!("outbound|9080|v9|{HOST}"))), None);
        assert!(instead(&Held::NoCluster(format!("outbound|9080|v2|{HOST}"))).is_some());
    }

    #[test]
    fn any_route_of_the_host_may_have_the_weights() {
        let route = |weights: &[(&str, f64)]| Held::Route {
            host: HOST.to_owned(),
            weights: weights.iter().map(|(to, share)| ((*to).to_owned(), *share)).collect(),
        };
        assert_eq!(instead(&route(&[("v1", 25.0), ("v2", 75.0)])), None);
        assert_eq!(instead(&route(&[(HOST, 100.0)])), None);
        assert_eq!(instead(&route(&[("v1", 75.0), ("v2", 25.0)])), Some(format!("there is {HOST} 100 %")));
        let other = Held::Route { host: "details".to_owned(), weights: BTreeMap::new() };
        assert_eq!(instead(&other).as_deref(), Some("there is no route for it"));
    }

    #[test]
    fn listeners_are_found_by_port() {
        assert_eq!(instead(&Held::Listener(15006)), None);
        assert_eq!(instead(&Held::Listener(80)).as_deref(), Some("there are listeners on 15006"));
        assert_eq!(instead(&Held::NoListener(80)), None);
        assert!(instead(&Held::NoListener(15006)).is_some());
    }
}
