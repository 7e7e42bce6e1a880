//! From events to lines: what is final gets a line, what is under way does not.

use std::collections::BTreeMap;
use std::time::Duration;

use verdict::Outcome;

use super::crowd::{Crowd, scenario_of};
use super::style::{Line, Style};
use super::summary;
use crate::report::event::{CheckReport, Event, EventKind, PhaseOutcome, StepOutcome};
use crate::report::record::{Record, is_part_of_control};
use crate::report::words::bytes;

/// Sentences of evidence that are shown for a check that passed; one that failed shows all.
const SENTENCES_OF_A_PASS: usize = 1;

pub(super) struct Lines {
    reports: Vec<(String, String)>,
    record: Record,
    phases: BTreeMap<String, (Duration, String)>,
    steps: BTreeMap<(String, String), StepUnderWay>,
    crowd: Crowd,
}

#[derive(Default)]
struct StepUnderWay {
    started: Duration,
    name: String,
    checks: Vec<CheckReport>,
    /// Whether its heading is out because a member of it was written.
    announced: bool,
}

impl Lines {
    pub(super) fn new(reports: Vec<(String, String)>) -> Self {
        Self {
            reports,
            record: Record::default(),
            phases: BTreeMap::new(),
            steps: BTreeMap::new(),
            crowd: Crowd::default(),
        }
    }

    pub(super) fn on_event(&mut self, event: &Event) -> Vec<Line> {
        self.record.add(event);
        self.crowd.on_event(&event.kind);
        let prefix = scenario_of(&event.kind).map(|scenario| self.crowd.prefix(scenario)).unwrap_or_default();
        let lines = self.lines(event);
        if prefix.is_empty() {
            return lines;
        }
        lines.into_iter().map(|line| line.after(Style::Quiet, prefix.clone())).collect()
    }

    fn lines(&mut self, event: &Event) -> Vec<Line> {
        match &event.kind {
            EventKind::RunStarted { run_id, command, environment, .. } => {
                vec![
                    Line::new(Style::Strong, format!("meshproof {command}"))
                        .then(Style::Quiet, format!("  environment {environment}, run {run_id}")),
                ]
            }
            EventKind::PlanReady { text, .. } => {
                text.lines().map(|line| Line::new(Style::Plain, line)).chain([Line::default()]).collect()
            }
            EventKind::PhaseStarted { phase, title } => {
                self.phases.insert(phase.clone(), (event.elapsed, title.clone()));
                Vec::new()
            }
            EventKind::ShardKnown { facts } => {
                let text = format!("shard {} of {} scenarios", facts.shard, facts.selection.len());
                vec![Line::new(Style::Quiet, text)]
            }
            EventKind::VersionsKnown { .. }
            | EventKind::TopologyKnown { .. }
            | EventKind::PhaseProgress { .. }
            | EventKind::StepProgress { .. }
            | EventKind::TrafficMeasured { .. }
            | EventKind::SituationSeen { .. }
            | EventKind::MemoryMeasured { .. }
            | EventKind::FileWritten { .. } => Vec::new(),
            EventKind::PhaseFinished { phase, outcome, detail } => {
                self.phase_finished(event.elapsed, phase, *outcome, detail)
            }
            EventKind::ScenarioStarted { scenario, description, environment, .. } => {
                let place = environment.as_ref().map(|name| format!(" (on {name})")).unwrap_or_default();
                let name = Line::new(Style::Strong, scenario.clone());
                vec![Line::default(), name.then(Style::Quiet, format!("  {description}{place}"))]
            }
            EventKind::StepStarted { scenario, step, name } => {
                let under_way = StepUnderWay { started: event.elapsed, name: name.clone(), ..StepUnderWay::default() };
                self.steps.insert((scenario.clone(), step.clone()), under_way);
                self.announce_parent(scenario, step)
            }
            EventKind::CheckFinished { scenario, step, check } => {
                if let Some(under_way) = self.steps.get_mut(&(scenario.clone(), step.clone())) {
                    under_way.checks.push(check.clone());
                }
                Vec::new()
            }
            EventKind::StepFinished { scenario, step, outcome, evidence } => {
                self.step_finished(event.elapsed, scenario, step, outcome, evidence)
            }
            EventKind::ScenarioFinished { scenario, outcome } => {
                let (style, word) = mark(outcome);
                vec![Line::new(style, word).then(Style::Strong, format!(" {scenario}"))]
            }
            EventKind::ArtifactsTaken { folder, artifacts, missing, .. } => {
                let files = artifacts.len();
                let size = bytes(artifacts.iter().map(|artifact| artifact.bytes).sum());
                let lost =
                    if missing.is_empty() { String::new() } else { format!(", {} could not be saved", missing.len()) };
                vec![Line::new(Style::Quiet, format!("     state saved: {files} files, {size}, in {folder}{lost}"))]
            }
            EventKind::Warning { message, cure } => trouble(Style::Doubtful, "warning", message, cure.as_ref(), &[]),
            EventKind::Failure { message, cure, evidence } => {
                trouble(Style::Bad, "error", message, cure.as_ref(), evidence)
            }
            EventKind::RunFinished { outcome } => summary::summary(&self.record, *outcome, &self.reports),
        }
    }

