//! Performs the steps of the graph through the API. Decides nothing.

use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::graph::{Object, Policy, Step};
use super::resources::Resources;
use crate::objects::Key;

/// What a step came to.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done, or no longer needed; a watch event will tell the consequences.
    Done,
    /// The owner with this uid does not exist.
    OwnerIsAbsent(String),
    /// The namespace still has objects that the graph does not know yet.
    NotEmpty,
}

/// Performs one step. `object` is the object that the step is about, where it is about one.
///
/// # Errors
/// Those of the request; the step is then worth another try.
pub(super) async fn perform(
    client: &Client,
    resources: &Resources,
    step: &Step,
    object: Option<&Object>,
) -> Result<Answer, kube::Error> {
    let result = match (step, object) {
        (Step::Finalize { namespace }, _) => finalize(client, resources, namespace).await,
        (Step::Verify { owner, .. }, Some(dependent)) => {
            let Some(resource) = resources.of_owner(owner) else { return Ok(Answer::Done) };
            let found = resource.api(client, &dependent.key).get_metadata_opt(&owner.name).await?;
            let exists = found.is_some_and(|found| found.metadata.uid.as_deref() == Some(owner.uid.as_str()));
            Ok(if exists { Answer::Done } else { Answer::OwnerIsAbsent(owner.uid.clone()) })
        }
        (Step::Delete { policy, .. }, Some(object)) => delete(client, resources, object, *policy).await,
        (Step::RemoveOwners { owners, .. }, Some(object)) => {
            let left: Vec<_> = object.owners.iter().filter(|owner| !owners.contains(&owner.uid)).collect();
            patch(client, resources, object, json!({"ownerReferences": left})).await
        }
        (Step::RemoveFinalizer { finalizer, .. }, Some(object)) => {
            let left: Vec<_> = object.finalizers.iter().filter(|known| known != finalizer).collect();
            patch(client, resources, object, json!({"finalizers": left})).await
        }
        (_, None) => Ok(Answer::Done),
    };
    match result {
        // Gone, or another object of that name by now.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(Answer::Done),
        other => other,
    }
}

async fn delete(
    client: &Client,
    resources: &Resources,
    object: &Object,
    policy: Policy,
) -> Result<Answer, kube::Error> {
    let Some(api) = resources.api_of(client, object) else { return Ok(Answer::Done) };
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(object.uid.clone()), resource_version: None }),
        propagation_policy: Some(match policy {
            Policy::Background => PropagationPolicy::Background,
            Policy::Foreground => PropagationPolicy::Foreground,
            Policy::Orphan => PropagationPolicy::Orphan,
        }),
        ..DeleteParams::default()
    };
    api.delete(&object.key.name, &parameters).await.map(|_| Answer::Done)
}

async fn patch(
    client: &Client,
    resources: &Resources,
    object: &Object,
    mut metadata: Value,
) -> Result<Answer, kube::Error> {
    let Some(api) = resources.api_of(client, object) else { return Ok(Answer::Done) };
    metadata["uid"] = json!(object.uid);
    let patch = json!({"metadata": metadata});
    api.patch_metadata(&object.key.name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(|_| Answer::Done)
}

/// Confirms with the API server that nothing is left, removes the events, and takes the finalizer off.
async fn finalize(client: &Client, resources: &Resources, namespace: &str) -> Result<Answer, kube::Error> {
    let inside = Key::new(namespace, "");
    let one = ListParams::default().limit(1);
    for (_, resource) in resources.iter().filter(|(_, resource)| resource.namespaced) {
        match resource.api(client, &inside).list_metadata(&one).await {
            Ok(listed) if listed.items.is_empty() => {}
            Ok(_) => return Ok(Answer::NotEmpty),
            // The kind itself is gone since it was found, and nothing is left of it.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    events.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let api: Api<Namespace> = Api::all(client.clone());
    let Some(mut object) = api.get_opt(namespace).await? else { return Ok(Answer::Done) };
    let finalizers = object.spec.get_or_insert_default().finalizers.get_or_insert_default();
    finalizers.retain(|finalizer| finalizer != "kubernetes");
    api.replace_subresource("finalize", namespace, &PostParams::default(), &object).await.map(|_| Answer::Done)
}
