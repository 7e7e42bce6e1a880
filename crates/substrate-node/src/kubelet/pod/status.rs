//! From what is observed to the status of a pod, as Kubernetes' own node agent would write it. Pure.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP,
    Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observed::{Ended, Observed, Record, State};
use super::qos::qos_class;

/// The conditions that this agent writes; others in a pod's status are left as they are.
const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// The status of `pod`, given what it showed before.
pub(in crate::kubelet) fn status(
    pod: &Pod,
    observed: &Observed,
    before: &PodStatus,
    host: Ipv4Addr,
    now: Timestamp,
) -> PodStatus {
    let phase = phase(pod, observed);
    let ip = observed.ip.map(|ip| ip.to_string());
    let host = host.to_string();
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: observed.failure.as_ref().map(|failure| failure.reason.clone()),
        message: observed.failure.as_ref().map(|failure| failure.message.clone()),
        conditions: Some(conditions(pod, observed, phase, before, now)),
        host_ip: Some(host.clone()),
        host_ips: Some(vec![HostIP { ip: host }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        start_time: Some(whole_seconds(observed.start_time)),
        qos_class: Some(qos_class(pod).to_owned()),
        observed_generation: pod.metadata.generation,
        init_container_statuses: container_statuses(&observed.init),
        container_statuses: container_statuses(&observed.main),
        ..before.clone()
    }
}

fn restart_policy(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
}

/// The phase, by Kubernetes' rules.
pub(in crate::kubelet) fn phase(pod: &Pod, observed: &Observed) -> &'static str {
    let never = restart_policy(pod) == "Never";
    if observed.failure.is_some() {
        return "Failed";
    }
    let init_failed = |record: &Record| !record.is_sidecar && record.ended().is_some_and(|ended| ended.code != 0);
    if never && observed.init.iter().any(init_failed) {
        return "Failed";
    }
    if !observed.is_initialized() && !observed.main.iter().any(|record| record.is_running() || record.ended().is_some())
    {
        return "Pending";
    }
    // A container that waits to be restarted has run, so it does not make the pod Pending again.
    if observed.main.iter().any(|record| matches!(record.state, State::Waiting(_)) && record.last.is_none()) {
        return "Pending";
    }
    if observed.main.iter().any(|record| record.ended().is_none()) || restart_policy(pod) == "Always" {
        return "Running";
    }
    let succeeded = observed.main.iter().all(|record| record.ended().is_some_and(|ended| ended.code == 0));
    match (succeeded, never) {
        (true, _) => "Succeeded",
        (false, true) => "Failed",
        (false, false) => "Running",
    }
}

fn container_statuses(records: &[Record]) -> Option<Vec<ContainerStatus>> {
    (!records.is_empty()).then(|| records.iter().map(container_status).collect())
}

fn container_status(record: &Record) -> ContainerStatus {
    let last_state =
        record.last.as_ref().map(|ended| ContainerState { terminated: Some(terminated(ended)), ..Default::default() });
    let has_run = record.container_id.is_some();
    ContainerStatus {
        name: record.name.clone(),
        image: record.image.clone(),
        image_id: if has_run { format!("local://{}", record.image) } else { String::new() },
        container_id: record.container_id.clone(),
        ready: record.ready,
        started: Some(record.started),
        restart_count: record.restarts,
        state: Some(state(&record.state)),
        last_state: Some(last_state.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

fn state(state: &State) -> ContainerState {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match state {
        State::Waiting(why) => ContainerState {
            waiting: Some(ContainerStateWaiting { reason: text(&why.reason), message: text(&why.message) }),
            ..ContainerState::default()
        },
        State::Running(since) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(whole_seconds(*since)) }),
            ..ContainerState::default()
        },
        State::Ended(ended) => ContainerState { terminated: Some(terminated(ended)), ..ContainerState::default() },
    }
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: ended.container_id.clone(),
        exit_code: ended.code,
        signal: ended.signal,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone(),
        started_at: Some(whole_seconds(ended.started_at)),
        finished_at: Some(whole_seconds(ended.finished_at)),
    }
}

/// One condition before it is compared with what was there: type, holds, reason, message.
type Claim = (&'static str, bool, Option<&'static str>, Option<String>);

