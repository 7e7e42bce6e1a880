//! Judges a timeline of requests through a fault. Pure.
//!
//! Requests count by the time at which they were *to be* sent. A request is good when a cluster that may answer did so in
//! time; what its share of the time was does not matter, only that it came.

use serde_json::json;
use verdict::Outcome;
use verdict::timeline::{Fate, Point, first_by, good_again, longest_gap};

use super::judge::Judgement;
use super::observation::{FaultSeen, TrafficObservation};
use crate::report::figures::{Budget, Failover as Figures, Interval, Moment, TimelineBin, Totals, Unit};
use crate::scenario::plan::Failover;

/// At most so many bins make a timeline that can be drawn.
const MOST_BINS: f64 = 400.0;

/// Judges every promise; a fault or a healing that was not there leaves its promises open.
pub(super) fn failover(expected: &Failover, seen: &TrafficObservation) -> Judgement {
    let Some(fault) = seen.faults.iter().find(|fault| fault.step == expected.fault) else {
        let sentence = format!("not observable: the fault `{}` did not begin while requests were sent", expected.fault);
        return Judgement::new(Outcome::Inconclusive, sentence, json!(null));
    };
    let Some(timeline) = seen.samples.timeline.as_ref().filter(|timeline| timeline.dropped == 0) else {
        return Judgement::new(Outcome::Inconclusive, "not observable: not every request was recorded", json!(null));
    };
    let targets: Vec<Option<String>> = timeline.targets.iter().map(|target| target.answer.cluster.clone()).collect();
    let mut names: Vec<String> = targets.iter().flatten().cloned().collect();
    names.sort();
    names.dedup();
    let mut late = Vec::new();
    let points: Vec<Point> = timeline
        .samples()
        .map(|sample| {
            late.push(sample.latency().as_secs_f64() * 1_000.0);
            let cluster = sample.target.answer.cluster.as_ref().filter(|_| sample.is_good());
            let by = cluster.and_then(|cluster| names.iter().position(|name| name == cluster));
            let fate = match cluster {
                None => Fate::Lost,
                Some(cluster) if !expected.from.contains(cluster) && !expected.to.contains(cluster) => Fate::Wrong,
                Some(_) if sample.latency() > expected.slow_after => Fate::Slow,
                Some(_) => Fate::Good,
            };
            Point { at: sample.intended.as_secs_f64() * 1_000.0, fate, by }
        })
        .collect();
    let measured = Measured::new(expected, fault, &points, &names, seen);
    let budgets = measured.budgets(expected);
    let evidence = evidence(&budgets, &measured, fault);
    let outcome = Outcome::all(budgets.iter().map(|budget| budget.outcome));
    let figures = figures(&measured, fault, seen, &points, &late, names, budgets);
    Judgement { outcome, evidence, figures: json!({ "failover": figures }) }
}

/// What a timeline shows. Times in milliseconds.
struct Measured {
    totals: Totals,
    gap: Option<(f64, f64)>,
    detect: Option<f64>,
    recover: Option<f64>,
    fail_back: Option<f64>,
    resolution: f64,
    end: f64,
}

impl Measured {
    fn new(
        expected: &Failover,
        fault: &FaultSeen,
        points: &[Point],
        names: &[String],
        seen: &TrafficObservation,
    ) -> Self {
        let resolution = 1_000.0 / f64::from(seen.rate.max(1));
        let end = points.last().map_or(0.0, |point| point.at + resolution);
        let of = |list: &[String], who: usize| names.get(who).is_some_and(|name| list.contains(name));
        let count = |fate: Fate| points.iter().filter(|point| point.fate == fate).count() as u64;
        let healed = fault.healed_ms;
        Self {
            totals: Totals {
                requests: points.len() as u64,
                good: count(Fate::Good),
                slow: count(Fate::Slow),
                wrong: count(Fate::Wrong),
                lost: count(Fate::Lost),
            },
            gap: longest_gap(points, end),
            detect: first_by(points, fault.began_ms, |who| of(&expected.to, who)).map(|at| at - fault.began_ms),
            recover: good_again(points, fault.began_ms, healed.unwrap_or(end)).map(|at| at - fault.began_ms),
            fail_back: healed
                .and_then(|healed| first_by(points, healed, |who| of(&expected.from, who)).map(|at| at - healed)),
            resolution,
            end,
        }
    }

