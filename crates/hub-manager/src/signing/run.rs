//! Watches what signing depends on, decides and writes: the Secret with the root into the management cluster, answers to requests
//! into the registered ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hub::output::OutputKind;
use hub::state::{Change, State};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use kube_support::error::describe;
use mesh_types::hub::certificate::{CertificateRequestStatus, IssueState, IssuedCertificate};
use mesh_types::hub::names::{ANNOTATION_PARENTS, ANNOTATION_ROTATE, FIELD_MANAGER};
use mesh_types::hub::virtual_mesh::{SharedTrust, TrustStatus};
use mesh_types::hub::{Kind, Object, ObjectRef, VirtualMesh};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plan::{self, Decision, Member, Source};
use super::progress;
use super::stored::{self, Held, Stored};
use super::tables::{Tables, root_name};
use crate::clusters::Agents;
use crate::event::{Event, Events, ask};
use crate::kinds::ResourceKind;
use crate::plane::Plane;

/// Pause after a write that failed; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Even where nothing seems to change, clocks and watches are not trusted for longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What signing needs.
pub struct Signing {
    /// The management cluster.
    pub management: Client,
    /// Which plane this is.
    pub plane: Plane,
    /// Who knows what each cluster shall have.
    pub events: Events,
    /// How clusters with an agent are reached.
    pub agents: Agents,
    /// Whether the manager has read everything and has begun.
    pub began: watch::Receiver<bool>,
}

/// A VirtualMesh with shared trust, and what the hub wants in its clusters.
struct Trusted {
    virtual_mesh: Object<VirtualMesh>,
    shared: SharedTrust,
    certificates: Vec<Wanted>,
}

/// A certificate that the hub wants in a cluster.
struct Wanted {
    cluster: String,
    namespace: String,
    name: String,
    spec: IssuedCertificate,
}

