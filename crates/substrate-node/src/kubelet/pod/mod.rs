//! The life of one pod: network and volumes, init containers, containers, end.
//!
//! ```text
//!   prepare --> init containers, one after the other --> containers --> wait for deletion --> clean up
//!      \______________\___________________________________\______ the order to stop ______/
//! ```
//!
//! One task per pod and one per container. `cell` is what they share, `observed` and `status` turn it into the status
//! that `writer` writes.

mod cell;
mod container;
mod create;
mod hooks;
pub(super) mod observed;
mod qos;
mod status;
mod stop;
mod writer;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as PodContainer, Pod};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

pub(super) use cell::PodCell;
use container::{ContainerTask, Progress, Restart, grace_period};
use observed::{Failure, State, is_sidecar};
use stop::Stop;

use super::backoff::Pause;
use super::context::ConfigRef;
use super::volumes::Volumes;

/// Runs a pod until its object is gone.
pub(super) async fn run(cell: Arc<PodCell>) {
    let stop = Stop::new();
    let _writer = AbortOnDropHandle::new(tokio::spawn(writer::write_changes(cell.clone())));
    let _deletion = AbortOnDropHandle::new(tokio::spawn(watch_deletion(cell.clone(), stop.clone())));
    let life = Life { cell: cell.clone(), stop: stop.clone() };
    life.live().await;
    deletion(&cell).await;
    clean_up(&cell).await;
    drop((_writer, _deletion));
    remove_object(&cell).await;
}

/// Gives the order to stop when the pod's deletion begins, and shortens its time when that is asked for.
async fn watch_deletion(cell: Arc<PodCell>, stop: Stop) {
    let mut object = cell.object.subscribe();
    let mut begun = None;
    loop {
        // A copy: whoever holds the borrow and asks for the object again waits for a writer that waits for this borrow.
        let pod = Arc::clone(&object.borrow_and_update());
        if pod.metadata.deletion_timestamp.is_some() {
            let grace = deletion_grace(&pod);
            // From the moment in which this node saw it: clocks of others do not matter.
            let begun = *begun.get_or_insert_with(tokio::time::Instant::now);
            stop.request(begun + grace);
        }
        tokio::select! {
            () = cell.gone.cancelled() => {
                stop.request_within(Duration::ZERO);
                return;
            }
            changed = object.changed() => if changed.is_err() { return },
        }
    }
}

fn deletion_grace(pod: &Pod) -> Duration {
    let seconds = pod.metadata.deletion_grace_period_seconds;
    seconds.map_or_else(|| grace_period(pod), |seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Waits until deletion has begun.
async fn deletion(cell: &PodCell) {
    let mut object = cell.object.subscribe();
    tokio::select! {
        () = cell.gone.cancelled() => {}
        _ = object.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()) => {}
    }
}

/// Writes the last status and gives back everything but the logs, which tell afterwards what happened.
async fn clean_up(cell: &PodCell) {
    if !cell.gone.is_cancelled()
        && let Err(error) = writer::write(cell).await
        && !writer::is_gone(&error)
    {
        tracing::debug!(pod = cell.name, %error, "the last status of a pod could not be written");
    }
    let network = cell.network.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(network) = network.and_then(Arc::into_inner) {
        network.release().await;
    }
    match std::fs::remove_dir_all(cell.directory()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(pod = cell.name, %error, "the volumes of a pod could not be removed");
        }
        _ => {}
    }
}

/// Completes the deletion of the object.
async fn remove_object(cell: &PodCell) {
    let pods: Api<Pod> = Api::namespaced(cell.context.client.clone(), &cell.namespace);
    let preconditions = Some(Preconditions { uid: Some(cell.uid.clone()), resource_version: None });
    let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    let mut pause = Pause::new(Duration::from_millis(50), Duration::from_secs(5));
    while !cell.gone.is_cancelled() {
        match pods.delete(&cell.name, &parameters).await {
            Ok(_) => return,
            Err(error) if writer::is_gone(&error) => return,
            Err(error) => tracing::debug!(pod = cell.name, %error, "the deletion of a pod could not be completed"),
        }
        let _gone = tokio::time::timeout(pause.take(), cell.gone.cancelled()).await;
    }
}

