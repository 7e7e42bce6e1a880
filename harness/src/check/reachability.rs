//! Judges who reaches whom: a matrix of sources and destinations, each pair of which must be as expected. Pure.

use serde_json::json;
use verdict::Outcome;
use verdict::text::thousands;

use super::judge::Judgement;
use super::observation::ReachabilityObservation;
use crate::report::figures::{Cell, Reachability as Figures};
use crate::scenario::plan::{Exception, Target};
use crate::topology::Workload;
use crate::traffic::probe::{Protocol, Samples};

/// Every pair is reached, but for the exceptions, which are not.
pub(super) fn reachable(exceptions: &[Exception], seen: &ReachabilityObservation) -> Judgement {
    let matrix = &seen.matrix;
    let mut figures = Figures {
        sources: matrix.from.iter().map(|from| format!("{} of {}", from.name, from.cluster)).collect(),
        destinations: matrix.destinations().map(|(target, cluster)| destination(target, cluster)).collect(),
        cells: Vec::new(),
    };
    let mut wrong = Vec::new();
    for (from, answers) in matrix.from.iter().zip(&seen.answers) {
        let mut row = Vec::new();
        for (target, samples) in matrix.to.iter().zip(answers) {
            let (cells, found) = judge_target(exceptions, from, target, samples);
            row.extend(cells);
            wrong.extend(found);
        }
        figures.cells.push(row);
    }
    let pairs: usize = figures.cells.iter().map(Vec::len).sum();
    let none = figures.cells.iter().flatten().filter(|cell| !cell.expected).count();
    let figures = json!({ "reachability": figures });
    if pairs == 0 {
        return Judgement::new(Outcome::Inconclusive, "not observable: nobody asked anybody", figures);
    }
    if wrong.is_empty() {
        let sentence = match none {
            0 => format!("all {pairs} pairs reach each other"),
            none => format!("{} pairs reach each other, and {none} do not, as expected", pairs - none),
        };
        return Judgement::new(Outcome::Pass, sentence, figures);
    }
    let mut evidence = vec![format!("{} of {pairs} pairs are not as expected", wrong_pairs(&figures))];
    evidence.extend(wrong);
    Judgement { outcome: Outcome::Fail, evidence, figures }
}

fn wrong_pairs(figures: &serde_json::Value) -> usize {
    let read: Option<Figures> = crate::report::figures::read(figures, "reachability");
    read.iter().flat_map(|figures| figures.cells.iter().flatten()).filter(|cell| cell.wrong).count()
}

/// What one source got of one service: a cell for each cluster where it has pods, and what is wrong with them.
fn judge_target(
    exceptions: &[Exception],
    from: &Workload,
    target: &Target,
    samples: &Samples,
) -> (Vec<Cell>, Vec<String>) {
    let good = samples.groups.iter().filter(|group| group.status == 200);
    let answered: u64 = good.clone().map(|group| group.count).sum();
    let failed = samples.requests.saturating_sub(answered);
    let expected: Vec<bool> =
        target.clusters.iter().map(|to| !exceptions.iter().any(|one| one.covers(from, target, to))).collect();
    // A request that failed was for nobody in particular; where nobody is to answer, all of them fail.
    let lost = failed > 0 && expected.contains(&true);
    let mut wrong = Vec::new();
    let mut cells = Vec::new();
    for (to, expected) in target.clusters.iter().zip(expected) {
        let answers = good.clone().filter(|group| group.cluster.as_ref() == Some(to)).map(|group| group.count).sum();
        let pair = format!("{} of {} to {}", from.name, from.cluster, destination(target, to));
        match (expected, answers) {
            (true, 0) => {
                wrong.push(format!(
                    "{pair}: none of {} requests was answered there; {}",
                    samples.requests,
                    who(samples)
                ));
            }
            (false, 1..) => wrong.push(format!("{pair}: not to be reached; {}", who(samples))),
            _ => {}
        }
        let is_wrong = expected != (answers > 0) || (expected && lost);
        cells.push(Cell { answers, requests: samples.requests, expected, wrong: is_wrong });
    }
    if lost {
        let service = format!("{}.{}:{}", target.service, target.namespace, target.port);
        wrong.push(format!(
            "{} of {} to {service}: {} of {} requests failed; {}",
            from.name,
            from.cluster,
            thousands(failed),
            thousands(samples.requests),
            who(samples)
        ));
    }
    (cells, wrong)
}

fn destination(target: &Target, cluster: &str) -> String {
    let protocol = match target.protocol {
        Protocol::Http1 => String::new(),
        other => format!("{} ", other.scheme()),
    };
    format!("{}:{} {protocol}of {cluster}", target.service, target.port)
}

/// Who answered, and what became of the other requests.
fn who(samples: &Samples) -> String {
    let mut words: Vec<String> = Vec::new();
    for group in &samples.groups {
        let place = match (&group.cluster, &group.pod) {
            (Some(cluster), Some(pod)) => format!("{cluster}/{pod}"),
            _ => "somebody who did not say so".to_owned(),
        };
        let status = if group.status == 200 { String::new() } else { format!(" with status {}", group.status) };
        words.push(format!("{place} answered {}{status}", thousands(group.count)));
    }
    let errors = samples.errors.iter().filter(|(_, count)| **count > 0);
    words.extend(errors.map(|(class, count)| format!("{class}: {}", thousands(*count))));
    if words.is_empty() { "nobody answered".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests;
