//! The management plane's manager on the management cluster, and what a registered cluster has of it.

use std::time::Duration;

use mesh_types::hub::names;
use serde_json::{Value, json};

use super::manifest::{self, Placeholders};
use super::mesh::{Error, rolled_out};
use crate::cluster::Cluster;

macro_rules! manifest {
    ($path:literal) => {
        (concat!("manifests/hub/", $path), include_str!(concat!("../../../manifests/hub/", $path)))
    };
}

/// Definitions of the kinds that only the management cluster has.
const DEFINITIONS: &[(&str, &str)] = &[
    manifest!("crds/accesspolicies.yaml"),
    manifest!("crds/destinations.yaml"),
    manifest!("crds/kubernetesclusters.yaml"),
    manifest!("crds/meshes.yaml"),
    manifest!("crds/trafficpolicies.yaml"),
    manifest!("crds/virtualdestinations.yaml"),
    manifest!("crds/virtualmeshes.yaml"),
    manifest!("crds/workloads.yaml"),
];
/// Definitions of the kinds that pass between manager and agent: in every registered cluster.
const AGENT_DEFINITIONS: &[(&str, &str)] = &[
    manifest!("crds/certificaterequests.yaml"),
    manifest!("crds/issuedcertificates.yaml"),
    manifest!("crds/workloadrestarts.yaml"),
];
const NAMESPACE: (&str, &str) = manifest!("00-namespace.yaml");
const MANAGER: &[(&str, &str)] =
    &[manifest!("10-manager-rbac.yaml"), manifest!("20-manager.yaml"), manifest!("30-webhook.yaml")];
/// The account that the manager acts as.
const REMOTE: (&str, &str) = manifest!("40-remote.yaml");
const AGENT: &[(&str, &str)] = &[manifest!("50-agent-rbac.yaml"), manifest!("51-agent.yaml")];

/// How long a manager that is ready may take until API servers ask its webhook.
const JUDGES: Duration = Duration::from_secs(30);
/// Between two questions.
const STEP: Duration = Duration::from_millis(20);
/// What only the webhook refuses, and how it says so.
const REFUSED_FIELD: &str = "spec.policy.trafficShift.destinations";

/// Installs the manager and waits until it is ready and judges what people write. Doing it again changes nothing.
///
/// # Errors
/// [`Error`].
pub async fn install_manager(cluster: &Cluster) -> Result<(), Error> {
    prepare(cluster).await?;
    start_manager(cluster).await
}

/// The plane's kinds and its namespace: clusters can be registered from here on.
///
/// # Errors
/// [`Error`].
pub async fn prepare(cluster: &Cluster) -> Result<(), Error> {
    for (file, text) in DEFINITIONS.iter().chain([&NAMESPACE]) {
        cluster.apply_all(&manifest::parse(file, text)?).await?;
    }
    Ok(())
}

/// Everything that the management cluster has of the plane, in the order in which it is applied.
///
/// # Errors
/// Where a manifest of ours is broken.
pub fn objects() -> Result<Vec<Value>, manifest::Error> {
    let mut objects = Vec::new();
    for (file, text) in DEFINITIONS.iter().chain([&NAMESPACE]).chain(MANAGER) {
        objects.extend(manifest::parse(file, text)?);
    }
    Ok(objects)
}

/// Starts the manager on a cluster that was prepared, and waits until it is ready and judges what people write.
///
/// # Errors
/// [`Error`].
pub async fn start_manager(cluster: &Cluster) -> Result<(), Error> {
    for (file, text) in MANAGER {
        cluster.apply_all(&manifest::parse(file, text)?).await?;
    }
    rolled_out(cluster, names::NAMESPACE, names::MANAGER).await?;
    webhook_judges(cluster).await
}

/// Waits until the webhook refuses a policy that nothing else would refuse, and that would not be stored. One that is good
/// tells nothing: it also passes where no webhook is asked.
async fn webhook_judges(cluster: &Cluster) -> Result<(), Error> {
    let wrong = json!({
        "apiVersion": "networking.meshproof.dev/v1", "kind": "TrafficPolicy",
        "metadata": { "name": "meshproof-admission", "namespace": names::NAMESPACE },
        "spec": { "policy": { "trafficShift": { "destinations": [
            { "weight": 1, "kubeService": { "name": "nobody", "namespace": names::NAMESPACE, "clusterName": "nowhere" } },
        ] } } },
    });
    let what =
        format!("the webhook of the management plane on {} to refuse a policy with wrong weights", cluster.name());
    eventually::poll(what, JUDGES, STEP, async || refused(cluster.would_apply(&wrong).await))
        .await
        .map_err(|source| Error::Silent { cluster: cluster.name().to_owned(), source })
}

