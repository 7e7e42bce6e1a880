//! Measured traffic as reports show it. Pure.

use crate::report::figures::{Answer, Failed, Traffic as Figures};
use crate::scenario::plan::Traffic;
use crate::topology::Workload;
use crate::traffic::probe::{Group, Samples};

/// Who asked and who answered. `pods` are those that sent, where they were not the source's own.
pub(super) fn figures(traffic: &Traffic, source: &Workload, samples: &Samples, pods: Vec<String>) -> Figures {
    let answers = samples.groups.iter().filter(|group| group.status == 200).map(|group| Answer {
        cluster: group.cluster.clone(),
        pod: group.pod.clone(),
        version: group.version.clone(),
        client_identity: group.peer.clone(),
        server_identity: group.server.clone(),
        count: group.count,
    });
    Figures {
        from_cluster: source.cluster.clone(),
        from_namespace: source.namespace.clone(),
        from_workload: source.name.clone(),
        workers: if traffic.workers.is_some() { pods } else { Vec::new() },
        url: traffic.url.clone(),
        requests: samples.requests,
        failed: samples.not_answered(),
        duration_ms: samples.duration_ms,
        latency_ms: samples.latency_ms.clone().unwrap_or_default(),
        answers: answers.collect(),
        failures: failures(samples),
        samples: None,
    }
}

/// What came instead of good answers, the most frequent first.
fn failures(samples: &Samples) -> Vec<Failed> {
    let answered = samples.groups.iter().filter(|group| group.status != 200).map(|group| Failed {
        status: Some(group.status),
        by: group.pod.clone(),
        flags: group.response_flags.clone(),
        words: words(samples, group),
        count: group.count,
        ..Failed::default()
    });
    let errors = samples.errors.iter().filter(|(_, count)| **count > 0).map(|(class, count)| Failed {
        error: Some(class.clone()),
        words: samples.error_samples.iter().find(|sample| sample.class == *class).map(|sample| sample.text.clone()),
        count: *count,
        ..Failed::default()
    });
    let mut all: Vec<Failed> = answered.chain(errors).collect();
    all.sort_by_key(|failed| std::cmp::Reverse(failed.count));
    all
}

/// What a proxy said in place of the application. Answers are quoted by status only, so the words are those of a group
/// where no other has its status.
fn words(samples: &Samples, group: &Group) -> Option<String> {
    let alike = samples.groups.iter().filter(|other| other.status == group.status).count();
    let quoted = samples.status_samples.iter().filter(|sample| sample.status == group.status);
    let most = quoted.max_by_key(|sample| sample.count).filter(|_| alike == 1)?;
    Some(most.body.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::traffic::probe::{ErrorSample, StatusSample};

    #[test]
    fn what_failed_is_told_with_the_words_that_belong_to_it() {
        let group =
            |status, pod: Option<&str>, count| Group { status, pod: pod.map(str::to_owned), count, ..Group::default() };
        let said = |status, body: &str| StatusSample { status, body: body.into(), count: 1 };
        let samples = Samples {
            groups: vec![group(200, Some("a"), 90), group(503, None, 3), group(500, Some("a"), 1), group(500, None, 2)],
            status_samples: vec![said(503, "no healthy upstream"), said(500, "either")],
            errors: BTreeMap::from([("reset".to_owned(), 9), ("timeout".to_owned(), 0)]),
            error_samples: vec![ErrorSample { class: "reset".into(), text: "by peer".into(), count: 9 }],
            ..Samples::default()
        };
        let told = failures(&samples);
        let lines = told.iter().map(|one| (one.count, one.status, one.by.as_deref(), one.words.as_deref()));
        let lines: Vec<_> = lines.collect();
        assert_eq!(
            lines,
            [
                (9, None, None, Some("by peer")),
                (3, Some(503), None, Some("no healthy upstream")),
                (2, Some(500), None, None),
                (1, Some(500), Some("a"), None),
            ]
        );
    }
}