fn conditions(pod: &Pod, observed: &Observed, phase: &str, before: &PodStatus, now: Timestamp) -> Vec<PodCondition> {
    let known = before.conditions.as_deref().unwrap_or_default();
    let foreign = known.iter().filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str()));
    let own = claims(pod, observed, phase, known).into_iter().map(|claim| condition(claim, known, now));
    own.chain(foreign.cloned()).collect()
}

fn claims(pod: &Pod, observed: &Observed, phase: &str, known: &[PodCondition]) -> Vec<Claim> {
    let completed = phase == "Succeeded";
    let initialized = if completed || observed.is_initialized() {
        ("Initialized", true, completed.then_some("PodCompleted"), None)
    } else {
        let incomplete = names(observed.init.iter().filter(|record| {
            if record.is_sidecar { !record.started } else { record.ended().is_none_or(|ended| ended.code != 0) }
        }));
        let message = format!("containers with incomplete status: [{incomplete}]");
        ("Initialized", false, Some("ContainersNotInitialized"), Some(message))
    };
    let unready =
        names(observed.records().filter(|record| !record.ready && (record.is_sidecar || !is_init(observed, record))));
    let containers_ready = match (phase, unready.is_empty()) {
        ("Succeeded", _) => (false, Some("PodCompleted"), None),
        ("Failed", _) => (false, Some("PodFailed"), None),
        (_, true) => (true, None, None),
        (_, false) => (false, Some("ContainersNotReady"), Some(format!("containers with unready status: [{unready}]"))),
    };
    let (ready, reason, message) = containers_ready.clone();
    let missing_gates = missing_gates(pod, known);
    let pod_ready: Claim = if ready && !missing_gates.is_empty() {
        let message = format!("the status of pod readiness gate {missing_gates} is not \"True\"");
        ("Ready", false, Some("ReadinessGatesNotReady"), Some(message))
    } else {
        ("Ready", ready, reason, message)
    };
    let (ready, reason, message) = containers_ready;
    vec![
        ("PodReadyToStartContainers", observed.ip.is_some(), None, None),
        initialized,
        pod_ready,
        ("ContainersReady", ready, reason, message),
        ("PodScheduled", true, None, None),
    ]
}

fn is_init(observed: &Observed, record: &Record) -> bool {
    observed.init.iter().any(|init| init.name == record.name)
}

fn names<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    records.map(|record| record.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn missing_gates(pod: &Pod, known: &[PodCondition]) -> String {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let holds = |type_: &str| known.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
    let missing = gates.filter(|gate| !holds(&gate.condition_type));
    missing.map(|gate| format!("\"{}\"", gate.condition_type)).collect::<Vec<_>>().join(", ")
}

/// The condition, keeping the time of its last change while its status stays.
fn condition((type_, holds, reason, message): Claim, known: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    let before = known.iter().find(|condition| condition.type_ == type_ && condition.status == status);
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message,
        last_transition_time: before
            .and_then(|before| before.last_transition_time.clone())
            .or(Some(whole_seconds(now))),
        ..PodCondition::default()
    }
}

