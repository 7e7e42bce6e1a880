//! What `check` judges: collected here, as plain data.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use mesh_types::hub::{Kind, names};
use serde_json::Value;

use super::resources::{self, text};
use super::{Error, target::Target};
use crate::cluster::{Cluster, chain};

/// The plane and its resources at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The manager.
    pub manager: Program,
    /// Who leads; `None` where nobody ever did.
    pub lease: Option<Leader>,
    /// Registered clusters, by name.
    pub clusters: Vec<Registered>,
    /// Resources with a state, by kind, namespace, name.
    pub resources: Vec<Resource>,
}

/// A Deployment of the plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Whether there is such a Deployment.
    pub exists: bool,
    /// Pods that shall run.
    pub desired: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Its image.
    pub image: String,
}

/// The holder of a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leader {
    /// Who holds it; empty where it was given back.
    pub holder: String,
    /// Seconds since it was renewed.
    pub age: i64,
    /// Seconds for which a renewal holds.
    pub duration: i64,
}

/// A registered cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// State that the manager reports.
    pub state: String,
    /// What the manager says is wrong.
    pub errors: Vec<String>,
    /// Whether the status is about the object as it is.
    pub is_current: bool,
    /// Whether the Secret with its kubeconfig is there.
    pub has_secret: bool,
    /// Whether a mesh was found in it.
    pub has_mesh: bool,
    /// Its agent, where it could be asked for.
    pub agent: Agent,
}

/// What is known of a cluster's agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Agent {
    /// Only what discovery found: whether there is one.
    Found(bool),
    /// Its Deployment.
    Seen(Program),
    /// The cluster could not be asked.
    #[default]
    Unknown,
    /// Asking failed.
    Failed(String),
}

/// A resource of the plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// `TrafficPolicy`.
    pub kind: String,
    /// `namespace/name`.
    pub name: String,
    /// Generation of its specification.
    pub generation: i64,
    /// Generation that its status is about.
    pub observed_generation: i64,
    /// Its state.
    pub state: String,
    /// What is wrong with it.
    pub errors: Vec<String>,
    /// What is worth a look.
    pub warnings: Vec<String>,
}

/// Kinds whose state `check` demands to be right.
const JUDGED: [Kind; 5] =
    [Kind::Mesh, Kind::VirtualMesh, Kind::TrafficPolicy, Kind::VirtualDestination, Kind::AccessPolicy];

/// Looks at the management cluster, and at those registered clusters that are given.
///
/// # Errors
/// Where the management cluster cannot be asked; what is wrong elsewhere is a fact.
pub async fn collect(management: &Cluster, targets: &[Target]) -> Result<Facts, Error> {
    let clusters = resources::list(management, Kind::KubernetesCluster).await?;
    let meshes = resources::list(management, Kind::Mesh).await?;
    let asked = clusters.iter().map(|cluster| registered(management, cluster, &meshes, targets));
    let clusters = futures::future::try_join_all(asked).await?;
    let mut facts = Facts {
        manager: program(management, names::MANAGER).await?,
        lease: lease(management).await?,
        clusters,
        resources: Vec::new(),
    };
    for kind in JUDGED {
        let listed = resources::list(management, kind).await?;
        facts.resources.extend(listed.iter().map(|value| resource(kind, value)));
    }
    Ok(facts)
}

async fn registered(
    management: &Cluster,
    cluster: &Value,
    meshes: &[Value],
    targets: &[Target],
) -> Result<Registered, Error> {
    let name = text(cluster, "/metadata/name");
    let mesh = meshes.iter().find(|mesh| text(mesh, "/spec/istio/installation/cluster") == name);
    let secret = super::registration::secret_name(&text(cluster, "/spec/secretName"));
    let target = targets.iter().find(|target| target.cluster.name() == name);
    let agent = match target {
        Some(target) => match program(&target.cluster, names::AGENT).await {
            Ok(program) => Agent::Seen(program),
            Err(error) => Agent::Failed(chain(&error)),
        },
        None => mesh.map_or(Agent::Unknown, |mesh| Agent::Found(mesh["spec"].get("agentInfo").is_some())),
    };
    Ok(Registered {
        state: text(cluster, "/status/state"),
        errors: texts(&cluster["status"]["errors"]),
        is_current: generation(cluster, "/metadata/generation") <= generation(cluster, "/status/observedGeneration"),
        has_secret: management.get(&secret).await?.is_some(),
        has_mesh: mesh.is_some(),
        agent,
        name,
    })
}

async fn program(cluster: &Cluster, name: &str) -> Result<Program, Error> {
    let api: Api<Deployment> = Api::namespaced(cluster.client(), names::NAMESPACE);
    let found = api.get_opt(name).await;
    let found = found.map_err(|source| cluster.api_error(format!("read Deployment {name}"), source))?;
    let Some(deployment) = found else { return Ok(Program::default()) };
    let container = deployment.spec.template.spec.as_ref().and_then(|pod| pod.containers.first());
    let status = deployment.status.as_ref();
    Ok(Program {
        exists: true,
        desired: deployment.spec.replicas.unwrap_or(1),
        ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
        image: container.and_then(|container| container.image.clone()).unwrap_or_default(),
    })
}

async fn lease(management: &Cluster) -> Result<Option<Leader>, Error> {
    let api: Api<Lease> = Api::namespaced(management.client(), names::NAMESPACE);
    let found = api.get_opt(names::MANAGER).await;
    let found = found.map_err(|source| management.api_error("read the manager's Lease".to_owned(), source))?;
    let Some(spec) = found.and_then(|lease| lease.spec) else { return Ok(None) };
    let renewed = spec.renew_time.map(|time| time.0);
    Ok(Some(Leader {
        holder: spec.holder_identity.unwrap_or_default(),
        age: renewed.map_or(i64::MAX, |time| Timestamp::now().as_second() - time.as_second()),
        duration: spec.lease_duration_seconds.unwrap_or_default().into(),
    }))
}

fn resource(kind: Kind, value: &Value) -> Resource {
    let status = &value["status"];
    let members = ["meshes", "destinations"].into_iter().filter_map(|field| status[field].as_object());
    let approvals = members.flat_map(|approvals| approvals.iter());
    let of_members = approvals.flat_map(|(name, approval)| {
        texts(&approval["errors"]).into_iter().map(move |error| format!("on {name}: {error}"))
    });
    let mut errors = texts(&status["errors"]);
    if errors.is_empty() {
        errors.extend(of_members);
    }
    Resource {
        kind: kind.name().to_owned(),
        name: format!("{}/{}", text(value, "/metadata/namespace"), text(value, "/metadata/name")),
        generation: generation(value, "/metadata/generation"),
        observed_generation: generation(value, "/status/observedGeneration"),
        state: text(status, "/state"),
        warnings: texts(&status["warnings"]),
        errors,
    }
}

fn generation(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_on_a_target_is_told_where_nothing_is_wrong_with_the_whole() {
        let policy = json!({
            "metadata": { "namespace": "bookinfo", "name": "reviews", "generation": 3 },
            "status": {
                "observedGeneration": 2, "state": "INVALID",
                "destinations": { "reviews.bookinfo.east": { "errors": ["subset v9 is not there"] } },
            },
        });
        let found = resource(Kind::TrafficPolicy, &policy);
        assert_eq!((found.generation, found.observed_generation), (3, 2));
        assert_eq!(found.errors, ["on reviews.bookinfo.east: subset v9 is not there"]);
    }
}
