//! The requests that a write is made of.

use kube::api::DynamicObject;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use kube_support::error::describe;
use mesh_types::hub::names::FIELD_MANAGER;
use serde_json::{Value, json};

use super::observation::Observation;
use crate::kinds::Key;

/// What stands in the cluster after a request, as far as that is known.
pub type There = Option<Box<Observation>>;

/// Why a write did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The API server refuses; the text says why.
    Refused(String),
    /// It is not known whether it succeeded: no answer.
    Unreachable(String),
    /// Another object was there than was thought. Nothing was written; whoever asked has to look again.
    Surprised(There),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status.message.clone()),
            other => Self::Unreachable(describe(&other)),
        }
    }
}

/// Makes an object that was not there. What somebody else has made meanwhile is left as it is.
///
/// # Errors
/// The API server refuses or does not answer, or the object is there.
pub async fn create(client: Client, key: &Key, manifest: &Value) -> Result<Observation, Failure> {
    let api = key.kind.in_namespace(client, &key.namespace);
    if let Some(there) = api.get_opt(&key.name).await? {
        return Err(Failure::Surprised(Some(Box::new(observed(&there)))));
    }
    let params = PatchParams::apply(FIELD_MANAGER);
    let object = api.patch(&key.name, &params, &Patch::Apply(manifest)).await?;
    let others = object.metadata.managed_fields.iter().flatten();
    let others = others.filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER)).count();
    if others == 0 {
        return Ok(observed(&object));
    }
    // Somebody was faster by less than a request. Applying nothing takes away exactly what was added to their object.
    let nothing = json!({ "apiVersion": manifest["apiVersion"], "kind": manifest["kind"],
        "metadata": { "name": key.name, "namespace": key.namespace } });
    let restored = api.patch(&key.name, &params, &Patch::Apply(&nothing)).await?;
    Err(Failure::Surprised(Some(Box::new(observed(&restored)))))
}

/// Writes an object that is there, in the state that it was judged by: what somebody made of it meanwhile, or in its place, is
/// looked at first.
///
/// # Errors
/// The API server refuses or does not answer, or the object is another.
pub async fn update(
    client: Client,
    key: &Key,
    manifest: &Value,
    there: &Observation,
    force: bool,
    replace: bool,
) -> Result<Observation, Failure> {
    let api = key.kind.in_namespace(client, &key.namespace);
    let mut version = there.resource_version.clone();
    if replace {
        let taken_back = take_back(&api, key, manifest, there).await;
        version = judged(&api, key, there, taken_back).await?.resource_version;
    }
    let params = PatchParams { force, ..PatchParams::apply(FIELD_MANAGER) };
    let mut manifest = manifest.clone();
    manifest["metadata"]["resourceVersion"] = version.into();
    let applied = api.patch(&key.name, &params, &Patch::Apply(&manifest)).await;
    judged(&api, key, there, applied).await
}

/// The answer to a write that is conditional on what was there; a conflict is a surprise where something else is there now, and
/// a refusal otherwise: somebody owns the fields.
async fn judged(
    api: &Api<DynamicObject>,
    key: &Key,
    there: &Observation,
    answer: Result<DynamicObject, kube::Error>,
) -> Result<Observation, Failure> {
    match answer {
        Ok(object) => Ok(observed(&object)),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let now = api.get_opt(&key.name).await?.as_ref().map(observed);
            match now {
                Some(now) if now.resource_version == there.resource_version => Err(kube::Error::Api(status).into()),
                now => Err(Failure::Surprised(now.map(Box::new))),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Replaces the specification, for fields that others added stay when one applies.
async fn take_back(
    api: &Api<DynamicObject>,
    key: &Key,
    manifest: &Value,
    there: &Observation,
) -> Result<DynamicObject, kube::Error> {
    // A merge cannot take fields away.
    let operations = json!([
        { "op": "add", "path": "/metadata/resourceVersion", "value": there.resource_version },
        { "op": "add", "path": "/spec", "value": manifest["spec"] },
    ]);
    let operations = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&key.name, &params, &Patch::<()>::Json(operations)).await
}

/// Deletes an object in the state that it was judged by: no later one of the same name, and none that became another's meanwhile.
///
/// # Errors
/// The API server refuses or does not answer, or the object is another.
pub async fn delete(client: Client, key: &Key, there: &Observation) -> Result<(), Failure> {
    let api = key.kind.in_namespace(client, &key.namespace);
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let preconditions = Preconditions { uid: known(&there.uid), resource_version: known(&there.resource_version) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&key.name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let now = api.get_opt(&key.name).await?;
            Err(Failure::Surprised(now.as_ref().map(|now| Box::new(observed(now)))))
        }
        Err(error) => Err(error.into()),
    }
}

fn observed(object: &DynamicObject) -> Observation {
    serde_json::to_value(object).map(|value| Observation::of(&value)).unwrap_or_default()
}
