//! Groups of steps: one after the other, at once, tried; and what cleans up after a step.

use super::context::Context;
use super::convergence::Pending;
use super::words::given;
use crate::diagnostic::tree::Path;
use crate::scenario::file::StepFile;
use crate::scenario::plan::{Action, Step, Try};

impl Context<'_> {
    /// Checks a list of steps; their ids start with `prefix`.
    pub(super) fn steps(&mut self, path: &Path, files: &[StepFile], prefix: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, file) in files.iter().enumerate() {
            steps.extend(self.step(&path.index(index), file, format!("{prefix}{}", index + 1)));
        }
        self.cleanups(path, files, prefix, &mut steps);
        steps
    }

    /// Clean-ups are done at the end of the group, the last first, so that is the order to check them in.
    fn cleanups(&mut self, path: &Path, files: &[StepFile], prefix: &str, steps: &mut [Step]) {
        for (index, file) in files.iter().enumerate().rev() {
            let id = format!("{prefix}{}", index + 1);
            let healing = steps.iter().find(|step| step.id == id).cloned().and_then(|step| self.healing(&step));
            if let (Some(healing), Some(step)) = (healing, steps.iter_mut().find(|step| step.id == id)) {
                step.cleanup.push(healing);
            }
            let Some(cleanup) = &file.cleanup else { continue };
            let path = path.index(index).key("cleanup");
            if cleanup.is_empty() {
                self.key_error(&path, "this clean-up is empty");
            }
            let checked = self.steps(&path, cleanup, &format!("{prefix}u{}.", index + 1));
            if let Some(step) = steps.iter_mut().find(|step| step.id == id) {
                step.cleanup.extend(checked);
            }
        }
    }

    pub(super) fn sequence(&mut self, path: &Path, steps: &[StepFile], id: &str) -> Action {
        if steps.is_empty() {
            self.key_error(path, "this sequence is empty");
        }
        Action::Sequence(self.steps(path, steps, &format!("{id}.")))
    }

    /// Members of a parallel group start from the same state; what each of them changes is still to be waited for
    /// afterwards, unless it waited itself.
    pub(super) fn parallel(&mut self, path: &Path, files: &[StepFile], id: &str) -> Action {
        if files.len() < 2 {
            self.key_error(path, "this is not several steps at once").help("it takes two, or a `sequence`");
        }
        let before = self.pending.clone();
        let mut after = Pending::default();
        let mut steps = Vec::new();
        for (index, file) in files.iter().enumerate() {
            self.pending = before.clone();
            let path = path.index(index);
            if given(file).contains(&"control") {
                self.key_error(&path.key("control"), "a control cannot run at the same time as other steps")
                    .help("it breaks the mesh for all of them; put it after the group");
            }
            steps.extend(self.step(&path, file, format!("{id}.{}", index + 1)));
            after.merge(std::mem::take(&mut self.pending));
        }
        self.pending = after;
        self.cleanups(path, files, &format!("{id}."), &mut steps);
        Action::Parallel(steps)
    }

    pub(super) fn attempt(&mut self, path: &Path, file: &StepFile, id: &str) -> Option<Action> {
        let attempt = file.attempt.as_ref()?;
        if attempt.is_empty() {
            self.key_error(&path.key("try"), "nothing is tried");
        }
        if file.catch.is_none() && file.finally.is_none() {
            self.key_error(&path.key("try"), "nothing follows this `try`")
                .help("add `catch` or `finally`, or write `sequence`");
        }
        let steps = self.steps(&path.key("try"), attempt, &format!("{id}."));
        let after = self.pending.clone();
        let catch = self.steps(&path.key("catch"), file.catch.as_deref().unwrap_or_default(), &format!("{id}.x"));
        // `catch` is the exception; what follows is checked as if all went well.
        self.pending = after;
        let finally = self.steps(&path.key("finally"), file.finally.as_deref().unwrap_or_default(), &format!("{id}.f"));
        Some(Action::Try(Try { steps, catch, finally }))
    }

    /// Words that only mean something beside another.
    pub(super) fn companions(&mut self, path: &Path, file: &StepFile, word: &str) {
        for (companion, there) in [("catch", file.catch.is_some()), ("finally", file.finally.is_some())] {
            if there && word != "try" {
                self.key_error(
                    &path.key(companion),
                    format!("`{companion}` belongs beside `try`, not beside `{word}`"),
                );
            }
        }
        if file.expect.is_some() && !matches!(word, "traffic" | "stop" | "connect" | "reachability" | "config") {
            self.key_error(&path.key("expect"), format!("`{word}` measures nothing that could be expected"))
                .help("put `expect` beside `traffic`, `stop`, `connect`, `reachability` or `config`");
        }
        if file.cleanup.is_some() && matches!(word, "note" | "wait" | "during" | "converge") {
            self.key_error(&path.key("cleanup"), format!("`{word}` changes nothing that could be undone"));
        }
    }
}