    fn budgets(&self, expected: &Failover) -> Vec<Budget> {
        let mut budgets = Vec::new();
        let mut time = |name: &str, measured: Option<f64>, limit: Option<std::time::Duration>| {
            let Some(limit) = limit.map(|limit| limit.as_secs_f64() * 1_000.0) else { return };
            // What never happened within the timeline took longer than the limit.
            let outcome =
                if measured.is_some_and(|measured| measured <= limit) { Outcome::Pass } else { Outcome::Fail };
            budgets.push(Budget { name: name.to_owned(), measured, limit, unit: Unit::Ms, outcome });
        };
        time("time to detect", self.detect, expected.detect);
        time("longest gap", Some(self.gap.map_or(0.0, |(from, to)| to - from)), expected.gap);
        time("time to recover", self.recover, expected.recover);
        time("time to fail back", self.fail_back, expected.fail_back);
        let mut number = |name: &str, measured: u64, limit: Option<u64>| {
            let Some(limit) = limit else { return };
            let outcome = if measured <= limit { Outcome::Pass } else { Outcome::Fail };
            let (measured, limit) = (Some(measured as f64), limit as f64);
            budgets.push(Budget { name: name.to_owned(), measured, limit, unit: Unit::Requests, outcome });
        };
        number("requests lost", self.totals.lost, expected.lost);
        number("slow answers", self.totals.slow, expected.slow);
        number("wrong targets", self.totals.wrong, expected.wrong);
        budgets
    }
}

fn evidence(budgets: &[Budget], measured: &Measured, fault: &FaultSeen) -> Vec<String> {
    let mut budgets: Vec<&Budget> = budgets.iter().collect();
    // The cause of a failure comes first.
    budgets.sort_by_key(|budget| budget.outcome == Outcome::Pass);
    let words = budgets.into_iter().map(|budget| {
        let unit = if budget.unit == Unit::Ms { " ms" } else { "" };
        match budget.measured {
            Some(value) => format!("{}: {value:.0}{unit}, at most {:.0}{unit}", budget.name, budget.limit),
            None => format!("{}: it never came, at most {:.0}{unit}", budget.name, budget.limit),
        }
    });
    let mut evidence: Vec<String> = words.collect();
    let totals = measured.totals;
    evidence.push(format!(
        "{} requests, one every {:.1} ms: {} good, {} slow, {} of wrong targets, {} lost; {} at {:.0} ms",
        totals.requests,
        measured.resolution,
        totals.good,
        totals.slow,
        totals.wrong,
        totals.lost,
        fault.what,
        fault.began_ms
    ));
    evidence
}

fn figures(
    measured: &Measured,
    fault: &FaultSeen,
    seen: &TrafficObservation,
    points: &[Point],
    late: &[f64],
    targets: Vec<String>,
    budgets: Vec<Budget>,
) -> Figures {
    // Each bin holds as many requests as the others, also where times were rounded: else their heights would differ.
    let resolution = measured.resolution;
    let bin_ms = (measured.end / MOST_BINS / resolution).ceil().max(1.0) * resolution;
    let mut bins: Vec<TimelineBin> = Vec::new();
    for (point, latency) in points.iter().zip(late) {
        let index = ((point.at + resolution / 2.0) / bin_ms) as usize;
        while bins.len() <= index {
            bins.push(TimelineBin { answered: vec![0; targets.len()], ..TimelineBin::default() });
        }
        let bin = &mut bins[index];
        if let Some(answered) = point.by.and_then(|by| bin.answered.get_mut(by)) {
            *answered += 1;
        }
        match point.fate {
            Fate::Good => {}
            Fate::Slow => bin.slow += 1,
            Fate::Wrong => bin.wrong += 1,
            Fate::Lost => bin.lost += 1,
        }
        bin.slowest_ms = Some(bin.slowest_ms.unwrap_or(0.0).max(*latency));
    }
    Figures {
        rate: f64::from(seen.rate),
        duration_ms: measured.end,
        resolution_ms: measured.resolution,
        fault: Moment { at_ms: fault.began_ms, what: fault.what.clone() },
        healed: fault.healed_ms.map(|at_ms| Moment { at_ms, what: "healed".to_owned() }),
        gap: measured.gap.map(|(from_ms, to_ms)| Interval { from_ms, to_ms }),
        moments: Vec::new(),
        totals: measured.totals,
        budgets,
        targets,
        bin_ms,
        bins,
    }
}

#[cfg(test)]
mod tests;