    fn phase_finished(&mut self, now: Duration, phase: &str, outcome: PhaseOutcome, detail: &str) -> Vec<Line> {
        let (started, title) = self.phases.remove(phase).unwrap_or((now, phase.to_owned()));
        let (style, word) = match outcome {
            PhaseOutcome::Done => (Style::Good, "ok  "),
            PhaseOutcome::Failed => (Style::Bad, "FAIL"),
            PhaseOutcome::Skipped => (Style::Doubtful, "skip"),
        };
        // `install/cluster1/gateways` is a part of `install/cluster1`, and the middle says where.
        let depth = phase.matches('/').count();
        let place = phase
            .split('/')
            .nth(1)
            .filter(|place| !title.contains(place))
            .map(|place| format!("{place}: "))
            .unwrap_or_default();
        let line = Line::new(style, word).then(Style::Plain, format!(" {}{place}{title}", "  ".repeat(depth.min(1))));
        let line = if detail.is_empty() { line } else { line.then(Style::Quiet, format!(": {detail}")) };
        vec![line.then(Style::Quiet, format!(" ({})", seconds(now.saturating_sub(started))))]
    }

    /// A group gets its heading when its first member starts.
    fn announce_parent(&mut self, scenario: &str, step: &str) -> Vec<Line> {
        let Some((parent, _)) = step.rsplit_once('.') else { return Vec::new() };
        if is_part_of_control(step) {
            return Vec::new();
        }
        match self.steps.get_mut(&(scenario.to_owned(), parent.to_owned())) {
            Some(group) if !group.announced => {
                group.announced = true;
                let indent = "  ".repeat(depth(parent));
                vec![Line::new(Style::Plain, format!("     {indent}{parent} {}", group.name))]
            }
            _ => Vec::new(),
        }
    }

    fn step_finished(
        &mut self,
        now: Duration,
        scenario: &str,
        step: &str,
        outcome: &StepOutcome,
        evidence: &[String],
    ) -> Vec<Line> {
        let under_way = self.steps.remove(&(scenario.to_owned(), step.to_owned())).unwrap_or_default();
        let quiet = under_way.announced || is_part_of_control(step);
        if quiet && *outcome == StepOutcome::Passed {
            return Vec::new();
        }
        let indent = "  ".repeat(depth(step));
        let (style, word) = mark(outcome);
        let took = seconds(now.saturating_sub(under_way.started));
        let heading = Line::new(style, word)
            .then(Style::Plain, format!(" {indent}{step} {}", under_way.name))
            .then(Style::Quiet, format!(" ({took})"));
        let mut lines = vec![heading];
        if under_way.announced {
            return lines;
        }
        let indent = format!("       {indent}");
        lines.extend(under_way.checks.iter().flat_map(|check| check_lines(&indent, check)));
        if under_way.checks.is_empty() {
            lines.extend(evidence.iter().map(|sentence| Line::new(Style::Quiet, format!("{indent}{sentence}"))));
        }
        match outcome {
            StepOutcome::Errored { message } => lines.push(Line::new(Style::Bad, format!("{indent}{message}"))),
            StepOutcome::Skipped { reason } => lines.push(Line::new(Style::Doubtful, format!("{indent}{reason}"))),
            StepOutcome::Passed | StepOutcome::Failed | StepOutcome::Inconclusive => {}
        }
        lines
    }
}

fn check_lines(indent: &str, check: &CheckReport) -> Vec<Line> {
    let style = match check.outcome {
        Outcome::Pass => Style::Quiet,
        Outcome::Inconclusive => Style::Doubtful,
        Outcome::Fail => Style::Bad,
    };
    let shown = if check.outcome == Outcome::Pass { SENTENCES_OF_A_PASS } else { usize::MAX };
    let mut sentences = check.evidence.iter().take(shown);
    let first = sentences.next().map_or_else(|| check.outcome.to_string(), Clone::clone);
    let place = check.location.as_ref().filter(|_| check.outcome != Outcome::Pass);
    let place = place.map(|location| format!(" ({location})")).unwrap_or_default();
    let mut lines = vec![Line::new(style, format!("{indent}{}: {first}{place}", check.name))];
    lines.extend(sentences.map(|sentence| Line::new(style, format!("{indent}  {sentence}"))));
    lines
}

fn trouble(style: Style, word: &str, message: &str, cure: Option<&String>, evidence: &[String]) -> Vec<Line> {
    let mut lines = vec![Line::new(style, word).then(Style::Plain, format!(": {message}"))];
    lines.extend(
        evidence.iter().flat_map(|text| text.lines()).map(|line| Line::new(Style::Quiet, format!("  | {line}"))),
    );
    lines.extend(cure.map(|cure| Line::new(Style::Plain, format!("  help: {cure}"))));
    lines
}

pub(super) fn mark(outcome: &StepOutcome) -> (Style, &'static str) {
    match outcome {
        StepOutcome::Passed => (Style::Good, "pass"),
        StepOutcome::Failed => (Style::Bad, "FAIL"),
        StepOutcome::Inconclusive => (Style::Doubtful, "open"),
        StepOutcome::Skipped { .. } => (Style::Doubtful, "skip"),
        StepOutcome::Errored { .. } => (Style::Bad, "ERR "),
    }
}

fn depth(step: &str) -> usize {
    step.matches('.').count()
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
