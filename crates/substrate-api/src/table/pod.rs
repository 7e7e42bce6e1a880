//! Pods.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::{age, human_duration, seconds_between, time};
use super::text::{NONE, at, condition, condition_is_true, integer, list, name, or_none};
use super::{Column, Printer, text, wide};

pub(super) const PODS: Printer = Printer { columns: COLUMNS, cells };

const COLUMNS: &[Column] = &[
    text("Name"),
    text("Ready"),
    text("Status"),
    text("Restarts"),
    text("Age"),
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let ip = list(pod, "/status/podIPs").first().map_or(at(pod, "/status/podIP"), |first| at(first, "/ip"));
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.status.clone().into(),
        summary.restarts_text(now).into(),
        age(pod, now),
        or_none(ip).into(),
        or_none(at(pod, "/spec/nodeName")).into(),
        or_none(at(pod, "/status/nominatedNodeName")).into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let passed = gates.iter().filter(|gate| condition_is_true(pod, at(gate, "/conditionType"))).count();
    format!("{passed}/{}", gates.len())
}

#[derive(Debug, Default)]
struct Summary {
    status: String,
    ready: usize,
    containers: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn count_restarts(&mut self, status: &Value) {
        self.restarts += integer(status, "/restartCount");
        self.last_restart = self.last_restart.max(time(status, "/lastState/terminated/finishedAt"));
    }

    fn restarts_text(&self, now: Timestamp) -> String {
        match self.last_restart.filter(|_| self.restarts != 0) {
            Some(last) => format!("{} ({} ago)", self.restarts, human_duration(seconds_between(last, now))),
            None => self.restarts.to_string(),
        }
    }
}

fn summarize(pod: &Value) -> Summary {
    let mut summary = Summary {
        status: first_of(&[at(pod, "/status/reason"), at(pod, "/status/phase")]),
        containers: list(pod, "/spec/containers").len(),
        ..Summary::default()
    };
    if condition(pod, "PodScheduled").is_some_and(|condition| at(condition, "/reason") == "SchedulingGated") {
        summary.status = "SchedulingGated".to_owned();
    }
    let sidecars = list(pod, "/spec/initContainers").iter().filter(|container| is_sidecar(container)).count();
    summary.containers += sidecars;
    let initializing = initialization(pod, &mut summary);
    if !initializing || condition_is_true(pod, "Initialized") {
        running(pod, &mut summary);
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        if at(pod, "/status/reason") == "NodeLost" {
            summary.status = "Unknown".to_owned();
        } else if !matches!(at(pod, "/status/phase"), "Succeeded" | "Failed") {
            summary.status = "Terminating".to_owned();
        }
    }
    summary
}

fn is_sidecar(init_container: &Value) -> bool {
    at(init_container, "/restartPolicy") == "Always"
}

/// Looks at the init containers; true if they are not done. Restarts of plain init containers count only until then.
fn initialization(pod: &Value, summary: &mut Summary) -> bool {
    let specs = list(pod, "/spec/initContainers");
    let mut sidecar_restarts = Summary::default();
    for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let sidecar = specs.iter().any(|spec| is_sidecar(spec) && spec.get("name") == status.get("name"));
        summary.count_restarts(status);
        if sidecar {
            sidecar_restarts.count_restarts(status);
        }
        let terminated = status.pointer("/state/terminated").filter(|state| !state.is_null());
        let waiting = at(status, "/state/waiting/reason");
        if terminated.is_some_and(|state| integer(state, "/exitCode") == 0) {
            continue;
        }
        if sidecar && status.get("started") == Some(&Value::Bool(true)) {
            summary.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
            continue;
        }
        summary.status = match terminated {
            Some(state) => format!("Init:{}", exit_reason(state)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", specs.len()),
        };
        if condition_is_true(pod, "Initialized") {
            (summary.restarts, summary.last_restart) = (sidecar_restarts.restarts, sidecar_restarts.last_restart);
        }
        return true;
    }
    (summary.restarts, summary.last_restart) = (sidecar_restarts.restarts, sidecar_restarts.last_restart);
    false
}

fn running(pod: &Value, summary: &mut Summary) {
    let mut has_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        summary.count_restarts(status);
        let waiting = at(status, "/state/waiting/reason");
        let terminated = status.pointer("/state/terminated").filter(|state| !state.is_null());
        let is_running = status.pointer("/state/running").is_some_and(|state| !state.is_null());
        if !waiting.is_empty() {
            summary.status = waiting.to_owned();
        } else if let Some(state) = terminated {
            summary.status = exit_reason(state);
        } else if is_running && status.get("ready") == Some(&Value::Bool(true)) {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.status == "Completed" && has_running {
        summary.status = if condition_is_true(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
    }
}

fn exit_reason(terminated: &Value) -> String {
    let signal = integer(terminated, "/signal");
    match at(terminated, "/reason") {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", integer(terminated, "/exitCode")),
        reason => reason.to_owned(),
    }
}

fn first_of(texts: &[&str]) -> String {
    texts.iter().find(|text| !text.is_empty()).map(|text| (*text).to_owned()).unwrap_or_default()
}
