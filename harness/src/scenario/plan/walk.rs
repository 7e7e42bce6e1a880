//! Walks through plans: every step, what a step consists of, how many requests it sends.

use super::{Action, Check, Expectation, Plan, Step, Traffic};

impl Plan {
    /// Every step in the order of the file, groups before their members, `finally` last. Steps inside of controls are
    /// not included.
    #[must_use]
    pub fn flattened(&self) -> Vec<&Step> {
        fn collect<'plan>(steps: &'plan [Step], into: &mut Vec<&'plan Step>) {
            for step in steps {
                into.push(step);
                step.members().into_iter().for_each(|members| collect(members, into));
            }
            for step in steps.iter().rev() {
                collect(&step.cleanup, into);
            }
        }
        let mut steps = Vec::new();
        collect(&self.steps, &mut steps);
        collect(&self.finally, &mut steps);
        steps
    }

    /// How many requests a run sends, those of controls included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.flattened().into_iter().map(Step::requests).sum()
    }
}

impl Traffic {
    /// After so many requests at least half of all runs are decided, if everything is right; `None` where it does not
    /// stop early.
    #[must_use]
    pub fn typical(&self) -> Option<u64> {
        let splits = self.expectations.iter().filter_map(|expectation| match &expectation.check {
            Check::Split(split) => split.early.as_ref().map(|early| early.typical),
            _ => None,
        });
        splits.max().filter(|_| self.early_stop)
    }
}

impl Step {
    /// How many requests the step itself sends; a group sends none, its members do.
    #[must_use]
    pub fn requests(&self) -> u64 {
        match &self.action {
            Action::Traffic(traffic) => traffic.all_requests(),
            Action::Control(control) => control.measure.requests_within(),
            Action::Connect(_) => 1,
            Action::Reachability(matrix) => matrix.requests(),
            Action::Await(wait) => wait.requests,
            _ => 0,
        }
    }

    /// How many requests a measurement takes that stops early, where all is right; `None` where it does not stop early.
    #[must_use]
    pub fn typical(&self) -> Option<u64> {
        match &self.action {
            Action::Traffic(traffic) => traffic.typical(),
            Action::Control(control) => control.measure.typical(),
            _ => None,
        }
    }

    /// How many requests the step and its members send.
    #[must_use]
    pub fn requests_within(&self) -> u64 {
        let members = self.members().into_iter().flatten().map(Self::requests_within).sum::<u64>();
        self.requests() + members
    }

    /// The steps of a group, list by list in the order in which they are done; nothing for other steps.
    #[must_use]
    pub fn members(&self) -> Vec<&[Step]> {
        match &self.action {
            Action::Sequence(steps) | Action::Parallel(steps) => vec![steps],
            Action::Try(attempt) => vec![&attempt.steps, &attempt.catch, &attempt.finally],
            _ => Vec::new(),
        }
    }

    /// The step that carries what a measurement expects: this one, or the `stop` in this group.
    #[must_use]
    pub fn judged(&self) -> &Self {
        let stops = |step: &&Self| matches!(step.action, Action::Stop(_));
        match &self.action {
            Action::Sequence(steps) => steps.iter().find(stops).unwrap_or(self),
            _ => self,
        }
    }

    /// This step and those inside it under other ids, so that they can be done again.
    #[must_use]
    pub fn renumbered(mut self, id: &str) -> Self {
        let renumber = |steps: &mut Vec<Self>, prefix: &str| {
            for (index, step) in std::mem::take(steps).into_iter().enumerate() {
                steps.push(step.renumbered(&format!("{id}.{prefix}{}", index + 1)));
            }
        };
        match &mut self.action {
            Action::Sequence(steps) | Action::Parallel(steps) => renumber(steps, ""),
            Action::Try(attempt) => {
                renumber(&mut attempt.steps, "");
                renumber(&mut attempt.catch, "x");
                renumber(&mut attempt.finally, "f");
            }
            _ => {}
        }
        renumber(&mut self.cleanup, "u");
        self.id = id.to_owned();
        self
    }

    /// What the step expects; nothing for steps that measure nothing.
    #[must_use]
    pub fn expectations(&self) -> &[Expectation] {
        match &self.action {
            Action::Traffic(traffic) => &traffic.expectations,
            Action::Connect(connect) => &connect.expectations,
            Action::Config(config) => &config.expectations,
            Action::Reachability(matrix) => &matrix.expectations,
            Action::Stop(stop) => &stop.expectations,
            _ => &[],
        }
    }
}