/// Waits for a change that concerns one of the references.
pub(super) async fn relevant_change(changes: &mut broadcast::Receiver<ConfigRef>, references: &BTreeSet<ConfigRef>) {
    loop {
        match changes.recv().await {
            Ok(change) if !references.contains(&change) => {}
            // Also after having missed changes: one of them may have been the one.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The part of a pod's life in which something may run.
struct Life {
    cell: Arc<PodCell>,
    stop: Stop,
}

/// A container that runs in a task of its own.
struct Running {
    stop: Stop,
    task: JoinHandle<()>,
    progress: watch::Receiver<Progress>,
}

impl Life {
    async fn live(&self) {
        let pod = self.cell.pod();
        if let Some(failure) = create::unsupported(&pod) {
            self.give_up(&failure).await;
            return;
        }
        let prepared = self.prepare(&pod).await;
        if !prepared {
            return;
        }
        let _refresher = AbortOnDropHandle::new(tokio::spawn(refresh_volumes(self.cell.clone())));
        let _deadline = AbortOnDropHandle::new(tokio::spawn(active_deadline(self.cell.clone(), self.stop.clone())));
        let mut sidecars = Vec::new();
        if self.initialize(&pod, &mut sidecars).await {
            self.run_containers(&pod).await;
        }
        // The last one first, because earlier ones were there to serve later ones.
        for sidecar in sidecars.into_iter().rev() {
            if self.stop.is_requested() {
                sidecar.stop.request(self.stop.deadline());
            } else {
                sidecar.stop.request_within(grace_period(&self.cell.pod()));
            }
            ended(sidecar.task).await;
        }
    }

    /// Shows a failure that no waiting will cure.
    async fn give_up(&self, failure: &Failure) {
        self.cell.warn("Failed", failure.message.clone());
        self.show_waiting(failure);
        self.stop.requested().await;
    }

    fn show_waiting(&self, failure: &Failure) {
        self.cell.update(|observed| {
            for record in observed.init.iter_mut().chain(&mut observed.main) {
                record.state = State::Waiting(failure.clone());
            }
        });
    }

    /// Network and volumes, at the same time. Comes back when both are there (`true`) or on the order to stop.
    async fn prepare(&self, pod: &Pod) -> bool {
        let volumes = match Volumes::new(pod, self.cell.directory().join("volumes")) {
            Ok(volumes) => volumes,
            Err(failure) => {
                let failure = Failure::new("CreateContainerConfigError", failure.message);
                self.give_up(&failure).await;
                return false;
            }
        };
        let references = volumes.references(&self.cell.namespace);
        *self.cell.volumes.lock().await = Some(volumes);
        let mut pause = Pause::new(Duration::from_millis(200), Duration::from_secs(10));
        while !self.stop.is_requested() {
            // Before anything is read, so that no change in between is missed.
            let mut changes = self.cell.context.config_changes.subscribe();
            let (network, volumes) = tokio::join!(self.make_network(), write_volumes(&self.cell));
            let Err(failure) = network.and(volumes.map(drop)) else { return true };
            self.cell.warn(&failure.reason, failure.message.clone());
            self.show_waiting(&Failure::new("ContainerCreating", failure.message));
            tokio::select! {
                _stopped = self.stop.within(pause.take()) => {}
                () = relevant_change(&mut changes, &references) => {}
            }
        }
        false
    }

    async fn make_network(&self) -> Result<(), Failure> {
        if self.cell.network().is_some() {
            return Ok(());
        }
        let name = format!("{}/{}", self.cell.namespace, self.cell.name);
        let network = self.cell.context.network.create_pod_network(&name).await;
        let network = network.map_err(|error| Failure::new("FailedCreatePodSandBox", error.to_string()))?;
        let address = network.address();
        *self.cell.network.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(network));
        // No status is written for this alone: the first container starts within milliseconds.
        self.cell.note(|observed| observed.ip = Some(address));
        Ok(())
    }

    /// Runs init containers; `true` when all have done their part.
    async fn initialize(&self, pod: &Pod, sidecars: &mut Vec<Running>) -> bool {
        let restart = restart_policy(pod);
        for container in pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten()) {
            if is_sidecar(container) {
                let own = Stop::new();
                let mut running = self.start(container, Restart::Always, false, own);
                let started = running.progress.wait_for(|progress| *progress == Progress::Started);
                let in_time = self.stop.unless_requested(started).await.is_some();
                sidecars.push(running);
                if !in_time {
                    return false;
                }
            } else {
                let restart = if restart == Restart::Never { Restart::Never } else { Restart::OnFailure };
                ended(self.start(container, restart, true, self.stop.clone()).task).await;
                let mut observed = self.cell.observed();
                let succeeded =
                    observed.record_mut(&container.name).and_then(|record| record.ended().map(|ended| ended.code == 0));
                if succeeded != Some(true) {
                    return false;
                }
            }
        }
        self.cell.note(|observed| {
            for record in &mut observed.main {
                record.state = State::Waiting(Failure::new("ContainerCreating", ""));
            }
        });
        !self.stop.is_requested()
    }

    /// Starts the containers in their order and waits until all have ended for good. Each waits for the `postStart`
    /// hook of the one before, on which programs rely that must be there before the others.
    async fn run_containers(&self, pod: &Pod) {
        let restart = restart_policy(pod);
        let mut tasks = Vec::new();
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            let mut running = self.start(container, restart, false, self.stop.clone());
            let attempted = running.progress.wait_for(|progress| *progress >= Progress::Attempted);
            let in_time = self.stop.unless_requested(attempted).await.is_some();
            tasks.push(running.task);
            if !in_time {
                break;
            }
        }
        for task in tasks {
            ended(task).await;
        }
    }

    fn start(&self, container: &PodContainer, restart: Restart, is_plain_init: bool, stop: Stop) -> Running {
        let progress = watch::Sender::new(Progress::New);
        let receiver = progress.subscribe();
        let (cell, container) = (self.cell.clone(), container.clone());
        let task = ContainerTask { cell, container, restart, is_plain_init, stop: stop.clone(), progress };
        Running { stop, task: tokio::spawn(task.run()), progress: receiver }
    }
}

