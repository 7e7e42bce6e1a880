//! `earlyStop`: that what is expected can be decided early, and how.

use verdict::EarlySplit;

use super::context::Context;
use super::traffic::decided_by_number;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{ExpectFile, TrafficFile};
use crate::scenario::plan::{Check, Expectation};

impl Context<'_> {
    /// Traffic at `path` that may stop early must have something to decide.
    pub(super) fn stops_early(&mut self, path: &Path, file: &TrafficFile, expect: Option<&[ExpectFile]>) {
        if file.rate.is_some() || file.from.all().len() > 1 {
            self.error(&path.key("earlyStop"), "only one source without a `rate` stops early")
                .help("between two looks nothing is sent, which no rate survives and no other source waits for");
        }
        if !expect.is_some_and(|files| files.iter().any(|file| file.split.is_some())) {
            self.error(&path.key("earlyStop"), "nothing that is expected here can be decided early")
                .help("remove `earlyStop`, or expect a `split`");
        }
    }

    /// Plans the looks of every split; `expect` is where the expectations stand.
    pub(super) fn looks(&mut self, expect: &Path, expectations: &mut [Expectation]) {
        for (index, expectation) in expectations.iter_mut().enumerate() {
            let path = expect.index(index).key(expectation.name.as_str());
            match &mut expectation.check {
                Check::Split(split) => match EarlySplit::new(&split.plan) {
                    Ok(early) => split.early = Some(early),
                    Err(error) => self.impossible(&path, &error),
                },
                check if decided_by_number(check) => {
                    let message = format!("`{}` needs a fixed number of requests", expectation.name);
                    self.key_error(&path, message)
                        .help("expect it of a step of its own, or leave `earlyStop` out of the traffic");
                }
                _ => {}
            }
        }
    }
}
