//! Steps about the management plane: clusters that are registered, and the end of what it does with a change.

use std::time::Duration;

use futures::future::try_join_all;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_types::hub::names;
use serde_json::{Value, json};

use super::context::Error;
use super::runner::{Done, Runner};
use crate::check::convergence;
use crate::cluster::{Cluster, chain};
use crate::management::deregistration::{self, WRITTEN};
use crate::management::target::Target;
use crate::management::{registration, resources};
use crate::scenario::plan::{ClusterConvergence, ObjectRef, Register};

/// Between two looks at the management cluster.
const STEP: Duration = Duration::from_millis(50);

impl Runner<'_> {
    pub(super) async fn register(&self, register: &Register) -> Result<Done, Error> {
        let management = self.environment.cluster(&register.management)?;
        let each = register.clusters.iter().map(async |name| {
            let target = Target::of_environment(self.environment.cluster(name)?)?;
            if register.registered {
                registration::register(management, &target, name).await?;
                let mesh = registration::reached(management, name, registration::REACH).await?;
                return Ok::<_, Error>(format!("{name} is registered, with mesh {mesh}"));
            }
            let deadline = deregistration::REMOVED;
            let removed = deregistration::deregister(management, Some(&target), name, false, deadline).await?;
            Ok(format!("{name} is no longer registered; {} objects removed", removed.objects))
        });
        Ok(Done { outcome: verdict::Outcome::Pass, evidence: try_join_all(each).await? })
    }

    /// Waits until the plane has carried out what was changed, and every proxy of every registered mesh holds what it made of
    /// it. While its manager is scaled to nothing changes wait, and what is in force is as it was.
    pub(super) async fn carried_out(
        &self,
        wanted: &ClusterConvergence,
        deadline: Duration,
        may_drain: bool,
    ) -> Result<Vec<String>, Error> {
        let management = self.environment.cluster(&wanted.cluster)?;
        let begun = tokio::time::Instant::now();
        let mut evidence = Vec::new();
        let meshes = self.meshes().await?;
        if is_stopped(management).await? {
            evidence.push("the manager is scaled to nothing: what was changed waits for it".to_owned());
        } else {
            let what = "the management plane to carry out what was changed".to_owned();
            let look = async || {
                for object in &wanted.managed {
                    judged(management, object).await?;
                }
                for object in &wanted.withdrawn {
                    gone(management, object, &meshes).await?;
                }
                Ok::<_, String>(())
            };
            let source = eventually::poll(what, deadline, STEP, look).await;
            source.map_err(|source| convergence::Error::TimedOut { cluster: wanted.cluster.clone(), source })?;
        }
        let left = deadline.saturating_sub(begun.elapsed());
        let each = meshes.iter().map(async |cluster| {
            let held = convergence::whole::in_force(cluster, left, may_drain).await?;
            if may_drain {
                self.environment.leave_draining(cluster.name());
            }
            let (name, proxies) = (cluster.name(), held.proxies);
            Ok::<_, Error>(format!("{name}: {proxies} proxies acknowledged snapshot {}", held.snapshot))
        });
        evidence.extend(try_join_all(each).await?);
        Ok(evidence)
    }

    /// The clusters that have a mesh.
    async fn meshes(&self) -> Result<Vec<&Cluster>, Error> {
        let mut meshes = Vec::new();
        for cluster in self.environment.clusters() {
            if convergence::has_mesh(cluster).await? {
                meshes.push(cluster);
            }
        }
        Ok(meshes)
    }
}

async fn is_stopped(management: &Cluster) -> Result<bool, Error> {
    let manager = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "namespace": names::NAMESPACE, "name": names::MANAGER },
    });
    let found = management.get(&manager).await?;
    Ok(found.is_some_and(|deployment| deployment.data["spec"]["replicas"] == 0))
}

/// Whether the plane has come to an end with a resource as it is now: in force and acknowledged, or refused.
async fn judged(management: &Cluster, object: &ObjectRef) -> Result<(), String> {
    let found = management.get(&object.manifest()).await.map_err(|error| chain(&error))?;
    let Some(found) = found else { return Err(format!("{} is not there", object.key())) };
    ended(&object.key(), &found.data["status"], found.metadata.generation)
}

fn ended(name: &str, status: &Value, generation: Option<i64>) -> Result<(), String> {
    if status["observedGeneration"].as_i64() != generation {
        return Err(format!("the management plane has not looked at {name} as it is now"));
    }
    match status["state"].as_str() {
        Some("ACTIVE" | "INVALID") => Ok(()),
        other => Err(format!("{name} is {}: {}", other.unwrap_or("of no state"), status["errors"])),
    }
}

/// Whether a resource is gone, and no object of a mesh follows from it any more.
async fn gone(management: &Cluster, object: &ObjectRef, meshes: &[&Cluster]) -> Result<(), String> {
    if management.get(&object.manifest()).await.map_err(|error| chain(&error))?.is_some() {
        return Err(format!("{} is still there", object.key()));
    }
    let parent = object.key();
    let owner = resources::identity(management).await.map_err(|error| chain(&error))?;
    let owned = ListParams::default().labels(&format!("{}={owner}", names::LABEL_OWNER));
    for cluster in meshes {
        for (group, version, kind, plural) in WRITTEN {
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api: Api<DynamicObject> = Api::all_with(cluster.client(), &resource);
            let listed = match api.list(&owned).await {
                Ok(listed) => listed.items,
                // A cluster that is not registered does not have the agent's kinds.
                Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
                Err(error) => return Err(chain(&error)),
            };
            if let Some(child) = listed.iter().find(|child| follows(child, &parent)) {
                let name = child.metadata.name.as_deref().unwrap_or_default();
                return Err(format!("{kind} {name} of {} still follows from {parent}", cluster.name()));
            }
        }
    }
    Ok(())
}

fn follows(child: &DynamicObject, parent: &str) -> bool {
    let annotations = child.metadata.annotations.as_ref();
    let parents = annotations.and_then(|all| all.get(names::ANNOTATION_PARENTS));
    parents.is_some_and(|parents| parents.split(',').any(|one| one.trim() == parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_of_the_present_generation() {
        let status = |state: &str| json!({ "observedGeneration": 2, "state": state });
        assert_eq!(ended("x", &status("ACTIVE"), Some(2)), Ok(()));
        assert_eq!(ended("x", &status("INVALID"), Some(2)), Ok(()));
        assert!(ended("x", &status("ACTIVE"), Some(3)).is_err());
        assert!(ended("x", &status("ACCEPTED"), Some(2)).is_err());
        assert!(ended("x", &Value::Null, Some(1)).is_err());
    }

    #[test]
    fn a_child_names_its_parents() {
        let child: DynamicObject = serde_json::from_value(json!({
            "metadata": { "name": "a", "annotations": { names::ANNOTATION_PARENTS: "Mesh/hub/m,TrafficPolicy/shop/p" } },
        }))
        .expect("an object");
        assert!(follows(&child, "TrafficPolicy/shop/p"));
        assert!(!follows(&child, "TrafficPolicy/shop"));
    }
}
