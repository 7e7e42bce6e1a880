//! The console: what a person sees of a run.
//!
//! `lines` turns events into lines and knows nothing of terminals; `live` adds bars for what is under way. Without
//! a terminal, or in CI, the lines alone are written, each as soon as it is final.

mod crowd;
mod lines;
mod live;
mod style;
mod summary;

use std::io::{self, IsTerminal as _, Write};

use super::event::Event;
use super::record::Record;
use super::stream::Consumer;
use lines::Lines;
use live::Live;

pub use style::{Line, Style};

/// How to write to the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether to draw bars that move.
    pub live: bool,
    /// Whether to use colours.
    pub colour: bool,
    /// Reports that will be written, named in the summary: what each is, and its path.
    pub reports: Vec<(String, String)>,
}

impl Options {
    /// What standard output and the environment ask for: `NO_COLOR` and `CLICOLOR_FORCE`, `CI`, `TERM=dumb`.
    #[must_use]
    pub fn detect() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        Self::from_environment(io::stdout().is_terminal(), variable)
    }

    /// As [`Self::detect`], from given facts.
    pub fn from_environment(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let set =
            |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false");
        let dumb = variable("TERM").is_some_and(|value| value == "dumb");
        // https://no-color.org: any value that is not empty counts.
        let no_colour = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            live: terminal && !set("CI") && !dumb,
            colour: !no_colour && (set("CLICOLOR_FORCE") || (terminal && !dumb)),
            reports: Vec::new(),
        }
    }
}

/// Where the console writes.
enum Output {
    Plain(Box<dyn Write + Send>),
    Live(Live),
}

/// The consumer that people watch.
pub struct Console {
    lines: Lines,
    output: Output,
    colour: bool,
}

impl Console {
    /// A console on standard output.
    #[must_use]
    pub fn standard(options: Options) -> Self {
        let output = if options.live { Output::Live(Live::new()) } else { Output::Plain(Box::new(io::stdout())) };
        Self { colour: options.colour, lines: Lines::new(options.reports), output }
    }

    /// A console that writes lines to a writer, for tests and logs.
    #[must_use]
    pub fn to_writer(writer: Box<dyn Write + Send>, options: Options) -> Self {
        Self { colour: options.colour, lines: Lines::new(options.reports), output: Output::Plain(writer) }
    }
}

/// What the console said at the end of a recorded run, and of one that has no end what came of it so far.
#[must_use]
pub fn recorded(record: &Record, reports: &[(String, String)], colour: bool) -> String {
    let lines = match record.outcome {
        Some(outcome) => summary::summary(record, outcome, reports),
        None => summary::unfinished(record, reports),
    };
    lines.iter().map(|line| format!("{}\n", line.painted(colour))).collect()
}

impl Consumer for Console {
    fn name(&self) -> String {
        "the console".to_owned()
    }

    fn on_event(&mut self, event: &Event) -> io::Result<()> {
        let lines = self.lines.on_event(event);
        match &mut self.output {
            Output::Plain(writer) => {
                for line in lines {
                    writeln!(writer, "{}", line.painted(self.colour))?;
                }
                writer.flush()
            }
            Output::Live(live) => live.on_event(event, &lines, self.colour),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(terminal: bool, variables: &[(&str, &str)]) -> (bool, bool) {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let options = Options::from_environment(terminal, find);
        (options.live, options.colour)
    }

    #[test]
    fn bars_need_a_terminal_and_colour_no_objection() {
        assert_eq!(detect(true, &[]), (true, true));
        assert_eq!(detect(false, &[]), (false, false));
        assert_eq!(detect(true, &[("NO_COLOR", "1")]), (true, false));
        assert_eq!(detect(true, &[("NO_COLOR", "")]), (true, true));
        assert_eq!(detect(true, &[("CI", "true")]), (false, true));
        assert_eq!(detect(true, &[("CI", "false")]), (true, true));
        assert_eq!(detect(false, &[("CLICOLOR_FORCE", "1")]), (false, true));
        assert_eq!(detect(true, &[("TERM", "dumb")]), (false, false));
        assert_eq!(detect(true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), (true, false));
    }
}
