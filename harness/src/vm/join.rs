//! Lets a machine join a mesh as Istio's documentation says: its WorkloadGroup, the generated files, its start, and the wait
//! until the control plane counts on it.

use std::time::Duration;

use mesh_types::names;
use serde_json::{Value, json};
use substrate_config::machine::MachineFile;

use super::configure::{self, Wanted};
use super::machine::{Machine, Status};
use super::plan::FILES;
use crate::cluster::{self, Cluster};
use crate::links;
use crate::topology::Vm;

/// For how long the token is good: the first certificate is all that it buys.
const TOKEN_SECONDS: i64 = 600;
/// How long a machine may take from its start until it is counted on, on a busy host.
pub const JOINED: Duration = Duration::from_secs(60);
/// Between two looks at its WorkloadEntry.
const STEP: Duration = Duration::from_millis(50);
/// The Service by which a control plane is reached from outside.
const INGRESS: &str = "istio-eastwestgateway";

/// A machine did not join.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The files could not be generated.
    #[error("{machine}: the files of its onboarding could not be generated")]
    Configure {
        /// Which machine.
        machine: String,
        /// Why.
        #[source]
        source: Box<configure::Error>,
    },
    /// The machine could not be asked, or did not do what it was asked.
    #[error(transparent)]
    Machine(#[from] links::Error),
    /// It did not come into rotation, or did not leave it.
    #[error("{machine}: {source}; {words}")]
    Late {
        /// Which machine.
        machine: String,
        /// What was awaited, and what was seen last.
        source: eventually::TimedOut,
        /// What its agent wrote last.
        words: String,
    },
}

/// The objects that a machine needs in the cluster that it joins: namespace, service account and WorkloadGroup.
#[must_use]
pub fn objects(vm: &Vm) -> [Value; 3] {
    let mut spec = json!({
        "metadata": { "labels": vm.labels },
        "template": { "serviceAccount": vm.service_account, "network": vm.network, "ports": vm.ports },
    });
    if let Some(health) = &vm.health {
        spec["probe"] = json!({ "periodSeconds": 1, "httpGet": { "path": health.path, "port": health.port } });
    }
    [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": vm.namespace } }),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": vm.service_account, "namespace": vm.namespace },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup",
            "metadata": { "name": vm.workload_group, "namespace": vm.namespace }, "spec": spec,
        }),
    ]
}

/// Brings a machine that is off into the mesh: only what was generated for it gets onto it.
///
/// # Errors
/// [`Error`].
pub async fn join(vm: &Vm, cluster: &Cluster, machine: &Machine) -> Result<(), Error> {
    cluster.apply_all(&objects(vm)).await?;
    machine.write(files(vm, cluster).await?).await?;
    machine.start().await?;
    in_rotation(vm, cluster, machine, None, JOINED).await
}

/// The generated files, each at its place.
async fn files(vm: &Vm, cluster: &Cluster) -> Result<Vec<MachineFile>, Error> {
    let wanted = Wanted {
        group_file: None,
        group: vm.workload_group.clone(),
        namespace: vm.namespace.clone(),
        cluster: vm.cluster.clone(),
        ingress_address: None,
        ingress_service: INGRESS.to_owned(),
        address: None,
        automatic_registration: true,
        capture_dns: true,
        token_seconds: TOKEN_SECONDS,
    };
    let configured = configure::configure(&cluster.client(), &wanted).await;
    let files = configured.map_err(|source| Error::Configure { machine: vm.name.clone(), source: Box::new(source) })?;
    let placed = files.list().map(|(name, mode, content)| {
        let place = FILES.iter().find(|(known, _)| *known == name).map(|(_, path)| *path);
        let path = place.expect("invariant: every generated file has a place").into();
        MachineFile { path, mode, content: content.to_owned() }
    });
    Ok(placed.into())
}

/// When the machine's present connection with the control plane began, as its WorkloadEntry says.
///
/// # Errors
/// Where the cluster cannot be asked.
pub async fn connected_at(vm: &Vm, cluster: &Cluster) -> Result<Option<String>, cluster::Error> {
    Ok(entry(vm, cluster).await?.and_then(|entry| annotation(&entry, names::ANNOTATION_CONNECTED_AT)))
}

/// Whether endpoints are made of the machine: it is registered, and healthy where it is asked.
///
/// # Errors
/// Where the cluster cannot be asked.
pub async fn is_counted_on(vm: &Vm, cluster: &Cluster) -> Result<bool, cluster::Error> {
    Ok(entry(vm, cluster).await?.is_some_and(|entry| unhealthy(vm, &entry).is_none()))
}

