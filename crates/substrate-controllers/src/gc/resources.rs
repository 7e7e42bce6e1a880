//! Which kinds the cluster has: discovery, and the table from an owner reference to the API that answers for it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, DynamicObject};
use kube::discovery::{Scope, verbs};
use kube::{Api, Client, Discovery};

use super::graph::{Object, ResourceId};
use crate::objects::Key;

/// One kind that can be listed, watched and deleted.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) api: ApiResource,
    pub(super) namespaced: bool,
}

/// The kinds of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Resources(BTreeMap<ResourceId, Resource>);

impl Resources {
    /// Asks the API server.
    ///
    /// # Errors
    /// Those of the discovery requests.
    pub(super) async fn discover(client: &Client) -> Result<Self, kube::Error> {
        let discovery = match Discovery::new(client.clone()).run_aggregated().await {
            Ok(discovery) => discovery,
            Err(error) => {
                tracing::debug!(%error, "aggregated discovery failed, asking group by group");
                Discovery::new(client.clone()).run().await?
            }
        };
        let mut resources = BTreeMap::new();
        for (api, capabilities) in discovery.groups().flat_map(|group| group.recommended_resources()) {
            let usable =
                [verbs::LIST, verbs::WATCH, verbs::DELETE].iter().all(|verb| capabilities.supports_operation(verb));
            // Events own nothing and come in numbers; the deletion of a namespace removes them in one request.
            if usable && api.plural != "events" {
                let id = ResourceId { group: api.group.clone(), plural: api.plural.clone() };
                resources.insert(id, Resource { api, namespaced: capabilities.scope == Scope::Namespaced });
            }
        }
        Ok(Self(resources))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Resource)> {
        self.0.iter()
    }

    pub(super) fn get(&self, id: &ResourceId) -> Option<&Resource> {
        self.0.get(id)
    }

    /// The kind that an owner reference names, whatever version it names.
    pub(super) fn of_owner(&self, owner: &OwnerReference) -> Option<&Resource> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        self.0.values().find(|resource| resource.api.group == group && resource.api.kind == owner.kind)
    }

    /// The API of one object.
    pub(super) fn api_of(&self, client: &Client, object: &Object) -> Option<Api<DynamicObject>> {
        self.get(&object.resource).map(|resource| resource.api(client, &object.key))
    }
}

impl Resource {
    /// The API of objects in the namespace of `key`.
    pub(super) fn api(&self, client: &Client, key: &Key) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), &key.namespace, &self.api)
        } else {
            Api::all_with(client.clone(), &self.api)
        }
    }
}
