//! The life of one container: start, hooks, probes, end, restart.
//!
//! One task per container. Everything that can be abandoned is abandoned when the order to stop comes; a start that
//! is under way is not, because a process could be left behind.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as PodContainer, Pod};
use tokio::sync::{broadcast, watch};

use super::cell::PodCell;
use super::observed::{Ended, Failure, State};
use super::stop::Stop;
use super::{create, hooks};
use crate::kubelet::backoff::{BackOff, Pause};
use crate::kubelet::context::ConfigRef;
use crate::kubelet::probes::{Condemned, Place, ProbeSpec, Probes, Verdict};
use crate::runtime::{Container, ExitStatus};

/// A container whose `preStop` hook has used up the grace period gets this much time after SIGTERM.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// The longest termination message.
const LONGEST_MESSAGE: usize = 4096;
/// How much of the log's end stands in for a termination message.
const LONGEST_LOG_TAIL: usize = 2048;

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    fn is_due(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    #[default]
    New,
    /// It was started, or could not be; its `postStart` hook is done.
    Attempted,
    /// Its startup probe has succeeded.
    Started,
}

/// See the module.
pub(super) struct ContainerTask {
    pub(super) cell: Arc<PodCell>,
    pub(super) container: PodContainer,
    pub(super) restart: Restart,
    /// Init containers have neither probes nor hooks, unless they are sidecars.
    pub(super) is_plain_init: bool,
    pub(super) stop: Stop,
    pub(super) progress: watch::Sender<Progress>,
}

/// Why a running container is about to end, or has ended.
enum Turn {
    Ended(ExitStatus),
    Condemned(Condemned),
    Stop,
}

impl ContainerTask {
    /// Runs the container until it has ended for good: because it is done, or because of the order to stop.
    pub(super) async fn run(self) {
        let mut back_off = BackOff::default();
        let mut config_pause = Pause::new(Duration::from_millis(500), Duration::from_secs(30));
        while !self.stop.is_requested() {
            // Before anything is read, so that no change in between is missed.
            let changes = self.cell.context.config_changes.subscribe();
            let pause = match self.start().await {
                Ok(None) => break,
                Ok(Some(container)) => {
                    let ended = self.live(&container).await;
                    let ran = ended.finished_at.duration_since(ended.started_at).unsigned_abs();
                    let code = ended.code;
                    self.book_end(ended);
                    if self.stop.is_requested() || !self.restart.is_due(code) {
                        break;
                    }
                    let pause = back_off.after_end(ran);
                    self.announce_back_off(pause);
                    pause
                }
                Err(failure) => {
                    let is_config = failure.reason == "CreateContainerConfigError";
                    if !self.book_failed_start(&failure) {
                        break;
                    }
                    if is_config {
                        self.wait_for_configuration(changes, config_pause.take()).await;
                        continue;
                    }
                    back_off.after_failed_start()
                }
            };
            let _stopped = self.stop.within(pause).await;
        }
        self.advance(Progress::Started);
    }

    fn advance(&self, to: Progress) {
        self.progress.send_if_modified(|progress| {
            let is_further = *progress < to;
            *progress = (*progress).max(to);
            is_further
        });
    }

    fn name(&self) -> &str {
        &self.container.name
    }

    /// Starts the container; `Ok(None)` if the order to stop came first.
    async fn start(&self) -> Result<Option<Container>, Failure> {
        let restarts = self.cell.observed().record_mut(self.name()).map_or(0, |record| record.restarts);
        let has_run = self.cell.observed().record_mut(self.name()).is_some_and(|record| record.container_id.is_some());
        let restarts = if has_run { restarts + 1 } else { restarts };
        let specification = create::specification(&self.cell, &self.container, restarts);
        let Some(specification) = self.stop.unless_requested(specification).await else { return Ok(None) };
        let specification = specification?;
        let Some(network) = self.cell.network() else { return Ok(None) };
        // Kubernetes keeps the log of one earlier instance.
        let _absent = std::fs::remove_file(self.cell.log_file(self.name(), restarts - 2));
        let container = Container::spawn(specification, network.namespace()).await;
        let container = container.map_err(|error| create::start_failure(&error))?;
        self.book_start(&container, restarts);
        Ok(Some(container))
    }

