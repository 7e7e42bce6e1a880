//! Watches what the certificates of the cluster depend on, decides and writes. Level-based: a look at everything that concerns
//! certificates, after every change of it and whenever time alone changes a decision.

pub(crate) mod tables;
mod writes;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kube::Client;
use mesh_types::hub::Object;
use mesh_types::hub::certificate::{
    IssueState, IssuedCertificate, IssuedCertificateStatus, WorkloadRestart, WorkloadRestartStatus,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::certificate::{self, Decision, Step};
use crate::pods::Pods;
use crate::restart;
use crate::trust::ProxyPod;

pub use tables::Tables;
pub use writes::{WriteError, Writes};

/// Pause after a write that failed; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Even where nothing seems to change, clocks and watches are not trusted for longer than this.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// Settings of the agent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the agent, with its resources.
    pub namespace: String,
    /// Name under which the cluster is registered.
    pub cluster: String,
}

/// Looks after the certificates of the cluster until cancelled.
pub async fn run(client: Client, pods: Pods, settings: Settings, cancel: CancellationToken) {
    let changed = Arc::new(watch::Sender::new(()));
    let (mut events, mut pod_events) = (changed.subscribe(), pods.subscribe());
    let mut tables = Tables::watch(&client, pods, &settings.namespace, &changed, &cancel);
    let writes = Writes::new(client.clone(), settings.namespace.clone());
    let work = async {
        tables.asked().await;
        let mut told = None;
        let mut pause = FIRST_PAUSE;
        loop {
            tables.follow_places(&client, &changed, &cancel).await;
            let unread = tables.unread();
            if told != unread {
                if let Some(unread) = &unread {
                    tracing::error!("which certificates are wanted is not known: {unread}");
                }
                told = unread;
            }
            let (again, failed) = look(&tables, &writes).await;
            let sleep = if failed { pause } else { until(again).min(LONGEST_SLEEP) };
            pause = if failed { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
            // Any change may mend what failed, so it is not waited for longer than the pause.
            let anything = async {
                tokio::select! {
                    changed = events.changed() => changed,
                    changed = pod_events.changed() => changed,
                }
            };
            let woken = tokio::time::timeout(sleep, anything).await;
            tracing::trace!(by_change = woken.is_ok(), "looking again");
        }
    };
    cancel.run_until_cancelled(work).await;
}

fn until(time: Option<SystemTime>) -> Duration {
    time.map_or(LONGEST_SLEEP, |time| time.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Looks at every certificate; says when to look again and whether a write failed.
async fn look(tables: &Tables, writes: &Writes) -> (Option<SystemTime>, bool) {
    let mut again: Option<SystemTime> = None;
    let mut failed = false;
    for wanted in tables.certificates() {
        match look_at(tables, writes, &wanted).await {
            Ok(next) => again = [again, next].into_iter().flatten().min(),
            Err(error) => {
                tracing::warn!(certificate = wanted.metadata.name, %error, "will be tried again");
                failed = true;
            }
        }
    }
    // Without the certificates every request would seem to be of none.
    let orphaned = if tables.unread().is_none() { tables.orphaned_requests() } else { Vec::new() };
    for request in orphaned {
        let gone = writes.forget(&request).await;
        failed |=
            gone.inspect_err(|error| tracing::warn!(request = request.name, %error, "will be tried again")).is_err();
    }
    (again, failed)
}

/// Looks at a certificate; says when to look again.
async fn look_at(
    tables: &Tables,
    writes: &Writes,
    wanted: &Object<IssuedCertificate>,
) -> Result<Option<SystemTime>, WriteError> {
    if let Some(error) = tables.unread_of(&wanted.spec) {
        // Nothing is concluded from what is not seen, and what was said of an earlier form is not said of this one.
        let status = IssuedCertificateStatus { error, ..wanted.status.clone() };
        tell(writes, wanted, &status).await?;
        return Ok(None);
    }
    let decision = decide(tables, wanted);
    let step = carry_out(writes, wanted, &decision).await;
    // A step that failed holds no restart up: it is for what is installed.
    restart_for(tables, writes, wanted, &decision).await?;
    step?;
    Ok(decision.again)
}

fn decide(tables: &Tables, wanted: &Object<IssuedCertificate>) -> Decision {
    let name = &wanted.metadata.name;
    let place = &wanted.spec.issued_certificate_secret;
    let (pending, request) = (tables.pending_key(place), tables.request(name));
    let authority = tables.authority(place);
    let here = tables.published_pem(&place.namespace);
    let pods: Vec<ProxyPod> = tables.pods().into_iter().filter(|pod| pod.proxy).map(|pod| pod.pod).collect();
    certificate::decide(&certificate::Inputs {
        wanted,
        pending: pending.as_ref(),
        request: request.as_ref(),
        authority: authority.as_ref(),
        published_here: here.as_deref(),
        published: &tables.published(),
        pods: &pods,
        now: SystemTime::now(),
    })
}

async fn carry_out(writes: &Writes, wanted: &Object<IssuedCertificate>, decision: &Decision) -> Result<(), WriteError> {
    tell(writes, wanted, &decision.status).await?;
    match &decision.step {
        Step::Wait => Ok(()),
        Step::MakeKey => writes.make_key(wanted).await,
        Step::Ask(request) => writes.ask(wanted, request).await,
        Step::Install(installation) => writes.install(wanted, installation).await,
        Step::DropKey => writes.drop_key(&wanted.spec.issued_certificate_secret).await,
    }
}

async fn tell(
    writes: &Writes,
    wanted: &Object<IssuedCertificate>,
    status: &IssuedCertificateStatus,
) -> Result<(), WriteError> {
    if *status == wanted.status {
        return Ok(());
    }
    log(wanted, status);
    writes.status(wanted, status).await
}

fn log(wanted: &Object<IssuedCertificate>, status: &IssuedCertificateStatus) {
    let (name, state, error) = (&wanted.metadata.name, status.state, &status.error);
    if status.state == IssueState::Failed {
        tracing::error!(certificate = name, error, "the certificate failed");
    } else if (status.state, &status.error) != (wanted.status.state, &wanted.status.error) {
        tracing::info!(certificate = name, ?state, waiting = error, root = status.root_fingerprint, "certificate");
    }
}

async fn restart_for(
    tables: &Tables,
    writes: &Writes,
    wanted: &Object<IssuedCertificate>,
    decision: &Decision,
) -> Result<(), WriteError> {
    let Some(reference) = &wanted.spec.workload_restart else { return Ok(()) };
    let Some(restart) = tables.restart(&reference.name) else { return Ok(()) };
    if let Some(error) = tables.unread_of_restarts() {
        if error != restart.status.error {
            tracing::error!(restart = reference.name, error, "nothing is restarted");
            let status = WorkloadRestartStatus { error, ..restart.status.clone() };
            writes.status::<WorkloadRestart>(&restart, &status).await?;
        }
        return Ok(());
    }
    let decision = restart::decide(&restart::Inputs {
        wanted: &restart,
        certificate: &decision.status,
        installed: tables.installed(&wanted.spec.issued_certificate_secret),
        controllers: &tables.controllers(),
        pods: &tables.pods(),
    });
    // The status first: should the agent end here, the restart is begun again and not forgotten.
    if decision.status != restart.status {
        log_restart(&restart, &decision);
        writes.status::<WorkloadRestart>(&restart, &decision.status).await?;
    }
    for patch in &decision.patches {
        writes.restart(patch).await?;
    }
    Ok(())
}

fn log_restart(restart: &Object<WorkloadRestart>, decision: &restart::Decision) {
    let (name, status) = (&restart.metadata.name, &decision.status);
    tracing::info!(restart = name, state = ?status.state, done = status.steps_done, waiting = status.error, "restart");
}
