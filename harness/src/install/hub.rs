//! The management plane's manager on the management cluster, and what a registered cluster has of it.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use mesh_types::hub::names;
use serde_json::{Value, json};

use super::manifest::{self, Placeholders};
use super::mesh::{Error, ROLLOUT, rolled_out};
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

/// How long a manager that is ready may take to sign its webhook.
const SIGNED: Duration = Duration::from_secs(5);

/// Installs the manager and waits until it is ready. Doing it again changes nothing. Returns whether it judges what people
/// write when they write it.
///
/// # Errors
/// [`Error`].
pub async fn install_manager(cluster: &Cluster) -> Result<bool, Error> {
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

/// Starts the manager on a cluster that was prepared, and waits until it is ready. Returns whether it judges what people write
/// when they write it; one that does not tells in statuses what is wrong.
///
/// # Errors
/// [`Error`].
pub async fn start_manager(cluster: &Cluster) -> Result<bool, Error> {
    for (file, text) in MANAGER {
        let mut objects = manifest::parse(file, text)?;
        keep_authority(cluster, &mut objects).await?;
        cluster.apply_all(&objects).await?;
    }
    rolled_out(cluster, names::NAMESPACE, names::MANAGER).await?;
    let judges = webhook_signed(cluster).await?;
    if judges {
        webhook_answers(cluster).await?;
    }
    Ok(judges)
}

/// A webhook that the manager has made strict stays so while it is installed again.
async fn keep_authority(cluster: &Cluster, objects: &mut [Value]) -> Result<(), Error> {
    for object in objects.iter_mut().filter(|object| object["kind"] == "ValidatingWebhookConfiguration") {
        let Some(there) = cluster.get(object).await? else { continue };
        if let Some(policy) = there.data.pointer("/webhooks/0/failurePolicy") {
            object["webhooks"][0]["failurePolicy"] = policy.clone();
        }
    }
    Ok(())
}

/// Whether the manager has written who signed its certificate.
async fn webhook_signed(cluster: &Cluster) -> Result<bool, Error> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    let signed = |configuration: Option<&ValidatingWebhookConfiguration>| {
        let webhooks = configuration.and_then(|configuration| configuration.webhooks.as_ref());
        webhooks.is_some_and(|webhooks| webhooks.iter().all(|webhook| webhook.client_config.ca_bundle.is_some()))
    };
    let name = cluster.name().to_owned();
    match tokio::time::timeout(SIGNED, await_condition(api, names::WEBHOOK, signed)).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(source)) => Err(Error::Watch { cluster: name, source: Box::new(source) }),
        Err(_elapsed) => Ok(false),
    }
}

/// The webhook is reached, by a policy that is not stored: what is applied before would be refused for good.
async fn webhook_answers(cluster: &Cluster) -> Result<(), Error> {
    let policy = json!({
        "apiVersion": "networking.meshproof.dev/v1", "kind": "TrafficPolicy",
        "metadata": { "name": "meshproof-admission", "namespace": names::NAMESPACE },
        "spec": { "policy": { "requestTimeout": "1s" } },
    });
    let what = format!("the webhook of the management plane on {} to answer", cluster.name());
    eventually::poll(what, ROLLOUT, Duration::from_millis(20), async || {
        cluster.would_apply(&policy).await.map_err(|error| crate::cluster::chain(&error))
    })
    .await
    .map_err(|source| Error::Silent { cluster: cluster.name().to_owned(), source })
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