fn restart_policy(pod: &Pod) -> Restart {
    match pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) {
        Some("Never") => Restart::Never,
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Always,
    }
}

async fn ended(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "the task of a container failed");
    }
}

async fn write_volumes(cell: &PodCell) -> Result<Option<Duration>, Failure> {
    let pod = cell.pod();
    match cell.volumes.lock().await.as_mut() {
        Some(volumes) => volumes.write(&cell.context, &pod).await,
        None => Ok(None),
    }
}

/// Keeps volumes current: when something they refer to changes, when the pod's labels change, when a token is due.
async fn refresh_volumes(cell: Arc<PodCell>) {
    const RETRY: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
    let references =
        cell.volumes.lock().await.as_ref().map(|volumes| volumes.references(&cell.namespace)).unwrap_or_default();
    let mut changes = cell.context.config_changes.subscribe();
    let mut object = cell.object.subscribe();
    let mut metadata = own_metadata(&object.borrow_and_update());
    loop {
        let next = match write_volumes(&cell).await {
            Ok(next) => next.unwrap_or(NEVER),
            Err(failure) => {
                tracing::debug!(pod = cell.name, message = failure.message, "volumes keep their contents for now");
                RETRY
            }
        };
        let relabelled = async {
            while object.changed().await.is_ok() {
                let current = own_metadata(&object.borrow_and_update());
                if std::mem::replace(&mut metadata, current.clone()) != current {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = relevant_change(&mut changes, &references) => {}
            () = relabelled => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

type OwnMetadata =
    (Option<std::collections::BTreeMap<String, String>>, Option<std::collections::BTreeMap<String, String>>);

fn own_metadata(pod: &Pod) -> OwnMetadata {
    (pod.metadata.labels.clone(), pod.metadata.annotations.clone())
}

/// Fails a pod that is active for longer than it may be.
async fn active_deadline(cell: Arc<PodCell>, stop: Stop) {
    let seconds = cell.pod().spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let Some(limit) = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs) else { return };
    if stop.within(limit).await {
        return;
    }
    let failure = Failure::new("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
    cell.warn(&failure.reason, failure.message.clone());
    cell.update(|observed| observed.failure = Some(failure));
    stop.request_within(grace_period(&cell.pod()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the object that it is given, and of nothing else: asking the cell for a newer one while the object is borrowed from
    /// it stood still for ever when an update came in between, and every API server of the process with it.
    #[test]
    fn the_time_to_stop_is_that_of_the_deletion_else_that_of_the_pod() {
        let pod = |deletion: Option<i64>, spec: Option<i64>| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "a", "deletionGracePeriodSeconds": deletion },
                "spec": { "containers": [], "terminationGracePeriodSeconds": spec },
            }))
            .unwrap()
        };
        for (deletion, spec, seconds) in
            [(Some(0), Some(9), 0), (Some(2), None, 2), (None, Some(9), 9), (None, None, 30)]
        {
            assert_eq!(deletion_grace(&pod(deletion, spec)), Duration::from_secs(seconds));
        }
        assert_eq!(deletion_grace(&pod(Some(-1), None)), Duration::ZERO);
    }
}