    fn book_start(&self, container: &Container, restarts: i32) {
        let recorder = &self.cell.context.recorder;
        let about = self.cell.container_reference(&self.container);
        let image = self.container.image.as_deref().unwrap_or_default();
        recorder.normal(about.clone(), "Pulled", format!("Container image \"{image}\" already present on machine"));
        recorder.normal(about.clone(), "Created", format!("Created container: {}", self.name()));
        recorder.normal(about, "Started", format!("Started container {}", self.name()));
        self.cell.set_instance(self.name(), container.clone());
        let id = format!("local://{}-{}-{restarts}", self.cell.uid, self.name());
        let started_at = container.started_at();
        self.cell.update_container(self.name(), |record| {
            if let State::Ended(ended) = &record.state {
                record.last = Some(ended.clone());
            }
            record.state = State::Running(started_at);
            record.container_id = Some(id);
            record.restarts = restarts;
        });
    }

    /// Hooks and probes, until the container has ended.
    async fn live(&self, container: &Container) -> ExitStatus {
        let Some(ip) = self.cell.observed().ip else { return container.wait().await };
        let place = Place { network: self.cell.context.network.clone(), pod: ip, container: container.clone() };
        let turn = tokio::select! {
            status = container.wait() => Turn::Ended(status),
            () = self.stop.requested() => Turn::Stop,
            condemned = self.attend(&place) => Turn::Condemned(condemned),
        };
        match turn {
            Turn::Ended(status) => status,
            Turn::Stop => self.end(&place, &self.stop, "Stopping container").await,
            Turn::Condemned(condemned) => {
                let own = Stop::new();
                own.request_within(condemned.grace.unwrap_or_else(|| grace_period(&self.cell.pod())));
                // The pod itself may be stopped meanwhile, with less time.
                let shorten = async {
                    self.stop.requested().await;
                    own.request(self.stop.deadline());
                    std::future::pending::<ExitStatus>().await
                };
                tokio::select! {
                    status = self.end(&place, &own, &condemned.message) => status,
                    status = shorten => status,
                }
            }
        }
    }

    /// Runs hook and probes; comes back only to condemn the container.
    async fn attend(&self, place: &Place) -> Condemned {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        if let Some(hook) = hook.filter(|_| !self.is_plain_init)
            && let Err(reason) = hooks::run(hook, &self.container, place).await
        {
            let message = format!("PostStartHook failed: {reason}");
            self.warn("FailedPostStartHook", &message);
            return Condemned { message, grace: None };
        }
        self.advance(Progress::Attempted);
        if self.is_plain_init {
            return std::future::pending().await;
        }
        match self.probes() {
            Ok(probes) => probes.run(self.name(), place, |verdict| self.hear(verdict)).await,
            Err(reason) => {
                self.warn("Unhealthy", &format!("a probe cannot be carried out: {reason}"));
                std::future::pending().await
            }
        }
    }

    fn probes(&self) -> Result<Probes, String> {
        let read = |probe: &Option<_>| probe.as_ref().map(|probe| ProbeSpec::new(probe, &self.container)).transpose();
        Ok(Probes {
            startup: read(&self.container.startup_probe)?,
            readiness: read(&self.container.readiness_probe)?,
            liveness: read(&self.container.liveness_probe)?,
        })
    }

    fn hear(&self, verdict: Verdict) {
        match verdict {
            Verdict::Started => {
                self.cell.update_container(self.name(), |record| record.started = true);
                self.advance(Progress::Started);
            }
            Verdict::Ready(ready) => self.cell.update_container(self.name(), |record| record.ready = ready),
            Verdict::Unhealthy(message) => self.warn("Unhealthy", &message),
        }
    }

    /// Ends the container: hook, SIGTERM, and after the deadline SIGKILL; at once where the deadline has passed, as with a
    /// deletion that gives no time.
    async fn end(&self, place: &Place, stop: &Stop, message: &str) -> ExitStatus {
        let about = self.cell.container_reference(&self.container);
        let message =
            if message == "Stopping container" { format!("{message} {}", self.name()) } else { message.to_owned() };
        self.cell.context.recorder.normal(about, "Killing", message);
        if stop.is_over() {
            // Fails only when the container has ended already, which the wait finds.
            let _ended = place.container.signal(libc::SIGKILL);
            return place.container.wait().await;
        }
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let mut least = Duration::ZERO;
        if let Some(hook) = hook.filter(|_| place.container.exit_status().is_none()) {
            let run = async {
                tokio::select! {
                    result = hooks::run(hook, &self.container, place) => result,
                    _ = place.container.wait() => Ok(()),
                }
            };
            match stop.until_deadline(run).await {
                Some(Ok(())) => {}
                Some(Err(reason)) => self.warn("FailedPreStopHook", &format!("PreStopHook failed: {reason}")),
                None => least = LEAST_GRACE,
            }
        }
        // Sending fails only when the container has ended already, which the wait below finds.
        let _ended = place.container.signal(self.stop_signal());
        if let Some(status) = stop.until_deadline(place.container.wait()).await {
            return status;
        }
        if !least.is_zero()
            && let Ok(status) = tokio::time::timeout(least, place.container.wait()).await
        {
            return status;
        }
        let _ended = place.container.signal(libc::SIGKILL);
        place.container.wait().await
    }