/// A `Time` loses its fraction on the wire; without it, what is sent equals what comes back.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::pod::observed::Failure;
    use serde_json::{Value, json};

    fn pod(policy: &str, gates: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "generation": 1},
            "spec": {
                "restartPolicy": policy, "readinessGates": gates,
                "initContainers": [{"name": "setup", "image": "i"}, {"name": "proxy", "image": "p", "restartPolicy": "Always"}],
                "containers": [{"name": "app", "image": "a"}, {"name": "log", "image": "l"}],
            },
        })).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn ended(code: i32) -> State {
        State::Ended(Ended {
            code,
            signal: None,
            reason: if code == 0 { "Completed" } else { "Error" }.into(),
            message: None,
            started_at: at("2030-01-01T00:00:01Z"),
            finished_at: at("2030-01-01T00:00:02Z"),
            container_id: Some("local://x".into()),
        })
    }

    fn observed(pod: &Pod, states: [State; 4]) -> Observed {
        let mut observed = Observed::new(pod, at("2030-01-01T00:00:00.5Z"));
        observed.ip = Some(Ipv4Addr::new(10, 244, 0, 7));
        for (record, state) in observed.init.iter_mut().chain(&mut observed.main).zip(states) {
            record.started = matches!(state, State::Running(_));
            record.ready = record.started;
            record.container_id = Some("local://x".into());
            record.state = state;
        }
        observed
    }

    fn running() -> State {
        State::Running(at("2030-01-01T00:00:03.25Z"))
    }

    fn waiting(reason: &str) -> State {
        State::Waiting(Failure::new(reason, ""))
    }

    fn status_of(pod: &Pod, observed: &Observed) -> PodStatus {
        status(pod, observed, &PodStatus::default(), Ipv4Addr::new(172, 30, 1, 1), at("2030-01-01T00:00:09.9Z"))
    }

    #[test]
    fn a_running_pod_in_full() {
        let pod = pod("Always", json!([]));
        insta::assert_yaml_snapshot!(status_of(&pod, &observed(&pod, [ended(0), running(), running(), running()])));
    }

    #[test]
    fn a_pod_that_waits_for_its_init_container_in_full() {
        let pod = pod("Always", json!([]));
        let mut observed = Observed::new(&pod, at("2030-01-01T00:00:00Z"));
        observed.init[0].state = waiting("CrashLoopBackOff");
        observed.init[0].last = match ended(3) {
            State::Ended(ended) => Some(ended),
            _ => None,
        };
        insta::assert_yaml_snapshot!(status_of(&pod, &observed));
    }

    #[test]
    fn the_phase_follows_the_containers_and_the_restart_policy() {
        let phase_of = |policy: &str, app: State, log: State| {
            let pod = pod(policy, json!([]));
            phase(&pod, &observed(&pod, [ended(0), running(), app, log]))
        };
        assert_eq!(phase_of("Always", running(), waiting("ContainerCreating")), "Pending");
        assert_eq!(phase_of("Always", running(), ended(1)), "Running");
        assert_eq!(phase_of("Always", ended(0), ended(0)), "Running");
        assert_eq!(phase_of("OnFailure", ended(0), ended(1)), "Running");
        assert_eq!(phase_of("OnFailure", ended(0), ended(0)), "Succeeded");
        assert_eq!(phase_of("Never", ended(0), ended(1)), "Failed");
        let never = pod("Never", json!([]));
        assert_eq!(phase(&never, &observed(&never, [ended(1), waiting(""), waiting(""), waiting("")])), "Failed");
        let always = pod("Always", json!([]));
        assert_eq!(phase(&always, &observed(&always, [ended(1), waiting(""), waiting(""), waiting("")])), "Pending");
    }

    #[test]
    fn a_restarting_container_keeps_the_pod_running_but_not_ready() {
        let pod = pod("Always", json!([]));
        let mut observed = observed(&pod, [ended(0), running(), waiting("CrashLoopBackOff"), running()]);
        observed.main[0].last = match ended(1) {
            State::Ended(ended) => Some(ended),
            _ => None,
        };
        let status = status_of(&pod, &observed);
        assert_eq!(status.phase.as_deref(), Some("Running"));
        let ready = status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.message.as_deref()),
            ("False", Some("containers with unready status: [app]"))
        );
    }

    #[test]
    fn a_readiness_gate_holds_ready_back_and_its_condition_is_kept() {
        let pod = pod("Always", json!([{"conditionType": "example.com/lb"}]));
        let observed = observed(&pod, [ended(0), running(), running(), running()]);
        let ready = |gate: &str| {
            let condition =
                PodCondition { type_: "example.com/lb".into(), status: gate.into(), ..PodCondition::default() };
            let before = PodStatus { conditions: Some(vec![condition]), ..PodStatus::default() };
            let status = status(&pod, &observed, &before, Ipv4Addr::LOCALHOST, at("2030-01-01T00:00:09Z"));
            let conditions = status.conditions.unwrap();
            assert!(conditions.iter().any(|c| c.type_ == "example.com/lb" && c.status == gate));
            conditions.into_iter().find(|c| c.type_ == "Ready").unwrap().status
        };
        assert_eq!((ready("False").as_str(), ready("True").as_str()), ("False", "True"));
    }

    #[test]
    fn transition_times_stay_while_the_status_stays() {
        let pod = pod("Always", json!([]));
        let observed = observed(&pod, [ended(0), running(), running(), running()]);
        let first = status_of(&pod, &observed);
        let second = status(&pod, &observed, &first, Ipv4Addr::new(172, 30, 1, 1), at("2031-01-01T00:00:00Z"));
        assert_eq!(first, second);
    }
}
