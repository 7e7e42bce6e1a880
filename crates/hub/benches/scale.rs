//! How long the state takes with many clusters, and how much memory: everything at once, and single changes afterwards.
//!
//! Prints one JSON document. `cargo xtask bench hub` starts it once for each size, since memory is that of the process.

use std::time::{Duration, Instant};

use hub::state::{Action, Change, Effects, Input, InputKey, State};
use hub::world::Settings;
use mesh_types::hub::destination::{Endpoint, KubeService, ServicePort};
use mesh_types::hub::mesh::{GatewayPort, IngressGateway, Installation, Istio};
use mesh_types::hub::selector::{DestinationSelector, Matcher, ServiceRefs};
use mesh_types::hub::traffic_policy::{KubeTarget, OutlierDetection, Policy, TrafficShift, WeightedDestination};
use mesh_types::hub::virtual_mesh::{FederationConfig, FederationSelector, Permissive};
use mesh_types::hub::{
    ClusterObjectRef, Destination, KubernetesCluster, Mesh, Object, ObjectRef, TrafficPolicy, VirtualMesh, Workload,
};
use serde_json::{Value, json};

/// What is simulated.
struct Size {
    clusters: usize,
    destinations: usize,
    policies: usize,
    permissive: bool,
}

fn main() {
    let number = |name: &str, default: usize| {
        let mut words = std::env::args().skip_while(|word| word != name);
        words
            .nth(1)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text}")))
    };
    let size = Size {
        clusters: number("--clusters", 30),
        destinations: number("--destinations", 100),
        policies: number("--policies", 1_000),
        permissive: std::env::args().any(|word| word == "--permissive"),
    };
    println!("{:#}", measure(&size));
}

fn measure(size: &Size) -> Value {
    let inputs = inputs(size);
    let mut state = State::new(Settings::default());
    let begun = Instant::now();
    let effects = state.apply(inputs);
    let translated = begun.elapsed();
    let begun = Instant::now();
    let told = tell(&state, &effects);
    let statuses = begun.elapsed();
    let objects: usize = state.emitted().count();
    let bytes: usize = state.emitted().map(|(_, emitted)| emitted.object.manifest.len()).sum();
    drop(effects);
    json!({
        "clusters": size.clusters,
        "destinationsPerCluster": size.destinations,
        "policies": size.policies,
        "federation": if size.permissive { "permissive" } else { "selective" },
        "fullTranslationSeconds": translated.as_secs_f64(),
        "allStatusesSeconds": statuses.as_secs_f64(),
        "statuses": told.0,
        "writes": told.1,
        "differentObjects": objects,
        "differentObjectsMegabytes": bytes as f64 / 1e6,
        "changes": changes(size, &mut state),
        "peakMemoryMegabytes": peak_memory(),
    })
}

/// Works out every status of the effects, and counts the objects that have to be written, cluster by cluster.
fn tell(state: &State, effects: &Effects) -> (usize, usize) {
    let statuses = effects.statuses.iter().filter_map(|subject| state.status(subject)).count();
    (statuses, effects.writes.iter().map(|write| write.clusters.len()).sum())
}

/// Single changes of each kind, one after the other, from the change to the set of writes and the statuses.
fn changes(size: &Size, state: &mut State) -> Value {
    let rounds = 50.min(size.policies / 10);
    let mut all = serde_json::Map::new();
    let mut run = |name: &str, change: &mut dyn FnMut(usize) -> Change| {
        let (mut times, mut writes, mut deleted) = (Vec::new(), 0, 0);
        for round in 0..rounds {
            let change = change(round);
            let begun = Instant::now();
            let effects = state.apply([change]);
            let told = tell(state, &effects);
            times.push(begun.elapsed());
            writes += told.1;
            let gone = effects.writes.iter().filter(|write| matches!(write.action, Action::Delete(_)));
            deleted += gone.map(|write| write.clusters.len()).sum::<usize>();
        }
        all.insert(name.to_owned(), summary(&mut times, writes / rounds.max(1), deleted / rounds.max(1)));
    };
    run("weightOfAShift", &mut |round| traffic(policy(size, by_name(round), 2, 60)));
    run("removedShift", &mut |round| {
        Change::Remove(InputKey::TrafficPolicy(ObjectRef::new(&format!("policy-{}", by_name(round)), "hub")))
    });
    run("newShift", &mut |round| traffic(policy(size, by_name(round), 3, 75)));
    run("outlierDetectionByLabelInOneCluster", &mut |round| traffic(policy(size, by_name(round) + 1, 2, 60)));
    run("outlierDetectionByLabelInEveryCluster", &mut |round| traffic(wide(round)));
    run("podIsAnother", &mut |round| {
        Change::put(Input::Destination(destination(round % size.clusters, round % size.destinations, 2)))
    });
    Value::Object(all)
}

