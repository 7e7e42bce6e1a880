//! Runs pods of a Job until enough have succeeded or too many have failed. Pure.
//!
//! Knows `completions`, `parallelism`, `backoffLimit`, `activeDeadlineSeconds`, `suspend` and
//! `ttlSecondsAfterFinished`. Does not know indexed completion, pod failure policies or per-index back-off:
//! such a Job is reported as unsupported instead of being run in another way than it asks for.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PropagationPolicy;

use super::pods;
use crate::objects::{Key, controller_reference, is_controlled_by, is_deleting, time};
use crate::plan::{Action, Kind, Plan};
use crate::world::Caches;

/// The first pause after a failed pod, doubled for each further one, as in Kubernetes.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(600);

/// What the controller looks at.
pub(crate) struct Inputs {
    pub(crate) job: Arc<Job>,
    /// The pods that the Job controls.
    pub(crate) pods: Vec<Arc<Pod>>,
}

pub(crate) fn gather(caches: &Caches, key: &Key) -> Option<Inputs> {
    let job = caches.jobs.get(key)?;
    let uid = job.uid().unwrap_or_default();
    let mut pods = caches.pods.in_namespace(&key.namespace);
    pods.retain(|pod| is_controlled_by(&**pod, &uid));
    Some(Inputs { job, pods })
}

/// The pods of a Job, counted.
struct Tally<'a> {
    active: Vec<&'a Pod>,
    succeeded: i32,
    failed: i32,
    last_failure: Option<Timestamp>,
}

pub(crate) fn reconcile(inputs: &Inputs, now: Timestamp) -> Plan {
    let job = &*inputs.job;
    let Some(spec) = &job.spec else { return Plan::default() };
    if is_deleting(job) {
        return Plan::default();
    }
    if let Some(finished) = finished_at(job) {
        return clean_up(job, spec, finished, now);
    }
    if spec.completion_mode.as_deref() == Some("Indexed") || spec.pod_failure_policy.is_some() {
        let message = "this cluster does not run Jobs with completionMode Indexed or a podFailurePolicy".to_owned();
        return finish(job, &tally(&inputs.pods), ("Failed", "Unsupported".into(), message), now);
    }
    let tally = tally(&inputs.pods);
    match verdict(job, spec, &tally, now) {
        Some(verdict) => finish(job, &tally, verdict, now),
        None => proceed(job, spec, &tally, now),
    }
}

fn tally(pods: &[Arc<Pod>]) -> Tally<'_> {
    let failed = pods.iter().filter(|pod| pods::phase(pod) == "Failed");
    let ended = |pod: &Arc<Pod>| {
        let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        statuses
            .filter_map(|status| status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0))
            .max()
    };
    // A container that is restarted in its pod counts as a failure of the Job, as with restartPolicy OnFailure.
    let restarts: i32 = pods
        .iter()
        .filter(|pod| pods::is_active(pod))
        .map(|pod| {
            pod.status
                .iter()
                .flat_map(|status| status.container_statuses.iter().flatten())
                .map(|c| c.restart_count)
                .sum::<i32>()
        })
        .sum();
    Tally {
        active: pods.iter().map(|pod| &**pod).filter(|pod| pods::is_active(pod)).collect(),
        succeeded: pods::count(pods.iter().filter(|pod| pods::phase(pod) == "Succeeded")),
        failed: pods::count(failed.clone()) + restarts,
        last_failure: failed.filter_map(ended).max(),
    }
}

/// Whether the Job is over: type, reason and message of the condition that says so.
fn verdict(job: &Job, spec: &JobSpec, tally: &Tally<'_>, now: Timestamp) -> Option<(&'static str, String, String)> {
    if let Some(decided) = condition(job, "FailureTarget") {
        return Some((
            "Failed",
            decided.reason.clone().unwrap_or_default(),
            decided.message.clone().unwrap_or_default(),
        ));
    }
    let enough = match spec.completions {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active.is_empty(),
    };
    if enough {
        return Some(("Complete", "CompletionsReached".into(), "Reached expected number of succeeded pods".into()));
    }
    if tally.failed > spec.backoff_limit.unwrap_or(6) {
        return Some(("Failed", "BackoffLimitExceeded".into(), "Job has reached the specified backoff limit".into()));
    }
    if deadline(job, spec).is_some_and(|deadline| deadline <= now) {
        return Some(("Failed", "DeadlineExceeded".into(), "Job was active longer than specified deadline".into()));
    }
    None
}

fn deadline(job: &Job, spec: &JobSpec) -> Option<Timestamp> {
    let start = job.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(spec.active_deadline_seconds?)).ok()
}

