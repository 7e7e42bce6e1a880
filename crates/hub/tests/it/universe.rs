//! A small world in which everything can be there, be another, and go away: what random histories are made of.

use std::collections::BTreeMap;

use hub::output::{ObjectKey, OutputKind};
use hub::state::{Change, Input, InputKey};
use hub::world::Foreign;
use mesh_types::hub::{Object, ObjectRef, Resource};
use serde_json::{Value, json};

/// How many things there can be.
pub(crate) const THINGS: usize = 32;
/// How many forms each has; form 0 is that it is not there.
pub(crate) const FORMS: usize = 7;

/// Names of clusters.
pub(crate) const CLUSTERS: [&str; 3] = ["c1", "c2", "c3"];

/// What is there, and how often each thing was changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Universe {
    there: BTreeMap<usize, Input>,
    generations: BTreeMap<usize, i64>,
}

impl Universe {
    /// Gives a thing a form; `None` where it is not there and shall not be.
    pub(crate) fn change(&mut self, thing: usize, form: usize) -> Option<Change> {
        let generation = self.generations.entry(thing).or_default();
        *generation += 1;
        let Some(input) = made(thing, form, *generation) else {
            return self.there.remove(&thing).map(|input| Change::Remove(input.key()));
        };
        self.there.insert(thing, input.clone());
        Some(Change::put(input))
    }

    /// What is there, with the statuses that `status` gives.
    pub(crate) fn with_statuses(&self, status: impl Fn(&mut Input)) -> Vec<Change> {
        let filled = self.there.values().cloned().map(|mut input| {
            status(&mut input);
            Change::put(input)
        });
        filled.collect()
    }

    /// Names of what is there.
    pub(crate) fn keys(&self) -> impl Iterator<Item = InputKey> {
        self.there.values().map(Input::key)
    }
}

fn mesh(cluster: usize) -> ObjectRef {
    ObjectRef::new(&format!("m{}", cluster + 1), "hub")
}