/// Whether an answer is the webhook's refusal; otherwise what it is.
fn refused(answer: Result<(), crate::cluster::Error>) -> Result<(), String> {
    match answer.map_err(|error| crate::cluster::chain(&error)) {
        Ok(()) => Err("the policy was accepted: the API server does not ask the webhook, or has no answer".to_owned()),
        Err(refusal) if refusal.contains(REFUSED_FIELD) => Ok(()),
        Err(other) => Err(other),
    }
}

/// What a cluster has because it is registered under a name, in the order in which it is applied. `mesh_namespace` is that
/// of its control plane.
///
/// # Errors
/// Where a manifest of ours is broken.
pub fn registered(cluster: &str, mesh_namespace: &str) -> Result<Vec<Value>, manifest::Error> {
    let placeholders =
        Placeholders::from([("CLUSTER_NAME", cluster.to_owned()), ("MESH_NAMESPACE", mesh_namespace.to_owned())]);
    let mut objects = Vec::new();
    for (file, text) in [&NAMESPACE].into_iter().chain(AGENT_DEFINITIONS).chain([&REMOTE]).chain(AGENT) {
        objects.extend(manifest::render(file, text, &placeholders)?);
    }
    for object in &mut objects {
        let labels = &mut object["metadata"]["labels"];
        if labels.is_null() {
            *labels = json!({});
        }
        labels[names::LABEL_REGISTRATION] = cluster.into();
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_a_registration_says_so() {
        let objects = registered("cluster1", "istio-system").expect("the manifests are right");
        assert!(objects.iter().all(|object| object["metadata"]["labels"][names::LABEL_REGISTRATION] == "cluster1"));
        let kinds = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
        assert_eq!((kinds("Namespace"), kinds("CustomResourceDefinition"), kinds("Deployment")), (1, 3, 1));
        assert_eq!(objects[0]["kind"], "Namespace", "the others are in it");
    }

    #[test]
    fn the_manager_touches_no_secret_in_a_registered_cluster() {
        let objects = registered("cluster1", "istio-system").expect("the manifests are right");
        let of_manager = objects.iter().filter(|object| object["metadata"]["name"] == names::REMOTE_ACCOUNT);
        let rules = of_manager.filter_map(|object| object["rules"].as_array()).flatten();
        let resources: Vec<&str> =
            rules.filter_map(|rule| rule["resources"].as_array()).flatten().filter_map(Value::as_str).collect();
        assert!(resources.contains(&"virtualservices"));
        assert!(!resources.iter().any(|name| name.contains("secret") || *name == "*"), "{resources:?}");
    }

    /// In a management cluster that is a member, its namespace has kubeconfigs and roots.
    #[test]
    fn the_agent_reads_no_secret_but_the_authority_of_its_mesh() {
        let objects = registered("cluster1", "istio-system").expect("the manifests are right");
        let of_agent = objects.iter().filter(|object| object["metadata"]["name"] == names::AGENT);
        let mut named = Vec::new();
        for role in of_agent.filter(|object| object["rules"].is_array()) {
            let rules = role["rules"].as_array().expect("rules").iter();
            for rule in
                rules.filter(|rule| rule["resources"].as_array().expect("resources").contains(&json!("secrets")))
            {
                assert_eq!(role["metadata"]["namespace"], "istio-system", "{role}");
                match rule["resourceNames"].as_array() {
                    Some(names) => named.extend(names.iter().filter_map(Value::as_str)),
                    None => assert_eq!(rule["verbs"], json!(["create"]), "{role}"),
                }
            }
        }
        assert_eq!(named, ["cacerts", "key--cacerts"]);
    }

    #[test]
    fn the_manifests_use_the_names_that_programs_use() {
        let mut names_used = Vec::new();
        for (file, text) in MANAGER {
            for object in manifest::parse(file, text).expect("YAML") {
                names_used.push(object["metadata"]["name"].as_str().expect("named").to_owned());
            }
        }
        assert!(names_used.contains(&names::MANAGER.to_owned()) && names_used.contains(&names::WEBHOOK.to_owned()));
        let of_agent = registered("c", "istio-system").expect("the manifests are right");
        let deployment = of_agent.iter().find(|object| object["kind"] == "Deployment").expect("there");
        assert_eq!(deployment["metadata"]["name"], names::AGENT);
        assert_eq!(deployment["metadata"]["namespace"], names::NAMESPACE);
    }
}