fn proceed(job: &Job, spec: &JobSpec, tally: &Tally<'_>, now: Timestamp) -> Plan {
    let suspended = spec.suspend == Some(true);
    let remaining = spec.completions.map_or(i32::MAX, |completions| completions - tally.succeeded);
    // Without `completions` one success means that no further pod is started.
    let remaining = if spec.completions.is_none() && tally.succeeded > 0 { 0 } else { remaining };
    let wanted = if suspended { 0 } else { spec.parallelism.unwrap_or(1).min(remaining).max(0) };
    let active = pods::count(&tally.active);
    let mut plan = Plan::default();
    if active > wanted {
        let surplus = usize::try_from(active - wanted).unwrap_or(0);
        plan.actions.extend(tally.active.iter().rev().take(surplus).map(|pod| pods::delete(pod)));
    } else if active < wanted {
        match pause(tally, now) {
            Some(pause) => plan.check_after(Some(pause)),
            None => plan.actions.extend((active..wanted).map(|_| pods::create(&pod(job, spec)))),
        }
    }
    let mut status = counts(job, tally);
    status.start_time =
        job.status.as_ref().and_then(|status| status.start_time.clone()).or_else(|| (!suspended).then(|| time(now)));
    plan.actions.extend(Action::status(Kind::Job, &Key::of(job), &job.status, &status));
    plan.check_after(deadline(job, spec).map(|deadline| now.duration_until(deadline).unsigned_abs()));
    plan
}

/// How long to wait before the next pod is started after failures.
fn pause(tally: &Tally<'_>, now: Timestamp) -> Option<Duration> {
    let doubled = u32::try_from(tally.failed - 1).ok()?.min(10);
    let pause = FIRST_BACK_OFF.saturating_mul(1 << doubled).min(LONGEST_BACK_OFF);
    let waited = now.duration_since(tally.last_failure?).max(SignedDuration::ZERO).unsigned_abs();
    pause.checked_sub(waited).filter(|left| !left.is_zero())
}

fn pod(job: &Job, spec: &JobSpec) -> Pod {
    let name = job.name_any();
    let mut pod = pods::from_template(
        &spec.template,
        &job.namespace().unwrap_or_default(),
        &format!("{name}-"),
        controller_reference(job),
    );
    let labels = pod.metadata.labels.get_or_insert_default();
    let uid = job.uid().unwrap_or_default();
    for key in ["batch.kubernetes.io/controller-uid", "controller-uid"] {
        labels.insert(key.into(), uid.clone());
    }
    for key in ["batch.kubernetes.io/job-name", "job-name"] {
        labels.insert(key.into(), name.clone());
    }
    pod
}

fn counts(job: &Job, tally: &Tally<'_>) -> JobStatus {
    let nonzero = |count: i32| (count > 0).then_some(count);
    JobStatus {
        active: nonzero(pods::count(&tally.active)),
        ready: Some(pods::count(tally.active.iter().filter(|pod| pods::is_ready(pod)))),
        succeeded: nonzero(tally.succeeded),
        failed: nonzero(tally.failed),
        ..job.status.clone().unwrap_or_default()
    }
}

fn finish(job: &Job, tally: &Tally<'_>, (type_, reason, message): (&str, String, String), now: Timestamp) -> Plan {
    let mut status = counts(job, tally);
    if !tally.active.is_empty() {
        // The decision is written down before pods go, because the restarts that it rests on go with them.
        if type_ == "Failed" && condition(job, "FailureTarget").is_none() {
            status.conditions.get_or_insert_default().push(new_condition("FailureTarget", reason, message, now));
            return Plan::of(Action::status(Kind::Job, &Key::of(job), &job.status, &status).into_iter().collect());
        }
        return Plan::of(tally.active.iter().map(|pod| pods::delete(pod)).collect());
    }
    let event = if type_ == "Complete" {
        status.completion_time = Some(time(now));
        Action::normal(job, "Completed", "Job completed".into())
    } else {
        Action::warning(job, &reason, message.clone())
    };
    status.conditions.get_or_insert_default().push(new_condition(type_, reason, message, now));
    let write = Action::status(Kind::Job, &Key::of(job), &job.status, &status);
    Plan::of(write.into_iter().chain([event]).collect())
}

fn new_condition(type_: &str, reason: String, message: String, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: type_.into(),
        status: "True".into(),
        reason: Some(reason),
        message: Some(message),
        last_probe_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    }
}

fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == type_ && condition.status == "True")
}

