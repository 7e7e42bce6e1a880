//! What the manager knows, from its administration listener: inputs, desired outputs, failures.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use mesh_types::hub::names;
use serde_json::Value;

use super::Error;
use super::table::Table;
use crate::cluster::{Cluster, PodPort};

/// How long the manager may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Pods of the manager.
const SELECTOR: &str = "app.kubernetes.io/name=meshproof-hub-manager";

/// What the manager that leads answers to `GET path`.
///
/// # Errors
/// [`Error::Refused`] where none runs, [`Error::Cluster`] where it does not answer.
pub async fn ask(management: &Cluster, path: &str) -> Result<Value, Error> {
    let pod = leader(management).await?;
    let port = PodPort { namespace: names::NAMESPACE, pod: &pod, port: names::PORT_MANAGER_ADMIN };
    let answer = management.ask(port, path, ANSWER).await?;
    serde_json::from_str(&answer).map_err(|error| {
        Error::refused(
            format!("the manager's answer to {path} is no JSON: {error}"),
            "the management plane is of another version than this program; use the program that came with it",
        )
    })
}

/// The pod of the manager that leads; where there is only one, that one.
async fn leader(management: &Cluster) -> Result<String, Error> {
    let pods = management.pods(names::NAMESPACE, SELECTOR).await?;
    let running: Vec<&Pod> = pods.iter().filter(|pod| is_ready(pod)).collect();
    let names: Vec<String> = running.iter().map(|pod| pod.name_any()).collect();
    if let [only] = names.as_slice() {
        return Ok(only.clone());
    }
    let leases: Api<Lease> = Api::namespaced(management.client(), names::NAMESPACE);
    let lease = leases.get_opt(names::MANAGER).await;
    let lease = lease.map_err(|source| management.api_error("read the manager's Lease".to_owned(), source))?;
    let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
    let leads = names.into_iter().find(|name| holder.starts_with(name.as_str()));
    leads.ok_or_else(|| {
        Error::refused(
            format!("no manager of the management plane is ready on {}", management.name()),
            "`meshproof mesh check` says why",
        )
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A snapshot as counts: what there is of each kind, and what could not be written.
#[must_use]
pub fn summary(snapshot: &Value) -> String {
    let mut table = Table::new(&["PART", "KIND", "COUNT"]);
    for (part, content) in snapshot.as_object().into_iter().flatten() {
        match content {
            Value::Object(kinds) => {
                for (kind, entries) in kinds {
                    table.row([part.clone(), kind.clone(), count(entries)]);
                }
            }
            other => table.row([part.clone(), String::new(), count(other)]),
        }
    }
    format!("{}(--json has all of it)\n", table.render(0))
}

fn count(value: &Value) -> String {
    match value {
        Value::Array(entries) => entries.len().to_string(),
        Value::Object(entries) => entries.len().to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_snapshot_is_counted() {
        let snapshot = json!({ "inputs": { "Mesh": [1, 2], "TrafficPolicy": [] }, "failures": [] });
        assert_eq!(
            summary(&snapshot),
            "PART       KIND            COUNT\ninputs     Mesh            2\ninputs     TrafficPolicy   0\n\
             failures   -               0\n(--json has all of it)\n"
        );
    }
}
