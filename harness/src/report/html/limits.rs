//! How much of a run a page shows, so that it stays small enough to be opened and sent.

use maud::{Markup, html};

use crate::report::words;

/// The most of each that is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Scenarios with their steps; those that did not pass come first.
    pub(super) scenarios: usize,
    /// Steps of a scenario.
    pub(super) steps: usize,
    /// Expectations of a step.
    pub(super) checks: usize,
    /// Entries of any other list: sentences, categories, failures, files, boxes of a drawing.
    pub(super) entries: usize,
    /// Characters of a text.
    pub(super) characters: usize,
    /// Characters of the raw figures of an expectation.
    pub(super) figures: usize,
}

/// From generous to what always fits.
pub(super) const LEVELS: [Limits; 4] = [
    Limits { scenarios: 1000, steps: 1000, checks: 100, entries: 200, characters: 20_000, figures: 20_000 },
    Limits { scenarios: 200, steps: 200, checks: 20, entries: 40, characters: 2_000, figures: 0 },
    Limits { scenarios: 40, steps: 20, checks: 4, entries: 8, characters: 200, figures: 0 },
    Limits { scenarios: 10, steps: 8, checks: 2, entries: 4, characters: 100, figures: 0 },
];

impl Limits {
    /// A text, cut with a mark.
    pub(super) fn clip(&self, text: &str) -> String {
        words::clip(text, self.characters)
    }

    /// A note on what a list leaves out.
    pub(super) fn note(shown: usize, all: usize, what: &str) -> Markup {
        html! {
            @if all > shown {
                p.note { "… and " (all - shown) " more " (what) ", left out to keep this page small; report.json has all." }
            }
        }
    }
}
