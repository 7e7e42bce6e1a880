//! Reads configuration objects. One that cannot be used is a problem and nothing more. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_types::object::Resource;
use mesh_types::{
    AuthorizationPolicy, DestinationRule, Gateway, Kind, Object, PeerAuthentication, ServiceEntry, VirtualService,
    WorkloadEntry, WorkloadGroup,
};
use serde_json::Value;

use super::objects::Key;
use super::{Configs, Problem};

/// A configuration object as it was read.
#[derive(Clone, Debug)]
pub enum Config {
    /// A Gateway.
    Gateway(Arc<Object<Gateway>>),
    /// A VirtualService.
    VirtualService(Arc<Object<VirtualService>>),
    /// A DestinationRule.
    DestinationRule(Arc<Object<DestinationRule>>),
    /// A ServiceEntry.
    ServiceEntry(Arc<Object<ServiceEntry>>),
    /// A WorkloadEntry.
    WorkloadEntry(Arc<Object<WorkloadEntry>>),
    /// A WorkloadGroup.
    WorkloadGroup(Arc<Object<WorkloadGroup>>),
    /// A PeerAuthentication.
    PeerAuthentication(Arc<Object<PeerAuthentication>>),
    /// An AuthorizationPolicy.
    AuthorizationPolicy(Arc<Object<AuthorizationPolicy>>),
    /// One that cannot be used, and why.
    Unusable(Vec<Problem>),
}

/// Reads an object of a kind. Objects of a list carry no kind of their own.
pub fn read(kind: Kind, mut object: Value) -> Config {
    object["kind"] = kind.name().into();
    match kind {
        Kind::Gateway => typed(object, Config::Gateway),
        Kind::VirtualService => typed(object, Config::VirtualService),
        Kind::DestinationRule => typed(object, Config::DestinationRule),
        Kind::ServiceEntry => typed(object, Config::ServiceEntry),
        Kind::WorkloadEntry => typed(object, Config::WorkloadEntry),
        Kind::WorkloadGroup => typed(object, Config::WorkloadGroup),
        Kind::PeerAuthentication => typed(object, Config::PeerAuthentication),
        Kind::AuthorizationPolicy => typed(object, Config::AuthorizationPolicy),
    }
}

fn typed<S: Resource>(object: Value, usable: fn(Arc<Object<S>>) -> Config) -> Config {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let reference = format!("{}/{}/{}", S::KIND.name(), text("/metadata/namespace"), text("/metadata/name"));
    if let Err(errors) = mesh_types::validate(&object) {
        return Config::Unusable(errors.iter().map(|error| Problem::new(&reference, error.to_string())).collect());
    }
    match Object::<S>::from_value(object) {
        Ok(object) => usable(Arc::new(object)),
        Err(error) => Config::Unusable(vec![Problem::new(&reference, error.to_string())]),
    }
}

/// Collects objects by kind, oldest first.
pub fn collect(tables: &BTreeMap<Kind, BTreeMap<Key, Config>>) -> Configs {
    let mut configs = Configs::default();
    for config in tables.values().flat_map(BTreeMap::values) {
        match config {
            Config::Gateway(object) => configs.gateways.push(Arc::clone(object)),
            Config::VirtualService(object) => configs.virtual_services.push(Arc::clone(object)),
            Config::DestinationRule(object) => configs.destination_rules.push(Arc::clone(object)),
            Config::ServiceEntry(object) => configs.service_entries.push(Arc::clone(object)),
            Config::WorkloadEntry(object) => configs.workload_entries.push(Arc::clone(object)),
            Config::WorkloadGroup(object) => configs.workload_groups.push(Arc::clone(object)),
            Config::PeerAuthentication(object) => configs.peer_authentications.push(Arc::clone(object)),
            Config::AuthorizationPolicy(object) => configs.authorization_policies.push(Arc::clone(object)),
            Config::Unusable(problems) => configs.problems.extend(problems.iter().cloned()),
        }
    }
    oldest_first(&mut configs.gateways);
    oldest_first(&mut configs.virtual_services);
    oldest_first(&mut configs.destination_rules);
    oldest_first(&mut configs.service_entries);
    oldest_first(&mut configs.workload_entries);
    oldest_first(&mut configs.workload_groups);
    oldest_first(&mut configs.peer_authentications);
    oldest_first(&mut configs.authorization_policies);
    configs
}

fn oldest_first<S>(objects: &mut [Arc<Object<S>>]) {
    objects.sort_by(|left, right| {
        let order = |object: &'_ Object<S>| {
            let metadata = object.metadata.clone();
            (metadata.creation_timestamp, metadata.namespace, metadata.name)
        };
        order(left).cmp(&order(right))
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(name: &str, created: &str, host: &Value) -> (Key, Config) {
        let object =
            json!({"metadata": {"name": name, "namespace": "a", "creationTimestamp": created}, "spec": {"host": host}});
        (("a".to_owned(), name.to_owned()), read(Kind::DestinationRule, object))
    }

    #[test]
    fn the_oldest_comes_first_and_a_bad_one_is_a_problem() {
        let objects = [
            rule("a", "2026-01-02T00:00:00Z", &json!("x")),
            rule("b", "2026-01-01T00:00:00Z", &json!("x")),
            rule("c", "2026-01-01T00:00:00Z", &json!(7)),
        ];
        let configs = collect(&BTreeMap::from([(Kind::DestinationRule, BTreeMap::from(objects))]));
        let names: Vec<&str> = configs.destination_rules.iter().map(|rule| rule.metadata.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(configs.problems, [Problem::new("DestinationRule/a/c", "spec.host: must be of type string")]);
    }
}
