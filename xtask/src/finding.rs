//! What stands in the way on this machine: the thing, its cause and its cure. Plain data and its text.

use std::fmt;

/// Something that the machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What cannot be done.
    pub(crate) what: String,
    /// Why not.
    pub(crate) cause: String,
    /// What to do, as commands where there are any.
    pub(crate) cure: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.what)?;
        writeln!(formatter, "  cause: {}", self.cause)?;
        write!(formatter, "  cure:  {}", self.cure.replace('\n', "\n         "))
    }
}

/// Writes findings to standard error, under a heading.
pub(crate) fn print(heading: &str, findings: &[Finding]) {
    eprintln!("{heading}");
    for finding in findings {
        eprintln!("\n{finding}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cure_of_several_lines_stays_in_its_column() {
        let finding = Finding { what: "w".to_owned(), cause: "c".to_owned(), cure: "first\nsecond".to_owned() };
        assert_eq!(finding.to_string(), "w\n  cause: c\n  cure:  first\n         second");
    }
}
