//! Joins registered meshes to a virtual mesh.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_types::hub::virtual_mesh::{FederationConfig, GlobalAccessPolicy, MtlsConfig, Permissive, SharedTrust};
use mesh_types::hub::{Kind, Object, ObjectRef, VirtualMesh, names};
use serde_json::Value;

use super::registration::LOOK;
use super::resources::{self, text};
use super::{Error, table};
use crate::cluster::{Cluster, chain};

/// What the members of a virtual mesh have of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// Everybody knows every service.
    pub permissive: bool,
    /// Endpoints are called without a gateway between.
    pub flat_network: bool,
    /// All members sign with intermediates of one root that the plane makes.
    pub shared_trust: bool,
    /// Calls that no AccessPolicy allows are denied.
    pub default_deny: bool,
}

/// The VirtualMesh of some meshes.
#[must_use]
pub fn virtual_mesh(name: &str, meshes: &[ObjectRef], manner: Manner) -> Object<VirtualMesh> {
    let federation = FederationConfig {
        permissive: manner.permissive.then_some(Permissive {}),
        flat_network: manner.flat_network,
        ..FederationConfig::default()
    };
    let spec = VirtualMesh {
        meshes: meshes.to_vec(),
        mtls_config: manner
            .shared_trust
            .then(|| MtlsConfig { shared: Some(SharedTrust::default()), auto_restart_pods: true }),
        federation: manner.permissive.then_some(federation),
        global_access_policy: if manner.default_deny {
            GlobalAccessPolicy::Enabled
        } else {
            GlobalAccessPolicy::MeshDefault
        },
    };
    Object::new(name, names::NAMESPACE, spec)
}

/// The meshes of these clusters, once the plane has found all of them.
///
/// # Errors
/// [`Error::Late`] with the clusters that are missing.
pub async fn meshes(management: &Cluster, clusters: &[&str], deadline: Duration) -> Result<Vec<ObjectRef>, Error> {
    let what = format!("the management plane to find the meshes of {}", clusters.join(", "));
    let look = async || {
        let found = resources::list(management, Kind::Mesh).await.map_err(|error| chain(&error))?;
        let by_cluster: BTreeMap<String, ObjectRef> = found.iter().map(of_cluster).collect();
        let missing: Vec<&str> =
            clusters.iter().copied().filter(|cluster| !by_cluster.contains_key(*cluster)).collect();
        if missing.is_empty() {
            Ok(clusters.iter().map(|cluster| by_cluster[*cluster].clone()).collect())
        } else {
            Err(format!("none of {}", missing.join(", ")))
        }
    };
    let cure = "`meshproof mesh check` says how the clusters are".to_owned();
    eventually::poll(what, deadline, LOOK, look).await.map_err(|source| Error::Late { source, cure })
}

fn of_cluster(mesh: &Value) -> (String, ObjectRef) {
    let reference = ObjectRef::new(&text(mesh, "/metadata/name"), &text(mesh, "/metadata/namespace"));
    (text(mesh, "/spec/istio/installation/cluster"), reference)
}

/// Waits until a resource is in force as it is now: `ACTIVE`, of the generation that it has.
///
/// # Errors
/// [`Error::Late`] with what its status said last.
pub async fn active(management: &Cluster, object: &Value, deadline: Duration) -> Result<(), Error> {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    let what = format!("{kind} {name} to be ACTIVE");
    let look = async || {
        let found = management.get(object).await.map_err(|error| chain(&error))?;
        let Some(found) = found else { return Err("it is gone".to_owned()) };
        is_active(&found.data, found.metadata.generation)
    };
    let cure = format!("`meshproof mesh describe` on the {kind} says more");
    eventually::poll(what, deadline, LOOK, look).await.map_err(|source| Error::Late { source, cure })
}

fn is_active(object: &Value, generation: Option<i64>) -> Result<(), String> {
    let status = &object["status"];
    if status["observedGeneration"].as_i64() != generation {
        return Err("its status is of an earlier generation".to_owned());
    }
    if status["state"] == "ACTIVE" {
        return Ok(());
    }
    let members = status["meshes"].as_object().into_iter().flatten();
    let troubled = members.map(|(name, approval)| format!("{name}: {}", table::sentence(&approval["errors"])));
    let troubled: Vec<String> = troubled.filter(|text| !text.ends_with(": ")).collect();
    let waiting = status["conditions"].as_array().into_iter().flatten();
    let waiting = waiting.filter(|condition| condition["status"] != "True");
    let waiting: Vec<String> = waiting.map(|condition| text(condition, "/message")).collect();
    let said = [table::sentence(&status["errors"]), troubled.join("; "), waiting.join("; ")];
    let said: Vec<String> = said.into_iter().filter(|text| !text.is_empty()).collect();
    Err(format!("it is {} {}", table::or_dash(&text(status, "/state")), said.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_virtual_mesh_says_what_the_topology_asked_for() {
        let meshes = [ObjectRef::new("one", "meshproof-hub"), ObjectRef::new("two", "meshproof-hub")];
        let manner = Manner { permissive: true, shared_trust: true, ..Manner::default() };
        let manifest = virtual_mesh("mesh1", &meshes, manner).manifest().expect("JSON");
        assert_eq!(manifest["spec"]["federation"]["permissive"], json!({}));
        assert_eq!(manifest["spec"]["mtlsConfig"]["autoRestartPods"], true);
        assert_eq!(manifest["spec"]["meshes"].as_array().map(Vec::len), Some(2));
        let separate = virtual_mesh("mesh1", &meshes, Manner::default()).manifest().expect("JSON");
        assert!(separate["spec"].get("federation").is_none() && separate["spec"].get("mtlsConfig").is_none());
    }

    #[test]
    fn only_the_present_generation_counts() {
        let object = json!({ "status": { "observedGeneration": 1, "state": "ACTIVE" } });
        assert_eq!(is_active(&object, Some(1)), Ok(()));
        assert_eq!(is_active(&object, Some(2)), Err("its status is of an earlier generation".to_owned()));
        let object = json!({ "status": {
            "observedGeneration": 2, "state": "INVALID", "meshes": { "one.hub": { "errors": ["it has no gateway"] } },
        } });
        assert_eq!(is_active(&object, Some(2)), Err("it is INVALID one.hub: it has no gateway".to_owned()));
    }
}