fn named<R: Resource>(name: &str, namespace: &str, generation: i64, spec: Value) -> Object<R> {
    let metadata = json!({ "name": name, "namespace": namespace, "generation": generation,
        "creationTimestamp": format!("2026-01-01T00:00:{generation:02}Z") });
    Object::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

fn made(thing: usize, form: usize, generation: i64) -> Option<Input> {
    if form == 0 {
        return None;
    }
    Some(match thing {
        0..=2 => cluster(thing, form),
        3..=5 => Input::Mesh(named(&mesh(thing - 3).name, "hub", generation, a_mesh(thing - 3, form))),
        6..=11 => destination((thing - 6) / 2, (thing - 6) % 2, form, generation),
        12..=13 => virtual_mesh(thing - 12, form, generation),
        14..=19 => traffic_policy(thing - 14, form, generation),
        20..=22 => virtual_destination(thing - 20, form, generation),
        23..=25 => access_policy(thing - 23, form, generation),
        _ => foreign(thing - 26, form),
    })
}

fn cluster(index: usize, form: usize) -> Input {
    let domain = if form == 1 { "other.local" } else { "" };
    Input::Cluster(named(CLUSTERS[index], "hub", 1, json!({ "secretName": "x", "clusterDomain": domain })))
}

fn a_mesh(index: usize, form: usize) -> Value {
    let gateway = |name: &str, address: &str, port: u16| {
        json!({ "name": name, "namespace": "istio-system", "labels": { "role": name }, "workloadLabels": { "app": name },
            "externalAddresses": [address], "tlsPorts": [{ "name": "tls", "number": 15443, "externalNumber": port }] })
    };
    let first = gateway("first", &format!("172.18.{index}.1"), 15443);
    let second = gateway("second", "gateway.example.org", 443);
    let gateways = match form {
        1 => json!([]),
        2 => json!([first, second]),
        _ => json!([first]),
    };
    json!({
        "istio": {
            "installation": { "namespace": if form == 3 { "mesh-root" } else { "istio-system" }, "cluster": CLUSTERS[index],
                "region": if form == 4 { "west" } else { "east" } },
            "trustDomain": if form == 5 { format!("c{index}.example") } else { "cluster.local".to_owned() },
            "istiodServiceAccount": "istiod", "ingressGateways": gateways, "smartDnsProxyingEnabled": true,
        },
        "agentInfo": if form == 6 { Value::Null } else { json!({ "agentNamespace": "agent" }) },
    })
}

const SERVICES: [&str; 2] = ["reviews", "ratings"];

fn destination(cluster: usize, service: usize, form: usize, generation: i64) -> Input {
    let name = SERVICES[service];
    let versions = match form {
        1 => vec!["v1"],
        2 => vec!["v2", "v3"],
        _ => vec!["v1", "v2", "v3"],
    };
    let endpoint = |(at, version): (usize, &&str)| {
        json!({ "ipAddress": format!("10.0.{cluster}.{at}"), "labels": { "app": name, "version": version },
            "ports": { "9080": 9080 }, "locality": "east/a" })
    };
    let endpoints: Vec<_> = if form == 3 { Vec::new() } else { versions.iter().enumerate().map(endpoint).collect() };
    let ports = match form {
        4 => {
            json!([{ "port": 9080, "name": "http", "protocol": "TCP", "targetPort": 9080 }, { "port": 80, "name": "tcp", "protocol": "TCP" }])
        }
        5 => json!([{ "port": 9080, "name": "tcp", "protocol": "TCP", "targetPort": 9080 }]),
        _ => json!([{ "port": 9080, "name": "http", "protocol": "TCP", "targetPort": 9080 }]),
    };
    let labels = if form == 6 { json!({ "app": "other" }) } else { json!({ "app": name }) };
    let selector = if form == 5 { json!({}) } else { json!({ "app": name }) };
    Input::Destination(named(
        &format!("{name}-ns-{}", CLUSTERS[cluster]),
        "hub",
        generation,
        json!({ "kubeService": {
            "ref": { "name": name, "namespace": "ns", "clusterName": CLUSTERS[cluster] },
            "workloadSelectorLabels": selector, "labels": labels, "ports": ports,
            "subsets": { "version": versions }, "serviceAccounts": [name], "endpoints": endpoints,
            "withoutProxies": form == 6 && service == 1,
        }, "mesh": mesh(cluster) }),
    ))
}

fn virtual_mesh(index: usize, form: usize, generation: i64) -> Input {
    let members = match form {
        1 => vec![mesh(0), mesh(1)],
        // Not valid, and still it denies.
        4 if index == 1 => vec![mesh(0), mesh(2), mesh(2)],
        2 => vec![mesh(1), mesh(2)],
        _ => vec![mesh(0), mesh(1), mesh(2)],
    };
    let one_service = json!({ "destinationSelectors": [{ "kubeServiceMatcher": { "labels": { "app": "reviews" } } }], "meshes": [members[0]] });
    let federation = match form {
        3 => Value::Null,
        4 => {
            json!({ "selectors": [one_service, { "destinationSelectors": [{ "kubeServiceRefs": { "services": [{ "name": "ratings", "namespace": "ns", "clusterName": "c2" }] } }] }] })
        }
        5 => json!({ "permissive": {}, "flatNetwork": true }),
        6 => json!({ "permissive": {}, "hostnameSuffix": "mesh" }),
        _ => json!({ "permissive": {} }),
    };
    let spec = json!({ "meshes": members, "federation": federation, "mtlsConfig": { "shared": {}, "autoRestartPods": form == 1 },
        "globalAccessPolicy": if form == 2 || (form == 4 && index == 1) { "ENABLED" } else { "MESH_DEFAULT" } });
    Input::VirtualMesh(named(&format!("vm{index}"), "hub", generation, spec))
}

fn traffic_policy(index: usize, form: usize, generation: i64) -> Input {
    let service =
        |cluster: usize, name: &str| json!({ "name": name, "namespace": "ns", "clusterName": CLUSTERS[cluster % 3] });
    let shift = |to: Value| json!({ "trafficShift": { "destinations": [to] } });
    let with = |mut target: Value, more: Value| {
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        target
    };
    let away = with(service(index + 1, "reviews"), json!({ "subset": { "version": "v3" } }));
    let here = with(service(index, "reviews"), json!({ "subset": { "version": "v1" } }));
    let action = match form {
        1 => {
            json!({ "trafficShift": { "destinations": [{ "weight": 75, "kubeService": away }, { "weight": 25, "kubeService": here }] } })
        }
        2 => shift(
            json!({ "weight": 100, "virtualDestination": { "name": "vd0", "namespace": "hub", "subset": { "version": "v2" } } }),
        ),
        3 => {
            json!({ "requestTimeout": format!("{}s", index + 1), "mirror": { "kubeService": service(index + 2, "ratings") } })
        }
        4 => json!({ "outlierDetection": { "consecutiveErrors": index + 1 } }),
        5 => shift(json!({ "weight": 90, "kubeService": here })),
        _ => json!({ "mtls": { "istio": { "tlsMode": "DISABLE" } }, "outlierDetection": { "maxEjectionPercent": 10 } }),
    };
    let selector = match index {
        0 | 1 => json!([{ "kubeServiceRefs": { "services": [service(0, "reviews")] } }]),
        2 => json!([{ "kubeServiceMatcher": { "labels": { "app": "reviews" } } }]),
        3 => json!([{ "kubeServiceMatcher": { "clusters": ["c2"] } }]),
        4 => {
            json!([{ "kubeServiceMatcher": { "clusters": ["c1"] }, "kubeServiceRefs": { "services": [service(2, "ratings")] } }])
        }
        _ => json!([]),
    };
    let everybody = matches!(form, 4 | 6) || index.is_multiple_of(2);
    let source = if everybody {
        json!([])
    } else {
        json!([{ "kubeWorkloadMatcher": { "clusters": ["c2"], "namespaces": ["ns"] } }])
    };
    let spec = json!({ "sourceSelector": source, "destinationSelector": selector, "policy": action });
    Input::TrafficPolicy(named(&format!("tp{index}"), "hub", generation, spec))
}

fn virtual_destination(index: usize, form: usize, generation: i64) -> Input {
    let backend = |cluster: usize| json!({ "kubeService": { "name": "reviews", "namespace": "ns", "clusterName": CLUSTERS[cluster] } });
    let mut spec = json!({ "port": { "number": 9080, "protocol": "http" }, "outlierDetection": {} });
    spec["hostname"] = if index == 1 { "reviews.global".into() } else { format!("vd{index}.global").into() };
    if form == 2 {
        spec["hostname"] = "reviews.global".into();
    }
    spec["virtualMesh"] = json!({ "name": "vm0", "namespace": "hub" });
    match form {
        1 => spec["static"] = json!({ "destinations": [backend(0), backend(1), backend(2)] }),
        2 => spec["static"] = json!({ "destinations": [backend(1)] }),
        3 => {
            spec["localized"] = json!({ "destinationSelectors": [{ "kubeServiceMatcher": { "labels": { "app": "reviews" } } }],
                "failoverDirectives": [{ "from": { "region": "east" }, "to": [{ "region": "west" }] }] });
        }
        4 => {
            let fields = spec.as_object_mut().unwrap();
            fields.remove("virtualMesh");
            fields.insert("meshList".to_owned(), json!({ "meshes": [mesh(0), mesh(2)] }));
            fields.insert("static".to_owned(), json!({ "destinations": [backend(0), backend(2)] }));
        }
        5 => {
            spec["static"] = json!({ "destinations": [backend(0), backend(1)] });
            spec["virtualMesh"]["name"] = "vm1".into();
        }
        _ => {
            spec["localized"] = json!({ "destinationSelectors": [{ "kubeServiceMatcher": { "namespaces": ["ns"] } }] })
        }
    }
    Input::VirtualDestination(named(&format!("vd{index}"), "hub", generation, spec))
}

fn access_policy(index: usize, form: usize, generation: i64) -> Input {
    let source = match form {
        1 => json!([]),
        2 => json!([{ "kubeIdentityMatcher": { "clusters": ["c1"] } }]),
        3 => json!([{ "kubeIdentityMatcher": { "clusters": ["c3"], "namespaces": ["ns"] } }]),
        4 => json!([{ "kubeServiceAccountRefs": { "serviceAccounts": [{ "name": "reviews", "namespace": "ns" }] } }]),
        _ => json!([{ "kubeIdentityMatcher": { "namespaces": ["ns", "ops"] } }]),
    };
    let selector = match index {
        0 => json!([]),
        1 => {
            json!([{ "kubeServiceRefs": { "services": [{ "name": "reviews", "namespace": "ns", "clusterName": "c1" }] } }])
        }
        _ => json!([{ "kubeServiceMatcher": { "clusters": ["c2", "c3"] } }]),
    };
    let methods = if form == 5 { json!(["fetch"]) } else { json!(["GET"]) };
    let spec = json!({ "sourceSelector": source, "destinationSelector": selector, "allowedMethods": methods });
    Input::AccessPolicy(named(&format!("ap{index}"), "hub", generation, spec))
}

fn foreign(index: usize, form: usize) -> Input {
    let (kind, namespace, name) = match index {
        0 => (OutputKind::VirtualService, "ns", "reviews"),
        1 => (OutputKind::DestinationRule, "team", "own"),
        2 => (OutputKind::ServiceEntry, "istio-system", "reviews.ns.svc.c2.global"),
        // Where routes and subsets of the hub stand once a mesh has another root namespace.
        4 => (OutputKind::VirtualService, "mesh-root", "reviews.ns.svc.c2.global"),
        5 => (OutputKind::DestinationRule, "mesh-root", "reviews.ns.svc.c1.global"),
        _ => (OutputKind::AuthorizationPolicy, "istio-system", "global-access-control"),
    };
    let host = match form {
        1 | 2 => "reviews.ns.svc.cluster.local",
        3 => "ratings.ns.svc.c2.global",
        4 => "reviews.global",
        5 => "hub.vd0.vd.global",
        _ => "reviews.ns.svc.c1.global",
    };
    let cluster = CLUSTERS[index % 2].to_owned();
    Input::Foreign(Foreign { cluster, key: ObjectKey::new(kind, namespace, name) }, vec![host.to_owned()])
}