/// Waits until the control plane counts on a machine that was started: it is registered over another connection than the
/// one that began at `before`, healthy where it is asked, and its programs are ready.
///
/// # Errors
/// [`Error`]; [`Error::Late`] with what its agent wrote last.
pub async fn in_rotation(
    vm: &Vm,
    cluster: &Cluster,
    machine: &Machine,
    before: Option<&str>,
    deadline: Duration,
) -> Result<(), Error> {
    let what = format!("WorkloadEntry {}/{} to be connected and healthy", vm.namespace, vm.entry());
    let waited = eventually::poll(what, deadline, STEP, async || {
        not_ready(&machine.status().await.map_err(|error| cluster::chain(&error))?)?;
        let entry = entry(vm, cluster).await.map_err(|error| cluster::chain(&error))?;
        let entry = entry.ok_or("there is none")?;
        match annotation(&entry, names::ANNOTATION_CONNECTED_AT) {
            None => Err("the control plane says that it is not connected".to_owned()),
            Some(since) if before == Some(since.as_str()) => Err(format!("it is connected since {since}")),
            Some(_) => unhealthy(vm, &entry).map_or(Ok(()), Err),
        }
    });
    match waited.await {
        Ok(()) => Ok(()),
        Err(source) => {
            let words = last_words(machine).await;
            Err(Error::Late { machine: vm.name.clone(), source, words })
        }
    }
}

fn not_ready(status: &Status) -> Result<(), String> {
    if !status.running {
        return Err("it is off".to_owned());
    }
    match status.programs.iter().find(|program| !program.running || !program.ready) {
        None => Ok(()),
        Some(program) => {
            let why = program.problem.as_deref().unwrap_or("it is not ready");
            Err(format!("program {}: {why}", program.name))
        }
    }
}

async fn last_words(machine: &Machine) -> String {
    match machine.logs(crate::topology::vm::PROXY).await {
        Ok(text) => {
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").to_owned();
            format!("the last line of its proxy's log is `{last}`")
        }
        Err(error) => format!("its log cannot be read: {}", cluster::chain(&error)),
    }
}

async fn entry(vm: &Vm, cluster: &Cluster) -> Result<Option<Value>, cluster::Error> {
    let manifest = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
        "metadata": { "name": vm.entry(), "namespace": vm.namespace },
    });
    let found = cluster.get(&manifest).await?;
    Ok(found.map(|object| serde_json::to_value(object).unwrap_or_default()))
}

fn annotation(entry: &Value, name: &str) -> Option<String> {
    entry["metadata"]["annotations"][name].as_str().map(str::to_owned)
}

/// Why no endpoint is made of an entry; nothing where one is.
fn unhealthy(vm: &Vm, entry: &Value) -> Option<String> {
    vm.health.as_ref()?;
    let conditions = entry["status"]["conditions"].as_array();
    let healthy = conditions.into_iter().flatten().find(|one| one["type"] == names::CONDITION_HEALTHY);
    match healthy {
        Some(condition) if condition["status"] == "True" => None,
        Some(condition) => Some(format!("it is not healthy: {}", condition["message"].as_str().unwrap_or("?"))),
        None => Some("it has not said whether it is healthy".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::validate;

    const SHIPPED: &str = include_str!("../../../scenarios/topologies/virtual-machines.yaml");

    fn details() -> Vm {
        let topology = validate::read("virtual-machines.yaml", SHIPPED).expect("no problems");
        topology.vm("details-vm").expect("it is there").clone()
    }

    #[test]
    fn its_group_says_who_it_is_and_how_it_is_asked() {
        let [_, account, group] = objects(&details());
        assert_eq!(account["metadata"]["name"], group["spec"]["template"]["serviceAccount"]);
        assert_eq!(group["spec"]["metadata"]["labels"]["app"], "details");
        assert_eq!(group["spec"]["probe"]["httpGet"]["port"], 9080);
        mesh_types::validate(&group).expect("a right WorkloadGroup");
    }

    #[test]
    fn no_endpoint_is_made_of_what_has_not_said_that_it_is_healthy() {
        let entry = |conditions: Value| json!({ "status": { "conditions": conditions } });
        let healthy = |status: &str| json!([{ "type": "Healthy", "status": status, "message": "refused" }]);
        assert_eq!(unhealthy(&details(), &entry(healthy("True"))), None);
        assert_eq!(unhealthy(&details(), &entry(healthy("False"))).as_deref(), Some("it is not healthy: refused"));
        assert!(unhealthy(&details(), &entry(json!([]))).is_some());
        assert_eq!(unhealthy(&Vm { health: None, ..details() }, &json!({})), None, "nobody asks it");
    }
}