    fn stop_signal(&self) -> i32 {
        let named = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
        let signal = named.and_then(|name| name.parse::<nix::sys::signal::Signal>().ok());
        signal.map_or(libc::SIGTERM, |signal| signal as i32)
    }

    fn book_end(&self, status: ExitStatus) {
        let message = self.termination_message(&status);
        self.cell.update_container(self.name(), |record| {
            let reason = if status.code == 0 { "Completed" } else { "Error" }.to_owned();
            let (started_at, finished_at) = (status.started_at, status.finished_at);
            let container_id = record.container_id.clone();
            let (code, signal) = (status.code, status.signal);
            record.state = State::Ended(Ended { code, signal, reason, message, started_at, finished_at, container_id });
            record.ready = self.is_plain_init && status.code == 0;
            record.started = false;
        });
    }

    /// What the container wrote to its termination log; the end of its log if it asks for that.
    fn termination_message(&self, status: &ExitStatus) -> Option<String> {
        let written = std::fs::read(create::termination_file(&self.cell, &self.container)).unwrap_or_default();
        let mut message = String::from_utf8_lossy(&written[..written.len().min(LONGEST_MESSAGE)]).into_owned();
        let falls_back = self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if message.is_empty() && falls_back && status.code != 0 {
            message = self.end_of_log();
        }
        (!message.is_empty()).then_some(message)
    }

    /// The last lines of the log, without what the log format adds to them.
    fn end_of_log(&self) -> String {
        let restarts = self.cell.observed().record_mut(self.name()).map_or(0, |record| record.restarts);
        let log = std::fs::read(self.cell.log_file(self.name(), restarts)).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LONGEST_LOG_TAIL)..]).into_owned();
        let contents = tail.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        contents.fold(String::new(), |text, line| text + line + "\n")
    }

    /// Books a start that failed; whether it is worth trying again.
    fn book_failed_start(&self, failure: &Failure) -> bool {
        self.warn("Failed", &format!("Error: {}: {}", failure.reason, failure.message));
        let tries_again = failure.reason == "CreateContainerConfigError"
            || failure.reason == "ErrImagePull"
            || self.restart != Restart::Never;
        let now = Timestamp::now();
        self.cell.update_container(self.name(), |record| {
            record.started = false;
            record.ready = false;
            record.state = if tries_again {
                State::Waiting(failure.clone())
            } else {
                let message = Some(failure.message.clone());
                let container_id = record.container_id.clone();
                let reason = "StartError".to_owned();
                State::Ended(Ended {
                    code: 128,
                    signal: None,
                    reason,
                    message,
                    started_at: now,
                    finished_at: now,
                    container_id,
                })
            };
        });
        self.advance(Progress::Attempted);
        tries_again
    }

    fn announce_back_off(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        let what = format!("container={} pod={}", self.name(), self.cell.full_name());
        let waiting =
            Failure::new("CrashLoopBackOff", format!("back-off {}s restarting failed {what}", pause.as_secs()));
        self.cell.update_container(self.name(), |record| {
            if let State::Ended(ended) = std::mem::replace(&mut record.state, State::Waiting(waiting)) {
                record.last = Some(ended);
            }
        });
        let message = format!("Back-off restarting failed container {} in pod {}", self.name(), self.cell.full_name());
        self.warn("BackOff", &message);
    }

    /// Waits until a start is worth another try: when configuration that it needs has changed, or after a pause.
    async fn wait_for_configuration(&self, mut changes: broadcast::Receiver<ConfigRef>, pause: Duration) {
        let references = create::references(&self.cell.namespace, &self.container);
        tokio::select! {
            _stopped = self.stop.within(pause) => {}
            () = super::relevant_change(&mut changes, &references) => {}
        }
    }

    fn warn(&self, reason: &str, message: &str) {
        self.cell.context.recorder.warning(self.cell.container_reference(&self.container), reason, message);
    }
}

/// The grace period of the pod's specification.
pub(super) fn grace_period(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30))
}
