//! Performs the actions of a plan through the API and books their results in the caches. Decides nothing.

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use substrate_events::EventRecorder;

use crate::controllers::pod_events::{self, Change};
use crate::objects::Key;
use crate::plan::{Action, Kind, Plan, Refusal};
use crate::world::{Cached, World};

/// What a plan came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything was written; nothing more to decide until something changes.
    Settled,
    /// Objects were changed, so the decision is due again on the new picture.
    Changed,
    /// Some writes were refused.
    Refused(Vec<Refusal>),
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Executor {
    client: Client,
    recorder: EventRecorder,
}

macro_rules! with_kind {
    ($kind:expr, $type:ident => $body:expr) => {
        match $kind {
            Kind::Pod => {
                type $type = Pod;
                $body
            }
            Kind::ReplicaSet => {
                type $type = ReplicaSet;
                $body
            }
            Kind::Deployment => {
                type $type = Deployment;
                $body
            }
            Kind::StatefulSet => {
                type $type = StatefulSet;
                $body
            }
            Kind::DaemonSet => {
                type $type = DaemonSet;
                $body
            }
            Kind::Job => {
                type $type = Job;
                $body
            }
            Kind::Service => {
                type $type = Service;
                $body
            }
            Kind::EndpointSlice => {
                type $type = EndpointSlice;
                $body
            }
            Kind::Endpoints => {
                type $type = Endpoints;
                $body
            }
            Kind::ServiceAccount => {
                type $type = ServiceAccount;
                $body
            }
            Kind::ConfigMap => {
                type $type = ConfigMap;
                $body
            }
        }
    };
}

impl Executor {
    pub(crate) fn new(client: Client, recorder: EventRecorder) -> Self {
        Self { client, recorder }
    }

    /// Writes the plan. Status is written only when nothing else is left to do, because it would describe
    /// a picture that the other writes have just changed.
    pub(crate) async fn execute(&self, world: &World, plan: Plan) -> Outcome {
        let (changes, rest): (Vec<_>, Vec<_>) = plan.actions.into_iter().partition(Action::changes_objects);
        let (changed, refused) = self.perform_all(world, changes).await;
        if !refused.is_empty() {
            return Outcome::Refused(refused);
        }
        let rest = rest.into_iter().filter(|action| !changed || matches!(action, Action::Event { .. })).collect();
        let (_, refused) = self.perform_all(world, rest).await;
        match (refused.is_empty(), changed) {
            (false, _) => Outcome::Refused(refused),
            (true, true) => Outcome::Changed,
            (true, false) => Outcome::Settled,
        }
    }

    async fn perform_all(&self, world: &World, actions: Vec<Action>) -> (bool, Vec<Refusal>) {
        let any = !actions.is_empty();
        let results = join_all(actions.iter().map(|action| self.perform(world, action))).await;
        let refused =
            actions.into_iter().zip(results).filter_map(|(action, result)| Some(refusal(action, result.err()?)));
        (any, refused.collect())
    }

    async fn perform(&self, world: &World, action: &Action) -> Result<(), kube::Error> {
        match action {
            Action::Create { kind, namespace, object } => {
                with_kind!(kind, K => self.create::<K>(world, namespace, object).await)
            }
            Action::Patch { kind, key, patch } => {
                with_kind!(kind, K => self.patch::<K>(world, key, patch, false).await)
            }
            Action::PatchStatus { kind, key, patch } => {
                with_kind!(kind, K => self.patch::<K>(world, key, patch, true).await)
            }
            Action::Delete { kind, key, uid, propagation } => {
                with_kind!(kind, K => self.delete::<K>(world, key, uid, propagation.clone()).await)
            }
            Action::Bind { pod, uid, node } => self.bind(pod, uid, node).await,
            Action::Event { occurrence } => {
                self.recorder.record(occurrence.clone());
                Ok(())
            }
        }
    }

    fn api<K: Written>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn create<K: Written>(&self, world: &World, namespace: &str, object: &Value) -> Result<(), kube::Error> {
        let object: K = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        let created = self.api::<K>(namespace).create(&PostParams::default(), &object).await?;
        self.tell(Change::Created, &created);
        world.apply(created);
        Ok(())
    }

    async fn patch<K: Written>(
        &self,
        world: &World,
        key: &Key,
        patch: &Value,
        status: bool,
    ) -> Result<(), kube::Error> {
        let api = self.api::<K>(&key.namespace);
        let parameters = PatchParams::default();
        let patched = if status {
            api.patch_status(&key.name, &parameters, &Patch::Merge(patch)).await?
        } else {
            api.patch(&key.name, &parameters, &Patch::Merge(patch)).await?
        };
        world.apply(patched);
        Ok(())
    }

    async fn delete<K: Written>(
        &self,
        world: &World,
        key: &Key,
        uid: &str,
        propagation: Option<PropagationPolicy>,
    ) -> Result<(), kube::Error> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams {
            preconditions: Some(preconditions),
            propagation_policy: propagation,
            ..DeleteParams::default()
        };
        let known = K::cache(&world.caches).get(key);
        match self.api::<K>(&key.namespace).delete(&key.name, &parameters).await {
            Ok(answer) => {
                if let Some(known) = known {
                    self.tell(Change::Deleted, &*known);
                }
                match answer.left().filter(|object| object.meta().deletion_timestamp.is_some()) {
                    Some(object) => world.apply(object),
                    None => world.forget::<K>(key, uid),
                }
            }
            // Gone already, or another object of the same name: both mean that the one we meant is no more.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                world.forget::<K>(key, uid)
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells about a pod that was created or deleted; other kinds are told about by their controllers.
    fn tell<K: Written>(&self, change: Change, object: &K) {
        if K::kind(&()) == "Pod"
            && let Some(occurrence) = pod_events::about_owner(change, object.meta())
        {
            self.recorder.record(occurrence);
        }
    }

    async fn bind(&self, pod: &Key, uid: &str, node: &str) -> Result<(), kube::Error> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let result: Result<Status, _> = self
            .api::<Pod>(&pod.namespace)
            .create_subresource("binding", &pod.name, &PostParams::default(), &binding)
            .await;
        match result {
            // Bound or deleted in the meantime; the watch tells which.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

/// What all kinds that controllers write have in common.
trait Written: Cached + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Serialize {}
impl<K> Written for K where
    K: Cached + Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Serialize
{
}

fn refusal(action: Action, error: kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => Refusal { action, reason: status.reason, message: status.message },
        other => Refusal { action, reason: String::new(), message: other.to_string() },
    }
}
