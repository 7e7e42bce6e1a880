//! Who wants to be registered, and the WorkloadEntry that it gets. Pure.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Node;
use mesh_types::node::{NodeId, NodeMetadata, NotANodeId};
use mesh_types::{Kind, SpiffeId, WorkloadEntry, WorkloadGroup, names};
use serde_json::{Value, json};
use tonic::Status;

use crate::translate::json_object;

/// Longest name that an object may have.
const LONGEST_NAME: usize = 253;
/// Service account of who names none.
const DEFAULT_ACCOUNT: &str = "default";

/// A proxy that names a WorkloadGroup as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// Node id of the proxy.
    pub proxy: String,
    /// Name of the WorkloadGroup.
    pub group: String,
    /// Namespace of the proxy, and of its group.
    pub namespace: String,
    /// Address under which it is reached.
    pub address: String,
    /// Network that it is in; empty where it names none.
    pub network: String,
    /// Labels that it was started with.
    pub labels: BTreeMap<String, String>,
    /// Where it runs, `region/zone/subzone`; empty where it does not say.
    pub locality: String,
    /// Whether it reports the health of its application.
    pub health_checked: bool,
}

/// The group as the API server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its UID, for the reference of its members.
    pub uid: String,
    /// What its members have in common.
    pub spec: WorkloadGroup,
}

impl Group {
    /// The service account that its members have.
    pub fn service_account(&self) -> &str {
        let account = self.spec.template.service_account.as_str();
        if account.is_empty() { DEFAULT_ACCOUNT } else { account }
    }
}

impl Applicant {
    /// Reads the wish from what a proxy says about itself; nothing where it has none.
    pub fn from_node(node: &Node) -> Result<Option<Self>, NotANodeId> {
        let id = NodeId::parse(&node.id)?;
        let metadata = NodeMetadata(node.metadata.as_ref().map(json_object).unwrap_or_default());
        let Some(group) = metadata.text("AUTO_REGISTER_GROUP") else { return Ok(None) };
        let locality = node.locality.clone().unwrap_or_default();
        let places = [locality.region, locality.zone, locality.sub_zone];
        let known = places.iter().position(String::is_empty).unwrap_or(places.len());
        let probe = metadata.0.get("PROXY_CONFIG").and_then(|config| config.get("readinessProbe"));
        Ok(Some(Self {
            proxy: node.id.clone(),
            group: group.to_owned(),
            namespace: metadata.text("NAMESPACE").unwrap_or(&id.namespace).to_owned(),
            address: metadata.instance_ips().into_iter().next().unwrap_or(id.ip),
            network: metadata.text("NETWORK").unwrap_or_default().to_owned(),
            labels: metadata.labels(),
            locality: places[..known].join("/"),
            health_checked: probe.is_some_and(Value::is_object),
        }))
    }

    /// `<group>-<address>[-<network>]`, its beginning cut off where that is too long.
    pub fn entry_name(&self) -> String {
        let mut name = format!("{}-{}", self.group, self.address.replace(':', "-"));
        if !self.network.is_empty() {
            name = format!("{name}-{}", self.network);
        }
        let excess = name.len().saturating_sub(LONGEST_NAME);
        let start = (excess..=name.len()).find(|index| name.is_char_boundary(*index)).unwrap_or_default();
        name.split_off(start)
    }

    /// Refuses an identity that is not one of the group's.
    pub fn authorize(&self, identity: Option<&SpiffeId>, service_account: &str) -> Result<(), Status> {
        let Some(identity) = identity else {
            return Err(Status::permission_denied(format!(
                "{} cannot be registered: who it is was not proven",
                self.proxy
            )));
        };
        if identity.namespace == self.namespace && identity.service_account == service_account {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{identity} may not join WorkloadGroup {}/{}, whose members have the service account {service_account} of the namespace {}",
            self.namespace, self.group, self.namespace
        )))
    }

    /// The refusal where there is no such group.
    pub fn without_group(&self) -> Status {
        Status::failed_precondition(format!(
            "{} cannot be registered: there is no WorkloadGroup {}/{}; create it, or correct ISTIO_META_AUTO_REGISTER_GROUP",
            self.proxy, self.namespace, self.group
        ))
    }

    /// The WorkloadEntry of this member of a group, connected to an instance of the control plane since some time.
    pub fn entry(&self, group: &Group, instance: &str, connected_at: &str) -> Value {
        let own = group.spec.metadata.clone().unwrap_or_default();
        // What the workload says wins over what the group's metadata says, and that over the template.
        let labels: BTreeMap<String, String> =
            group.spec.template.labels.clone().into_iter().chain(own.labels).chain(self.labels.clone()).collect();
        let mut annotations = own.annotations;
        let mut annotate = |name: &str, value: &str| annotations.insert(name.to_owned(), value.to_owned());
        annotate(names::ANNOTATION_REGISTERED_FROM, &group.name);
        annotate(names::ANNOTATION_WORKLOAD_CONTROLLER, instance);
        annotate(names::ANNOTATION_CONNECTED_AT, connected_at);
        if self.health_checked {
            annotate(names::ANNOTATION_HEALTH_CHECKED, "true");
        }
        let or_template = |said: &str, template: &str| if said.is_empty() { template } else { said }.to_owned();
        let spec = WorkloadEntry {
            address: self.address.clone(),
            labels: labels.clone(),
            network: or_template(&self.network, &group.spec.template.network),
            locality: or_template(&self.locality, &group.spec.template.locality),
            service_account: group.service_account().to_owned(),
            ..group.spec.template.clone()
        };
        json!({
            "apiVersion": api_version(Kind::WorkloadEntry),
            "kind": Kind::WorkloadEntry.name(),
            "metadata": {
                "name": self.entry_name(),
                "namespace": self.namespace,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": api_version(Kind::WorkloadGroup),
                    "kind": Kind::WorkloadGroup.name(),
                    "name": group.name,
                    "uid": group.uid,
                    "controller": true,
                }],
            },
            "spec": spec,
        })
    }
}

fn api_version(kind: Kind) -> String {
    format!("{}/{}", kind.group(), kind.versions().first().copied().unwrap_or("v1"))
}

#[cfg(test)]
mod tests;
