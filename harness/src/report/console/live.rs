//! Bars for what is under way, below the lines of what is final.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::crowd::Crowd;
use super::style::Line;
use crate::report::event::{Event, EventKind};

pub(super) struct Live {
    bars: MultiProgress,
    running: BTreeMap<String, ProgressBar>,
    crowd: Crowd,
}

impl Live {
    pub(super) fn new() -> Self {
        // Bars and lines go to the same place, or `2>/dev/null` would take the lines away as well.
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Self { bars, running: BTreeMap::new(), crowd: Crowd::default() }
    }

    pub(super) fn on_event(&mut self, event: &Event, lines: &[Line], colour: bool) -> io::Result<()> {
        self.crowd.on_event(&event.kind);
        self.update(&event.kind);
        for line in lines {
            self.bars.println(line.painted(colour))?;
        }
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.bars.clear()?;
        }
        Ok(())
    }

    fn update(&mut self, event: &EventKind) {
        match event {
            EventKind::PhaseStarted { phase, title } => {
                let depth = phase.matches('/').count().min(1);
                self.start(phase_key(phase), format!("{}{title}", "  ".repeat(depth)));
            }
            EventKind::PhaseProgress { phase, message } => {
                if let Some(bar) = self.running.get(&phase_key(phase)) {
                    bar.set_message(message.clone());
                }
            }
            EventKind::PhaseFinished { phase, .. } => self.finish(&phase_key(phase)),
            EventKind::StepStarted { scenario, step, name } => {
                let depth = step.matches('.').count();
                let prefix = self.crowd.prefix(scenario);
                self.start(step_key(scenario, step), format!("{prefix}{}{step} {name}", "  ".repeat(depth)));
            }
            EventKind::StepProgress { scenario, step, done, total, message } => {
                if let Some(bar) = self.running.get(&step_key(scenario, step)) {
                    progress(bar, *done, *total, message);
                }
            }
            EventKind::StepFinished { scenario, step, .. } => self.finish(&step_key(scenario, step)),
            EventKind::RunFinished { .. } => {
                for (_, bar) in std::mem::take(&mut self.running) {
                    bar.finish_and_clear();
                }
            }
            EventKind::RunStarted { .. }
            | EventKind::VersionsKnown { .. }
            | EventKind::ShardKnown { .. }
            | EventKind::PlanReady { .. }
            | EventKind::TopologyKnown { .. }
            | EventKind::TrafficMeasured { .. }
            | EventKind::SituationSeen { .. }
            | EventKind::ArtifactsTaken { .. }
            | EventKind::ScenarioStarted { .. }
            | EventKind::CheckFinished { .. }
            | EventKind::ScenarioFinished { .. }
            | EventKind::Warning { .. }
            | EventKind::Failure { .. }
            | EventKind::MemoryMeasured { .. }
            | EventKind::FileWritten { .. } => {}
        }
    }

    fn start(&mut self, key: String, title: String) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix} {wide_msg:.dim} {elapsed:.dim}"));
        bar.set_prefix(title);
        bar.enable_steady_tick(Duration::from_millis(100));
        self.running.insert(key, bar);
    }

    fn finish(&mut self, key: &str) {
        if let Some(bar) = self.running.remove(key) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}

fn progress(bar: &ProgressBar, done: u64, total: u64, message: &str) {
    if total > 0 && bar.length() != Some(total) {
        bar.set_style(style("{spinner} {prefix} [{bar:24}] {human_pos}/{human_len} {wide_msg:.dim} {elapsed:.dim}"));
        bar.set_length(total);
    }
    bar.set_position(done);
    bar.set_message(message.to_owned());
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn phase_key(phase: &str) -> String {
    format!("phase {phase}")
}

fn step_key(scenario: &str, step: &str) -> String {
    format!("step {scenario} {step}")
}
