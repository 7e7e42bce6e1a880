//! Which expectations of an earlier measurement a control must refute.

use super::context::Context;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{RefutedFile, RefutedSomeFile};
use crate::scenario::plan::Step;

impl Context<'_> {
    /// By their index; a key stands for each expectation of that name.
    pub(super) fn refuted(&mut self, path: &Path, files: &[RefutedFile], measure: &Step) -> Vec<usize> {
        if files.is_empty() {
            self.error(path, "this control refutes nothing, so it controls nothing");
        }
        let mut refuted = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let path = path.index(index);
            refuted.extend(match file {
                RefutedFile::Each(key) => self.named(&path, key, measure),
                RefutedFile::Some(some) => self.some(&path, some, measure),
            });
        }
        refuted.sort_unstable();
        refuted.dedup();
        refuted
    }

    fn named(&mut self, path: &Path, key: &str, measure: &Step) -> Vec<usize> {
        let expectations = measure.judged().expectations();
        let found: Vec<usize> = (0..expectations.len()).filter(|index| expectations[*index].name == *key).collect();
        if found.is_empty() {
            let known: Vec<&str> = expectations.iter().map(|expectation| expectation.name.as_str()).collect();
            self.sequel(path, format!("step `{}` does not expect `{key}`", measure.name))
                .help(suggest::help(key, known));
        }
        found
    }

    fn some(&mut self, path: &Path, file: &RefutedSomeFile, measure: &Step) -> Vec<usize> {
        let named = self.named(&path.key("expect"), &file.expect, measure);
        let from = match &file.from {
            Some(from) => match self.workload(&path.key("from"), from) {
                Some(from) => Some(from),
                None => return Vec::new(),
            },
            None => None,
        };
        let expectations = measure.judged().expectations();
        let is_meant = |(place, index): &(usize, usize)| {
            file.number.is_none_or(|number| place + 1 == number)
                && (from.is_none() || expectations[*index].from == from)
        };
        let found: Vec<usize> = named.iter().copied().enumerate().filter(is_meant).map(|(_, index)| index).collect();
        if found.is_empty() && !named.is_empty() {
            let known: Vec<String> =
                named.iter().map(|index| format!("`{}`", measure.judged().title(*index))).collect();
            self.sequel(path, format!("step `{}` does not expect this", measure.name))
                .help(format!("it expects {}", known.join(" and ")));
        }
        found
    }
}
