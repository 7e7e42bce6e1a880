//! Which services and workloads an object of the mesh is about.

use serde_json::Value;

use super::steps::{Look, MESH_NAMESPACE, thing};
use super::{Service, Thing};
use crate::scenario::plan::{Action, Change, ObjectRef, Patch, Plan, Step};

/// The objects that a plan applies as a whole: what others steps of it name, they say.
pub(super) struct Written(Vec<(ObjectRef, Value)>);

impl Written {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut all = Vec::new();
        collect(&plan.steps, &mut all);
        collect(&plan.finally, &mut all);
        Self(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, object: &ObjectRef) -> bool {
        self.0.iter().any(|(known, _)| known == object)
    }

    fn all(&self, object: &ObjectRef) -> Vec<Value> {
        self.0.iter().filter(|(known, _)| known == object).map(|(_, value)| value.clone()).collect()
    }
}

fn collect(steps: &[Step], all: &mut Vec<(ObjectRef, Value)>) {
    for step in steps {
        match &step.action {
            Action::Apply(apply) => {
                all.extend(apply.objects.iter().map(|object| (reference(object), object.clone())));
            }
            Action::Control(control) => {
                collect(&control.change, all);
                collect(&control.restore, all);
            }
            _ => {}
        }
        step.members().into_iter().for_each(|members| collect(members, all));
        collect(&step.cleanup, all);
    }
}

fn reference(object: &Value) -> ObjectRef {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    ObjectRef {
        api_version: text("/apiVersion").unwrap_or_default(),
        kind: text("/kind").unwrap_or_default(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}

impl Look {
    /// An object is written as a whole.
    pub(super) fn object(&mut self, clusters: &[String], object: &Value) {
        let name = reference(object);
        let namespace = name.namespace.clone().unwrap_or_default();
        self.footprint.writes.insert(Thing::Object(name.clone()));
        let known = match name.kind.as_str() {
            // In its root namespace configuration is that of the whole mesh.
            _ if namespace.is_empty() || namespace == MESH_NAMESPACE => false,
            "VirtualService" | "DestinationRule" => self.routes(clusters, &namespace, object),
            "PeerAuthentication" | "AuthorizationPolicy" => self.policy(clusters, &namespace, object),
            _ => false,
        };
        if !known {
            self.footprint.be_alone(format!("it changes {}", name.key()));
        }
    }

    /// An object is deleted: which services it was about the plan says where it applies it.
    pub(super) fn named(&mut self, clusters: &[String], object: &ObjectRef) {
        let all = self.written.all(object);
        if all.is_empty() {
            self.footprint.be_alone(format!("it changes {}, which another may have applied", object.key()));
        }
        all.iter().for_each(|value| self.object(clusters, value));
    }

    /// A patch may make an object be about something else.
    pub(super) fn patch(&mut self, patch: &Patch) {
        self.named(&patch.clusters, &patch.object);
        let moves = match &patch.change {
            Change::Merge(value) => names_others(value),
            Change::Json(operations) => serde_json::to_value(operations).is_ok_and(|list| {
                let operations = list.as_array().cloned().unwrap_or_default();
                operations.iter().any(|operation| {
                    let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
                    path.split('/').any(is_about_others) || operation.get("value").is_some_and(names_others)
                })
            }),
        };
        if moves {
            self.footprint.be_alone(format!("it changes what {} is about", patch.object.key()));
        }
    }

    /// What callers on these clusters do with the hosts that an object names anywhere.
    fn routes(&mut self, clusters: &[String], namespace: &str, object: &Value) -> bool {
        let mut hosts = Vec::new();
        hosts_in(object.get("spec").unwrap_or(&Value::Null), &mut hosts);
        let services: Vec<Option<Service>> = hosts.iter().map(|host| self.service(host, namespace)).collect();
        let of_gateways = object.pointer("/spec/gateways").is_some();
        if of_gateways || services.is_empty() || services.iter().any(Option::is_none) {
            return false;
        }
        for service in services.into_iter().flatten() {
            self.follow(clusters, &service);
            // Gateways follow subsets and their policies, but no routes.
            if object.get("kind").and_then(Value::as_str) == Some("DestinationRule") {
                let entrance =
                    |cluster: &String| Thing::Entrance { cluster: cluster.clone(), service: service.clone() };
                self.footprint.writes.extend(clusters.iter().map(entrance));
            }
        }
        true
    }

    /// A policy of the servers that it selects, which their callers follow, too.
    fn policy(&mut self, clusters: &[String], namespace: &str, object: &Value) -> bool {
        let app = match object.pointer("/spec/selector/matchLabels") {
            Some(labels) => match labels.get("app").and_then(Value::as_str) {
                Some(app) => Some(app.to_owned()),
                None => return false,
            },
            None if object.pointer("/spec/selector").is_none() => None,
            None => return false,
        };
        let selected = |one: &&crate::topology::Workload| {
            one.namespace == namespace && app.as_ref().is_none_or(|app| one.app == *app)
        };
        let workloads: Vec<_> = self.workloads.iter().filter(selected).cloned().collect();
        for one in &workloads {
            self.footprint.writes.insert(thing(one));
            self.follow(clusters, &Service { namespace: namespace.to_owned(), name: one.app.clone() });
        }
        !workloads.is_empty()
    }

    fn follow(&mut self, clusters: &[String], service: &Service) {
        let route = |cluster: &String| Thing::Route { cluster: cluster.clone(), service: service.clone() };
        self.footprint.writes.extend(clusters.iter().map(route));
    }
}

/// Values of `host` and `hosts`, however deep.
fn hosts_in(value: &Value, into: &mut Vec<String>) {
    let fields = value.as_object().into_iter().flatten();
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("host", Value::String(host)) => into.push(host.clone()),
            ("hosts", Value::Array(hosts)) => {
                into.extend(hosts.iter().map(|host| host.as_str().unwrap_or("*").to_owned()));
            }
            (_, value) => hosts_in(value, into),
        }
    }
    value.as_array().into_iter().flatten().for_each(|value| hosts_in(value, into));
}

fn is_about_others(key: &str) -> bool {
    matches!(key, "host" | "hosts" | "selector" | "gateways" | "matchLabels")
}

/// Whether a value has fields that say what an object is about.
fn names_others(value: &Value) -> bool {
    let mut fields = value.as_object().into_iter().flatten();
    let named = |(key, value): (&String, &Value)| is_about_others(key) || names_others(value);
    fields.any(named) || value.as_array().into_iter().flatten().any(names_others)
}