impl Signing {
    /// Signs for as long as it is polled.
    pub async fn run(mut self) {
        let cancel = CancellationToken::new();
        let _ends_watches = cancel.clone().drop_guard();
        let changed = Arc::new(watch::Sender::new(()));
        let (mut events, mut registered) = (changed.subscribe(), self.agents.subscribe());
        if self.began.wait_for(|began| *began).await.is_err() {
            return;
        }
        let mut tables = Tables::watch(&self.management, &self.plane.namespace, &changed, &cancel);
        tables.ready().await;
        let mut pauses = BTreeMap::new();
        let mut told = BTreeMap::new();
        loop {
            tables.follow_clusters(&self.agents, &changed, &cancel);
            let Some(wanted) = ask(&self.events, wanted).await else { return };
            let mut sleep = LONGEST_SLEEP;
            for one in trusted(tables.virtual_meshes(), wanted) {
                let pause = pauses.entry(one.virtual_mesh.reference()).or_insert(FIRST_PAUSE);
                match self.look(&tables, &one, &mut told).await {
                    Ok(again) => {
                        let left = again.map(|again| again.duration_since(SystemTime::now()).unwrap_or_default());
                        sleep = sleep.min(left.unwrap_or(LONGEST_SLEEP));
                        *pause = FIRST_PAUSE;
                    }
                    Err(error) => {
                        tracing::warn!(virtual_mesh = one.virtual_mesh.metadata.name, error, "will be tried again");
                        sleep = sleep.min(*pause);
                        *pause = (*pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            let anything = async {
                tokio::select! {
                    changed = events.changed() => changed.is_ok(),
                    changed = registered.changed() => changed.is_ok(),
                }
            };
            // Time is a reason to look again, too.
            let _ = tokio::time::timeout(sleep, anything).await;
        }
    }

    /// Looks at a VirtualMesh; says when to look again.
    async fn look(
        &self,
        tables: &Tables,
        one: &Trusted,
        told: &mut BTreeMap<ObjectRef, TrustStatus>,
    ) -> Result<Option<SystemTime>, String> {
        let reference = one.virtual_mesh.reference();
        let name = root_name(&reference);
        let secret = tables.secret(&name);
        let stored = secret.as_deref().and_then(stored::read);
        let members = members(tables, one);
        let decision = plan::decide(&plan::Inputs {
            source: self.source(tables, one),
            stored: stored.as_ref(),
            members: &members,
            now: SystemTime::now(),
        });
        self.tell_status(&reference, trust_of(tables, one, stored.as_ref(), &decision), told);
        let version = secret.and_then(|secret| secret.metadata.resource_version.clone());
        self.carry_out(tables, one, &name, version.as_deref(), &decision).await?;
        Ok(decision.again)
    }

    /// Tells what the status of a VirtualMesh says of its trust, where that is another than before.
    fn tell_status(&self, reference: &ObjectRef, trust: TrustStatus, told: &mut BTreeMap<ObjectRef, TrustStatus>) {
        let before = told.insert(reference.clone(), trust.clone());
        if before.as_ref() == Some(&trust) {
            return;
        }
        if before.is_none_or(|before| (before.phase, &before.waiting) != (trust.phase, &trust.waiting)) {
            let (phase, waiting) = (trust.phase, &trust.waiting);
            tracing::info!(virtual_mesh = reference.name, ?phase, waiting, "the root of the virtual mesh");
        }
        let change = Change::Trust(reference.clone(), Box::new(trust));
        let _stopping = self.events.send(Event::Changes(vec![change], Instant::now()));
    }

    fn source<'a>(&self, tables: &Tables, one: &'a Trusted) -> Source<'a> {
        let authority = &one.shared.root_certificate_authority;
        let Some(place) = &authority.secret else {
            let options = authority.generated.clone().unwrap_or_default();
            let annotations = &one.virtual_mesh.metadata.annotations;
            let rotation = annotations.get(ANNOTATION_ROTATE).map_or("", String::as_str);
            return Source::Generated { options, rotation };
        };
        Source::BroughtIn(self.brought_in(tables, place))
    }

    /// Validation refuses one in another namespace, where the manager has no rights.
    fn brought_in(&self, tables: &Tables, place: &ObjectRef) -> Result<Held, String> {
        let title = format!("Secret {}/{}", self.plane.namespace, place.name);
        let secret = tables.secret(&place.name).ok_or_else(|| format!("{title} is missing"))?;
        stored::brought_in(&secret).map_err(|error| format!("{title}: {error}"))
    }

    async fn carry_out(
        &self,
        tables: &Tables,
        one: &Trusted,
        name: &str,
        version: Option<&str>,
        decision: &Decision,
    ) -> Result<(), String> {
        let words = |error: kube::Error| describe(&error);
        if let Some(next) = &decision.store {
            let secrets: Api<Secret> = Api::namespaced(self.management.clone(), &self.plane.namespace);
            let body = stored::secret(&self.plane, name, next, version);
            let body: Secret = serde_json::from_value(body).map_err(|error| error.to_string())?;
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            // Somebody who was faster is not overwritten: there is another look at what he wrote.
            match version {
                None => drop(secrets.create(&parameters, &body).await.map_err(words)?),
                Some(_) => drop(secrets.replace(name, &parameters, &body).await.map_err(words)?),
            }
        }
        // A cluster that does not answer holds up no other.
        let answers = decision.answers.iter().filter_map(|(place, status)| {
            let wanted = one.certificates.get(*place)?;
            Some(answer(tables.cluster(&wanted.cluster)?.client, wanted, status))
        });
        futures::future::join_all(answers).await.into_iter().collect()
    }
}

async fn answer(client: Client, wanted: &Wanted, status: &CertificateRequestStatus) -> Result<(), String> {
    let told = tokio::time::timeout(PATIENCE, tell(client, wanted, status)).await;
    let told = told
        .map_err(|_| format!("no answer within {PATIENCE:?}"))
        .and_then(|told| told.map_err(|error| describe(&error)));
    told.map_err(|error| format!("{}: {error}", wanted.cluster))?;
    tracing::info!(cluster = wanted.cluster, state = ?status.state, error = status.error, "a request for an authority is answered");
    Ok(())
}

async fn tell(client: Client, wanted: &Wanted, status: &CertificateRequestStatus) -> Result<(), kube::Error> {
    let kind = Kind::CertificateRequest;
    let api = ResourceKind::from(kind).in_namespace(client, &wanted.namespace);
    let body = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": { "name": wanted.name, "namespace": wanted.namespace },
        "status": status,
    });
    api.patch_status(&wanted.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(body)).await.map(drop)
}