fn summary(times: &mut [Duration], writes: usize, deleted: usize) -> Value {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).map(|time| time.as_secs_f64() * 1e3);
    json!({
        "medianMilliseconds": at(50), "p90Milliseconds": at(90), "maximumMilliseconds": at(100),
        "meanWrites": writes, "meanDeletions": deleted,
    })
}

fn traffic(policy: Object<TrafficPolicy>) -> Change {
    Change::put(Input::TrafficPolicy(policy))
}

/// Number of a policy that shifts traffic, and selects by name.
fn by_name(round: usize) -> usize {
    round * 10
}

fn cluster(index: usize) -> String {
    format!("cluster-{index}")
}

fn mesh_of(cluster: usize) -> ObjectRef {
    ObjectRef::new(&format!("istiod-istio-system-cluster-{cluster}"), "hub")
}

fn service(cluster_index: usize, index: usize) -> ClusterObjectRef {
    ClusterObjectRef::new(&format!("service-{index}"), &format!("team-{}", index % 10), &cluster(cluster_index))
}

fn labels(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn inputs(size: &Size) -> Vec<Change> {
    let mut all = Vec::new();
    for index in 0..size.clusters {
        let registered = KubernetesCluster { secret_name: cluster(index), ..KubernetesCluster::default() };
        all.push(Input::Cluster(Object::new(&cluster(index), "hub", registered)));
        all.push(Input::Mesh(mesh(index)));
        for at in 0..size.destinations {
            all.push(Input::Destination(destination(index, at, 1)));
            all.push(Input::Workload(workload(index, at)));
        }
    }
    let meshes = (0..size.clusters).map(mesh_of).collect();
    // Selective: every tenth service is known to all.
    let selectors = vec![FederationSelector {
        destination_selectors: vec![DestinationSelector {
            kube_service_matcher: Some(Matcher { labels: labels(&[("tier", "0")]), ..Matcher::default() }),
            kube_service_refs: None,
        }],
        meshes: Vec::new(),
    }];
    let federation = FederationConfig {
        permissive: size.permissive.then_some(Permissive {}),
        selectors: if size.permissive { Vec::new() } else { selectors },
        ..FederationConfig::default()
    };
    let all_of_them = VirtualMesh { meshes, federation: Some(federation), ..VirtualMesh::default() };
    all.push(Input::VirtualMesh(Object::new("all", "hub", all_of_them)));
    all.extend((0..size.policies).map(|index| Input::TrafficPolicy(policy(size, index, 1, 75))));
    all.into_iter().map(Change::put).collect()
}

fn mesh(index: usize) -> Object<Mesh> {
    let gateway = IngressGateway {
        name: "istio-eastwestgateway".to_owned(),
        namespace: "istio-system".to_owned(),
        labels: labels(&[("istio", "eastwestgateway")]),
        workload_labels: labels(&[("istio", "eastwestgateway")]),
        external_addresses: vec![format!("172.18.{}.{}", index / 250, index % 250 + 1)],
        tls_ports: vec![GatewayPort { name: "tls".to_owned(), number: 15443, external_number: 15443 }],
    };
    let installation = Installation {
        namespace: "istio-system".to_owned(),
        cluster: cluster(index),
        region: format!("region-{}", index % 5),
        ..Installation::default()
    };
    let istio = Istio {
        installation,
        trust_domain: "cluster.local".to_owned(),
        trust_domain_aliases: Vec::new(),
        istiod_service_account: "istiod".to_owned(),
        ingress_gateways: vec![gateway],
        smart_dns_proxying_enabled: true,
    };
    Object::new(&mesh_of(index).name, "hub", Mesh { istio, agent_info: None })
}

fn destination(cluster_index: usize, index: usize, generation: i64) -> Object<Destination> {
    let reference = service(cluster_index, index);
    let app = reference.name.clone();
    let endpoint = |at: usize| Endpoint {
        ip_address: format!("10.{}.{}.{}", index % 250, at, generation),
        labels: labels(&[("app", app.as_str()), ("version", if at == 0 { "v1" } else { "v2" })]),
        ports: [("80".to_owned(), 8080)].into(),
        locality: format!("region-{}/zone-{at}", cluster_index % 5),
    };
    let port = ServicePort {
        port: 80,
        name: "http".to_owned(),
        protocol: "TCP".to_owned(),
        target_port: Some(8080),
        ..ServicePort::default()
    };
    let tier = (index % 10).to_string();
    let kube_service = KubeService {
        workload_selector_labels: labels(&[("app", app.as_str())]),
        labels: labels(&[("app", app.as_str()), ("tier", tier.as_str())]),
        ports: vec![port],
        subsets: [("version".to_owned(), ["v1", "v2"].map(str::to_owned).into())].into(),
        service_accounts: [app.clone()].into(),
        endpoints: (0..3).map(endpoint).collect(),
        without_proxies: false,
        reference,
    };
    let name = mesh_types::hub::names::join(&[&app, &kube_service.reference.namespace, &cluster(cluster_index)]);
    let mut object = Object::new(&name, "hub", Destination { kube_service, mesh: mesh_of(cluster_index) });
    object.metadata.generation = Some(generation);
    object
}

fn workload(cluster_index: usize, index: usize) -> Object<Workload> {
    let controller = service(cluster_index, index);
    let name = mesh_types::hub::names::join(&[&controller.name, &controller.namespace, &controller.cluster_name]);
    let spec = Workload {
        pod_labels: labels(&[("app", controller.name.as_str())]),
        service_account_name: controller.name.clone(),
        controller_kind: "Deployment".to_owned(),
        mesh: mesh_of(cluster_index),
        controller,
    };
    Object::new(&name, "hub", spec)
}

/// Of ten policies one shifts traffic of a service that everybody knows, one looks for outliers by label in one cluster, and
/// eight are about a service by name.
fn policy(size: &Size, index: usize, generation: i64, weight: u32) -> Object<TrafficPolicy> {
    // Shifts are of services that everybody knows, each of another one.
    let shift = index / 10;
    let home = if index.is_multiple_of(10) { shift % size.clusters } else { index % size.clusters };
    let away = (home + 1) % size.clusters;
    let at = shift / size.clusters * 10 % size.destinations;
    let by_name = |at: usize| DestinationSelector {
        kube_service_matcher: None,
        kube_service_refs: Some(ServiceRefs { services: vec![service(home, at)] }),
    };
    let (selector, policy) = match index % 10 {
        0 => {
            let target = |cluster: usize, weight: u32, version: &str| {
                let ClusterObjectRef { name, namespace, cluster_name } = service(cluster, at);
                let subset = labels(&[("version", version)]);
                let kube_service = Some(KubeTarget { name, namespace, cluster_name, subset, port: None });
                WeightedDestination { weight, kube_service, ..WeightedDestination::default() }
            };
            let destinations = vec![target(away, weight, "v2"), target(home, 100 - weight, "v1")];
            (by_name(at), Policy { traffic_shift: Some(TrafficShift { destinations }), ..Policy::default() })
        }
        1 => {
            let app = format!("service-{}", index % size.destinations);
            let matcher = Matcher {
                labels: labels(&[("app", app.as_str())]),
                clusters: vec![cluster(home)],
                ..Matcher::default()
            };
            let selector = DestinationSelector { kube_service_matcher: Some(matcher), kube_service_refs: None };
            (selector, outlier(weight))
        }
        tenth => {
            let timeout = mesh_types::IstioDuration(Duration::from_secs(u64::from(weight)));
            (
                by_name((index / 10 + tenth) % size.destinations),
                Policy { request_timeout: Some(timeout), ..Policy::default() },
            )
        }
    };
    object(&format!("policy-{index}"), generation, selector, policy)
}

fn outlier(errors: u32) -> Policy {
    let outlier_detection = OutlierDetection { consecutive_errors: Some(errors), ..OutlierDetection::default() };
    Policy { outlier_detection: Some(outlier_detection), ..Policy::default() }
}

/// A policy on one service of every cluster.
fn wide(round: usize) -> Object<TrafficPolicy> {
    let matcher = Matcher { labels: labels(&[("app", "service-5")]), ..Matcher::default() };
    let selector = DestinationSelector { kube_service_matcher: Some(matcher), kube_service_refs: None };
    object(
        "wide",
        i64::try_from(round).unwrap_or_default() + 1,
        selector,
        outlier(u32::try_from(round).unwrap_or_default() + 100),
    )
}

fn object(name: &str, generation: i64, selector: DestinationSelector, policy: Policy) -> Object<TrafficPolicy> {
    let spec = TrafficPolicy { destination_selector: vec![selector], policy, ..TrafficPolicy::default() };
    let mut object = Object::new(name, "hub", spec);
    object.metadata.generation = Some(generation);
    object
}

/// Most memory that the process ever had resident; `None` where the kernel does not say.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1e3)
}
