//! Lets a machine join a mesh as Istio's documentation says: its WorkloadGroup, the generated files, its start, and the wait
//! until the control plane counts on it.

use std::time::Duration;

use mesh_types::names;
use serde_json::{Value, json};
use substrate_config::machine::MachineFile;

use super::certificate;
use super::configure::{self, Wanted};
use super::machine::{Machine, Status};
use super::plan::FILES;
use crate::cluster::{self, Cluster};
use crate::links;
use crate::scenario::keys::{CertificateKind, TokenKind};
use crate::topology::{Topology, Vm};

/// For how long the token is good: the first certificate is all that it buys.
const TOKEN_SECONDS: i64 = 600;
/// How long a machine may take from its start until it is counted on, on a busy host.
pub const JOINED: Duration = Duration::from_secs(60);
/// Between two looks at its WorkloadEntry.
const STEP: Duration = Duration::from_millis(50);
/// An audience that no control plane accepts.
const ANOTHER_AUDIENCE: &str = "somebody-else";
/// What a control plane says of a token that it does not accept.
const REFUSAL: &str = "the token is not accepted";
/// Where the certificate and its key lie that a machine bought by its token.
const CERTIFICATE: [&str; 2] = ["/etc/certs/cert-chain.pem", "/etc/certs/key.pem"];
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
    /// A certificate could not be made for it.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
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

/// The objects that machines need in a cluster, each once: machines of one group have them in common. A namespace that
/// applications live in is theirs, with what it says of injection.
fn all_objects(topology: &Topology, cluster: &str) -> Vec<Value> {
    let of_applications = |namespace: &str| {
        let mut here = topology.apps.iter().filter(|app| app.placements.iter().any(|one| one.cluster == cluster));
        here.any(|app| app.namespace == namespace)
    };
    let mut all: Vec<Value> = Vec::new();
    for vm in topology.vms.iter().filter(|vm| vm.cluster == cluster) {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": vm.namespace } });
        let own = (!of_applications(&vm.namespace)).then_some(namespace);
        for object in own.into_iter().chain(objects(vm)) {
            if !all.contains(&object) {
                all.push(object);
            }
        }
    }
    all
}

/// The objects that a machine needs in the namespace that it joins: service account and WorkloadGroup.
fn objects(vm: &Vm) -> [Value; 2] {
    let mut spec = json!({
        "metadata": { "labels": vm.labels },
        "template": { "serviceAccount": vm.service_account, "network": vm.network, "ports": vm.ports },
    });
    if let Some(health) = &vm.health {
        spec["probe"] = json!({ "periodSeconds": 1, "httpGet": { "path": health.path, "port": health.port } });
    }
    [
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": vm.service_account, "namespace": vm.namespace },
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup",
            "metadata": { "name": vm.workload_group, "namespace": vm.namespace, "annotations": vm.annotations },
            "spec": spec,
        }),
    ]
}

/// Applies the objects that machines need in the cluster that they join.
///
/// # Errors
/// [`Error::Cluster`].
pub async fn prepare(topology: &Topology, cluster: &Cluster) -> Result<(), Error> {
    cluster.apply_all(&all_objects(topology, cluster.name())).await?;
    Ok(())
}

/// Brings a machine that is off into the mesh: only what was generated for it gets onto it.
///
/// # Errors
/// [`Error`].
pub async fn join(vm: &Vm, cluster: &Cluster, machine: &Machine) -> Result<(), Error> {
    give(vm, cluster, machine, TokenKind::Good, None).await?;
    machine.start().await?;
    in_rotation(vm, cluster, machine, None, JOINED).await
}

/// Writes the generated files to a machine that is off, with a token of a kind, and a certificate of a kind beside them. The
/// certificates that it may have had are gone.
///
/// # Errors
/// [`Error`].
pub async fn give(
    vm: &Vm,
    cluster: &Cluster,
    machine: &Machine,
    token: TokenKind,
    certificate: Option<CertificateKind>,
) -> Result<(), Error> {
    let mut files = files(vm, cluster, machine, token).await?;
    files.extend(certificate::files(vm, cluster, certificate).await?);
    files.extend(CERTIFICATE.map(|path| MachineFile { path: path.into(), mode: 0o600, content: String::new() }));
    Ok(machine.write(files).await?)
}

/// The generated files, each at its place.
async fn files(vm: &Vm, cluster: &Cluster, machine: &Machine, token: TokenKind) -> Result<Vec<MachineFile>, Error> {
    let wanted = Wanted {
        group_file: None,
        group: vm.workload_group.clone(),
        namespace: vm.namespace.clone(),
        cluster: vm.cluster.clone(),
        ingress_address: None,
        ingress_service: INGRESS.to_owned(),
        address: None,
        automatic_registration: true,
        capture_dns: vm.capture_dns,
        audience: if token == TokenKind::WrongAudience { ANOTHER_AUDIENCE } else { configure::AUDIENCE }.to_owned(),
        hosts: vm.hosts.clone(),
        token_seconds: TOKEN_SECONDS,
    };
    let configured = configure::configure(&cluster.client(), &wanted).await;
    let mut files =
        configured.map_err(|source| Error::Configure { machine: vm.name.clone(), source: Box::new(source) })?;
    match token {
        TokenKind::Forged => files.token = forged(&files.token),
        TokenKind::Expired => {
            let account = (vm.namespace.as_str(), vm.service_account.as_str());
            files.token = machine.expired_token(&vm.cluster, account, configure::AUDIENCE).await?;
        }
        TokenKind::Good | TokenKind::WrongAudience => {}
    }
    let placed = files.list().map(|(name, mode, content)| {
        let place = FILES.iter().find(|(known, _)| *known == name).map(|(_, path)| *path);
        let path = place.expect("invariant: every generated file has a place").into();
        MachineFile { path, mode, content: content.to_owned() }
    });
    Ok(placed.into())
}