/// The members as the clusters show them, in the order of the certificates that are wanted.
fn members(tables: &Tables, one: &Trusted) -> Vec<Member> {
    let seen = |wanted: &Wanted| {
        let cluster = tables.cluster(&wanted.cluster);
        let certificate = cluster.as_ref().and_then(|cluster| {
            let found: Object<IssuedCertificate> = cluster.get(&wanted.name, &wanted.namespace)?;
            // A status about an earlier form says nothing about this one.
            let current = found.status.observed_generation == found.metadata.generation.unwrap_or_default();
            current.then_some(found.status)
        });
        Member {
            cluster: wanted.cluster.clone(),
            wanted: wanted.spec.clone(),
            request: cluster.and_then(|cluster| cluster.get(&wanted.name, &wanted.namespace)),
            certificate,
        }
    };
    let mut members: Vec<Member> = one.certificates.iter().map(seen).collect();
    // A root is not changed behind the back of a mesh that nothing is known of.
    let unknown = one
        .virtual_mesh
        .spec
        .meshes
        .iter()
        .filter(|mesh| !one.certificates.iter().any(|wanted| wanted.name == mesh.name));
    members.extend(unknown.map(|mesh| Member {
        cluster: format!("of mesh {}", mesh.name),
        wanted: IssuedCertificate::default(),
        request: None,
        certificate: None,
    }));
    members
}

/// What the status of a VirtualMesh says of its trust.
fn trust_of(tables: &Tables, one: &Trusted, stored: Option<&Stored>, decision: &Decision) -> TrustStatus {
    let mut trust = progress::of(stored, decision.waiting.as_deref());
    for mesh in &one.virtual_mesh.spec.meshes {
        let wanted = one.certificates.iter().find(|wanted| wanted.name == mesh.name);
        let seen = wanted.and_then(|wanted| {
            let cluster = tables.cluster(&wanted.cluster)?;
            let certificate: Object<IssuedCertificate> = cluster.get(&wanted.name, &wanted.namespace)?;
            let restart = certificate.spec.workload_restart.as_ref();
            let restart = restart.and_then(|restart| cluster.get(&restart.name, &wanted.namespace));
            let mut status = certificate.status;
            if status.observed_generation != certificate.metadata.generation.unwrap_or_default() {
                // It is about an earlier form.
                status.state = IssueState::Pending;
            }
            Some((status, restart))
        });
        let (certificate, restart) = seen.unzip();
        trust.meshes.insert(mesh.to_string(), progress::member(certificate, restart.flatten()));
    }
    trust
}

/// What the hub wants in clusters, by VirtualMesh (`namespace/name`).
fn wanted(state: &State) -> BTreeMap<String, Vec<Wanted>> {
    let mut wanted: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    for (_, emitted) in state.emitted().filter(|(_, emitted)| emitted.object.key.kind == OutputKind::IssuedCertificate)
    {
        let Ok(manifest) = serde_json::from_str::<Value>(&emitted.object.manifest) else { continue };
        let Ok(spec) = serde_json::from_value::<IssuedCertificate>(manifest["spec"].clone()) else { continue };
        let parents = manifest["metadata"]["annotations"][ANNOTATION_PARENTS].as_str().unwrap_or_default();
        let key = &emitted.object.key;
        for parent in parents.split(',').filter_map(|parent| parent.strip_prefix("VirtualMesh/")) {
            let of = |cluster: &str| Wanted {
                cluster: cluster.to_owned(),
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                spec: spec.clone(),
            };
            wanted.entry(parent.to_owned()).or_default().extend(emitted.clusters.iter().map(of));
        }
    }
    wanted
}

/// The VirtualMeshes with shared trust for which the hub wants anything.
fn trusted(virtual_meshes: Vec<Object<VirtualMesh>>, mut wanted: BTreeMap<String, Vec<Wanted>>) -> Vec<Trusted> {
    let shared = virtual_meshes.into_iter().filter_map(|virtual_mesh| {
        let shared = virtual_mesh.spec.mtls_config.as_ref()?.shared.clone()?;
        let key = format!("{}/{}", virtual_mesh.metadata.namespace, virtual_mesh.metadata.name);
        Some(Trusted { certificates: wanted.remove(&key)?, virtual_mesh, shared })
    });
    shared.collect()
}
