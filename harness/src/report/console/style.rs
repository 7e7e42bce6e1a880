//! Lines and how they look.

/// What a part of a line means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Ordinary text.
    #[default]
    Plain,
    /// Something is as it should be.
    Good,
    /// Something is not.
    Bad,
    /// Something is open, or worth a look.
    Doubtful,
    /// Less important than the rest.
    Quiet,
    /// A heading.
    Strong,
}

/// A line of text, of parts with a meaning each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    parts: Vec<(Style, String)>,
}

impl Line {
    /// A line of one part.
    #[must_use]
    pub fn new(style: Style, text: impl Into<String>) -> Self {
        Self::default().then(style, text)
    }

    /// Adds a part.
    #[must_use]
    pub fn then(mut self, style: Style, text: impl Into<String>) -> Self {
        self.parts.push((style, text.into()));
        self
    }

    /// Adds a part in front.
    #[must_use]
    pub fn after(mut self, style: Style, text: impl Into<String>) -> Self {
        self.parts.insert(0, (style, text.into()));
        self
    }

    /// The line as it is written, without a line feed. Control characters of foreign texts are made visible.
    #[must_use]
    pub fn painted(&self, colour: bool) -> String {
        let paint = |(style, text): &(Style, String)| {
            let text = visible(text);
            match style.code().filter(|_| colour) {
                Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
                None => text,
            }
        };
        let whole: String = self.parts.iter().map(paint).collect();
        whole.trim_end().to_owned()
    }
}

impl Style {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("1;31"),
            Self::Doubtful => Some("33"),
            Self::Quiet => Some("2"),
            Self::Strong => Some("1"),
        }
    }
}

/// Evidence quotes what pods answered; it must not be able to move the cursor.
fn visible(text: &str) -> String {
    let shown = |character: char| match character {
        '\t' => "  ".to_owned(),
        character if character.is_control() => character.escape_default().to_string(),
        character => character.to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_optional_and_foreign_text_is_harmless() {
        let line = Line::new(Style::Good, "ok").then(Style::Plain, " a\x1b[2Jb\n ");
        assert_eq!(line.painted(false), "ok a\\u{1b}[2Jb\\n");
        assert_eq!(line.painted(true), "\x1b[32mok\x1b[0m a\\u{1b}[2Jb\\n");
    }
}