/// The claims of a token under the signature of something else, of the same length.
fn forged(token: &str) -> String {
    let Some((claims, signature)) = token.rsplit_once('.') else { return String::new() };
    let another = |letter: char| match letter {
        'A'..='Y' | 'a'..='y' | '0'..='8' => char::from_u32(u32::from(letter) + 1).unwrap_or(letter),
        _ => 'A',
    };
    // The last letter stands for fewer bits than others, and not every letter may stand there.
    let last = signature.chars().last().map(String::from).unwrap_or_default();
    let others: String = signature.chars().map(another).take(signature.len().saturating_sub(1)).collect();
    format!("{claims}.{others}{last}")
}

/// Waits until the control plane has refused the token of a machine that was started, and says by which words. The machine is not
/// registered over another connection than the one that began at `before`.
///
/// # Errors
/// [`Error`]; [`Error::Late`] where it was not refused.
pub async fn refused(
    vm: &Vm,
    cluster: &Cluster,
    machine: &Machine,
    before: Option<&str>,
    deadline: Duration,
) -> Result<String, Error> {
    let waited = eventually::poll("the control plane to refuse its token", deadline, STEP, async || {
        let log = machine.logs(crate::topology::vm::PROXY).await.map_err(|error| cluster::chain(&error))?;
        let refusal = log.lines().find_map(|line| Some(line.get(line.find(REFUSAL)?..)?.to_owned()));
        let connected = connected_at(vm, cluster).await.map_err(|error| cluster::chain(&error))?;
        match (refusal, connected) {
            (_, Some(since)) if before != Some(since.as_str()) => Err(format!("it is registered since {since}")),
            (Some(words), _) => Ok(words),
            (None, _) => Err(format!("its agent does not say `{REFUSAL}`")),
        }
    });
    match waited.await {
        Ok(words) => Ok(words),
        Err(source) => {
            let words = last_words(machine).await;
            Err(Error::Late { machine: vm.name.clone(), source, words })
        }
    }
}

/// When the machine's present connection with the control plane began, as its WorkloadEntry says.
///
/// # Errors
/// Where the cluster cannot be asked.
pub async fn connected_at(vm: &Vm, cluster: &Cluster) -> Result<Option<String>, cluster::Error> {
    Ok(entry(vm, cluster).await?.and_then(|entry| annotation(&entry, names::ANNOTATION_CONNECTED_AT)))
}

/// Its WorkloadEntry, if the control plane counts on the machine: it is registered, and healthy where it is asked.
///
/// # Errors
/// Where the cluster cannot be asked.
pub async fn counted_on(vm: &Vm, cluster: &Cluster) -> Result<Option<Value>, cluster::Error> {
    Ok(entry(vm, cluster).await?.filter(|entry| unhealthy(vm, entry).is_none()))
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

/// Its WorkloadEntry, where there is one.
///
/// # Errors
/// Where the cluster cannot be asked.
pub async fn entry(vm: &Vm, cluster: &Cluster) -> Result<Option<Value>, cluster::Error> {
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

    fn topology(text: &str) -> Topology {
        validate::read("virtual-machines.yaml", text).expect("no problems")
    }

    fn details() -> Vm {
        topology(SHIPPED).vm("details-vm").expect("it is there").clone()
    }

    /// Kinds and names of what is applied for machines in a cluster.
    fn applied(topology: &Topology, cluster: &str) -> Vec<String> {
        let all = all_objects(topology, cluster);
        let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
        all.iter().map(name).collect()
    }

    #[test]
    fn a_namespace_of_applications_is_left_to_them() {
        let shared = [
            "ServiceAccount details-vm",
            "WorkloadGroup details-vm",
            "ServiceAccount echo-vm",
            "WorkloadGroup echo-vm",
        ];
        assert_eq!(applied(&topology(SHIPPED), "cluster1"), shared);
        assert_eq!(applied(&topology(SHIPPED), "cluster2"), [""; 0]);
        let apart = SHIPPED.replace("  namespace: echo\n  serviceAccount", "  namespace: alone\n  serviceAccount");
        assert!(applied(&topology(&apart), "cluster1").contains(&"Namespace alone".to_owned()));
    }

    #[test]
    fn its_group_says_who_it_is_and_how_it_is_asked() {
        let [account, group] = objects(&details());
        assert_eq!(account["metadata"]["name"], group["spec"]["template"]["serviceAccount"]);
        assert_eq!(group["spec"]["metadata"]["labels"]["app"], "details");
        assert_eq!(group["spec"]["probe"]["httpGet"]["port"], 9080);
        mesh_types::validate(&group).expect("a right WorkloadGroup");
    }

    #[test]
    fn a_forged_token_has_the_form_of_one_and_another_signature() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJhdWQiOlsiaXN0aW8tY2EiXX0.MEUCIQD_x-9Zz";
        let forged = forged(token);
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (parts(token), parts(&forged));
        assert_eq!(before[..2], after[..2]);
        assert_eq!(before[2].len(), after[2].len());
        let same = before[2].chars().zip(after[2].chars()).filter(|(before, after)| before == after).count();
        assert_eq!(same, 1, "{forged}: the last letter alone");
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
