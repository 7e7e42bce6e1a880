//! Jobs, CronJobs, PodDisruptionBudgets.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::{age, human_duration, seconds_between, since, time};
use super::text::{NONE, at, condition_is_true, integer, joined, list, name, selector};
use super::workloads::containers_and_images;
use super::{Printer, number, text, wide};

pub(super) const JOBS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Status"),
        text("Completions"),
        text("Duration"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let mut cells = vec![
            name(object),
            job_status(object).into(),
            completions(object).into(),
            job_duration(object, now).into(),
            age(object, now),
        ];
        cells.extend(containers_and_images(object));
        cells.push(selector(object.pointer("/spec/selector")).into());
        cells
    },
};

fn job_status(job: &Value) -> &'static str {
    let deleted = job.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    match () {
        () if condition_is_true(job, "Complete") => "Complete",
        () if condition_is_true(job, "Failed") => "Failed",
        () if deleted => "Terminating",
        () if condition_is_true(job, "Suspended") => "Suspended",
        () if condition_is_true(job, "FailureTarget") => "FailureTarget",
        () if condition_is_true(job, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let succeeded = integer(job, "/status/succeeded");
    match job.pointer("/spec/completions").and_then(Value::as_i64) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match integer(job, "/spec/parallelism") {
            parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
            _ => format!("{succeeded}/1"),
        },
    }
}

fn job_duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = time(job, "/status/startTime") else { return String::new() };
    let end = time(job, "/status/completionTime").unwrap_or(now);
    human_duration(seconds_between(start, end))
}

pub(super) const CRON_JOBS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Schedule"),
        text("Timezone"),
        text("Suspend"),
        number("Active"),
        text("Last Schedule"),
        text("Age"),
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let suspended = object.pointer("/spec/suspend") == Some(&Value::Bool(true));
        let last = match time(object, "/status/lastScheduleTime") {
            Some(_) => since(object, "/status/lastScheduleTime", now),
            None => NONE.to_owned(),
        };
        let containers = list(object, "/spec/jobTemplate/spec/template/spec/containers");
        vec![
            name(object),
            at(object, "/spec/schedule").into(),
            or(at(object, "/spec/timeZone"), NONE).into(),
            if suspended { "True" } else { "False" }.into(),
            list(object, "/status/active").len().into(),
            last.into(),
            age(object, now),
            joined(containers, "name").into(),
            joined(containers, "image").into(),
            selector(object.pointer("/spec/jobTemplate/spec/selector")).into(),
        ]
    },
};

pub(super) const POD_DISRUPTION_BUDGETS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Min Available"),
        text("Max Unavailable"),
        number("Allowed Disruptions"),
        text("Age"),
    ],
    cells: |object, now| {
        let bound = |pointer: &str| match object.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => "N/A".to_owned(),
        };
        vec![
            name(object),
            bound("/spec/minAvailable").into(),
            bound("/spec/maxUnavailable").into(),
            integer(object, "/status/disruptionsAllowed").into(),
            age(object, now),
        ]
    },
};