fn finished_at(job: &Job) -> Option<Timestamp> {
    let finished = condition(job, "Complete").or_else(|| condition(job, "Failed"))?;
    Some(finished.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

fn clean_up(job: &Job, spec: &JobSpec, finished: Timestamp, now: Timestamp) -> Plan {
    let Some(ttl) = spec.ttl_seconds_after_finished else { return Plan::default() };
    let due = finished.checked_add(SignedDuration::from_secs(i64::from(ttl))).unwrap_or(Timestamp::MAX);
    if due > now {
        return Plan { actions: Vec::new(), check_again: Some(now.duration_until(due).unsigned_abs()) };
    }
    let uid = job.uid().unwrap_or_default();
    let propagation = Some(PropagationPolicy::Background);
    Plan::of(vec![Action::Delete { kind: Kind::Job, key: Key::of(job), uid, propagation }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{from_json, now};
    use serde_json::{Value, json};

    fn job(spec: Value) -> Arc<Job> {
        let mut job = json!({
            "metadata": {"name": "pi", "namespace": "shop", "uid": "j"},
            "spec": {"completions": 3, "parallelism": 2, "backoffLimit": 1,
                     "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}},
        });
        for (key, value) in spec.as_object().unwrap() {
            job["spec"][key] = value.clone();
        }
        from_json(job)
    }

    fn pod(name: &str, phase: &str, ended: Option<&str>) -> Arc<Pod> {
        let state = json!({"terminated": {"exitCode": 1, "finishedAt": ended}});
        from_json(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name},
            "status": {"phase": phase, "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
        }))
    }

    fn created(plan: &Plan) -> usize {
        plan.actions.iter().filter(|action| matches!(action, Action::Create { .. })).count()
    }

    fn condition(plan: &Plan) -> Value {
        plan.actions
            .iter()
            .find_map(|action| match action {
                Action::PatchStatus { patch, .. } => Some(patch["status"]["conditions"][0]["reason"].clone()),
                _ => None,
            })
            .unwrap_or_default()
    }

    #[test]
    fn no_more_pods_run_than_are_still_needed() {
        let plan = |pods| reconcile(&Inputs { job: job(json!({})), pods }, now());
        assert_eq!(created(&plan(vec![])), 2);
        assert_eq!(created(&plan(vec![pod("a", "Succeeded", None), pod("b", "Succeeded", None)])), 1);
        assert_eq!(created(&plan(vec![pod("a", "Running", None), pod("b", "Running", None)])), 0);
    }

    #[test]
    fn enough_successes_complete_it_and_too_many_failures_end_it() {
        let outcome = |phase: &str, count: usize| {
            let pods = (0..count).map(|i| pod(&i.to_string(), phase, Some("2030-01-01T00:00:00Z"))).collect();
            condition(&reconcile(&Inputs { job: job(json!({})), pods }, now()))
        };
        assert_eq!(outcome("Succeeded", 3), "CompletionsReached");
        assert_eq!(outcome("Failed", 2), "BackoffLimitExceeded");
        assert_eq!(outcome("Failed", 1), Value::Null);
    }

    #[test]
    fn after_a_failure_the_next_pod_waits() {
        let inputs = Inputs { job: job(json!({})), pods: vec![pod("a", "Failed", Some("2030-01-01T00:09:56Z"))] };
        let plan = reconcile(&inputs, now());
        assert_eq!((created(&plan), plan.check_again), (0, Some(Duration::from_secs(6))));
    }

    #[test]
    fn what_cannot_be_run_as_asked_is_refused() {
        let inputs = Inputs { job: job(json!({"completionMode": "Indexed"})), pods: vec![] };
        assert_eq!(condition(&reconcile(&inputs, now())), "Unsupported");
    }

    #[test]
    fn a_job_that_is_active_for_too_long_is_ended_with_its_pods() {
        let mut job = (*job(json!({"activeDeadlineSeconds": 100}))).clone();
        job.status = Some(serde_json::from_value(json!({"startTime": "2030-01-01T00:09:00Z"})).unwrap());
        let plan = |job: &Job, pods, now| reconcile(&Inputs { job: Arc::new(job.clone()), pods }, now);
        let pods = || vec![pod("a", "Running", None), pod("b", "Running", None)];
        let early = plan(&job, pods(), now());
        assert_eq!((condition(&early), early.check_again), (Value::Null, Some(Duration::from_secs(40))));
        // First the decision is written down, then the pods go, then it has failed.
        let late = now() + Duration::from_secs(40);
        let decided = plan(&job, pods(), late);
        assert_eq!((condition(&decided), decided.actions.len()), (json!("DeadlineExceeded"), 1));
        let target = new_condition("FailureTarget", "DeadlineExceeded".into(), "too long".into(), late);
        job.status.as_mut().unwrap().conditions = Some(vec![target]);
        let deleted = plan(&job, pods(), late);
        assert!(matches!(deleted.actions.as_slice(), [Action::Delete { .. }, Action::Delete { .. }]));
        let ended = plan(&job, vec![], late);
        assert!(
            matches!(&ended.actions[0], Action::PatchStatus { patch, .. } if patch["status"]["conditions"][1]["type"] == "Failed")
        );
    }

    #[test]
    fn a_finished_job_is_deleted_after_its_time_to_live() {
        let mut job = (*job(json!({"ttlSecondsAfterFinished": 100}))).clone();
        job.status = Some(
            serde_json::from_value(json!({"conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": "2030-01-01T00:09:00Z"}]}))
            .unwrap(),
        );
        let plan = |now| reconcile(&Inputs { job: Arc::new(job.clone()), pods: vec![] }, now);
        assert_eq!(plan(now()).check_again, Some(Duration::from_secs(40)));
        assert!(matches!(plan(now() + Duration::from_secs(40)).actions.as_slice(), [Action::Delete { .. }]));
    }
}
