//! The language of `-E`: which scenarios to select.
//!
//! `all()`, `name(shift)`, `tag(mtls)`, `area(failover)`; `&`, `|`, `!` and parentheses join them; a word alone is part
//! of a name. A name matches when it contains the text, a tag or an area when it is the text. The name of a case of a
//! matrix, `name[protocol=http,client=probe]`, can be written as it is.

use std::str::FromStr;

use crate::scenario::Plan;

/// A selection of scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every scenario.
    All,
    /// The name contains this.
    Name(String),
    /// One of the tags is this.
    Tag(String),
    /// The area is this.
    Area(String),
    /// It does not match.
    Not(Box<Filter>),
    /// Both match.
    And(Box<Filter>, Box<Filter>),
    /// At least one matches.
    Or(Box<Filter>, Box<Filter>),
}

/// The text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub struct FilterError {
    /// Where, from 1.
    pub position: usize,
    /// What is wrong.
    pub message: String,
}

impl Filter {
    /// Whether a scenario is selected.
    #[must_use]
    pub fn matches(&self, plan: &Plan) -> bool {
        self.matches_parts(&plan.name, &plan.area, &plan.tags)
    }

    fn matches_parts(&self, name: &str, area: &str, tags: &[String]) -> bool {
        match self {
            Self::All => true,
            Self::Name(text) => name.contains(text.as_str()),
            Self::Tag(text) => tags.contains(text),
            Self::Area(text) => area == text,
            Self::Not(inner) => !inner.matches_parts(name, area, tags),
            Self::And(left, right) => left.matches_parts(name, area, tags) && right.matches_parts(name, area, tags),
            Self::Or(left, right) => left.matches_parts(name, area, tags) || right.matches_parts(name, area, tags),
        }
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parser = Parser { characters: text.chars().collect(), position: 0 };
        let filter = parser.any()?;
        match parser.peek() {
            None => Ok(filter),
            Some(character) => Err(parser.error(format!("unexpected `{character}`"))),
        }
    }
}

struct Parser {
    characters: Vec<char>,
    position: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.all()?;
        while self.take('|') {
            left = Filter::Or(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.one()?;
        while self.take('&') {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        if self.take('!') {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take('(') {
            let inner = self.any()?;
            self.close()?;
            return Ok(inner);
        }
        let start = self.position;
        let word = self.word()?;
        if !self.take('(') {
            return Ok(Filter::Name(word));
        }
        let make = match word.as_str() {
            "all" => {
                self.close()?;
                return Ok(Filter::All);
            }
            "name" => Filter::Name,
            "tag" => Filter::Tag,
            "area" => Filter::Area,
            _ => {
                self.position = start;
                return Err(self.error(format!("`{word}` is neither `all`, `name`, `tag` nor `area`")));
            }
        };
        let text = self.word()?;
        self.close()?;
        Ok(make(text))
    }

    fn word(&mut self) -> Result<String, FilterError> {
        self.peek();
        let start = self.position;
        let allowed = |character: char| {
            character.is_alphanumeric() || matches!(character, '-' | '_' | '.' | '/' | '[' | ']' | '=' | ',')
        };
        while self.characters.get(self.position).copied().is_some_and(allowed) {
            self.position += 1;
        }
        if start == self.position {
            let found = self.peek().map_or("the end".to_owned(), |character| format!("`{character}`"));
            return Err(self.error(format!("expected a word, found {found}")));
        }
        Ok(self.characters[start..self.position].iter().collect())
    }

    fn close(&mut self) -> Result<(), FilterError> {
        if self.take(')') { Ok(()) } else { Err(self.error("expected `)`".to_owned())) }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.position += usize::from(found);
        found
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.position).is_some_and(|character| character.is_whitespace()) {
            self.position += 1;
        }
        self.characters.get(self.position).copied()
    }

    fn error(&self, message: String) -> FilterError {
        FilterError { position: self.position + 1, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(filter: &str) -> bool {
        let tags = ["mtls".to_owned(), "smoke".to_owned()];
        filter.parse::<Filter>().expect(filter).matches_parts("bookinfo-75-15-10", "traffic-shift", &tags)
    }

    #[test]
    fn filters_select() {
        for filter in [
            "all()",
            "bookinfo",
            "name(75-15)",
            "tag(mtls)",
            "area(traffic-shift)",
            "tag(mtls) & !area(failover)",
            "(tag(x)|tag(smoke))&bookinfo",
            "tag(x) & tag(y) | bookinfo",
        ] {
            assert!(selects(filter), "{filter}");
        }
        let case = "name(bookinfo[protocol=http,client=probe])".parse::<Filter>().expect("a filter");
        assert!(case.matches_parts("bookinfo[protocol=http,client=probe]", "mtls", &[]));
        for filter in
            ["failover", "tag(mtl)", "area(traffic)", "!bookinfo", "bookinfo & tag(x)", "tag(x) & (tag(y) | bookinfo)"]
        {
            assert!(!selects(filter), "{filter}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        let error = |text: &str| text.parse::<Filter>().expect_err(text).to_string();
        assert_eq!(error(""), "at character 1: expected a word, found the end");
        assert_eq!(error("tag(mtls"), "at character 9: expected `)`");
        assert_eq!(error("a & tags(x)"), "at character 5: `tags` is neither `all`, `name`, `tag` nor `area`");
        assert_eq!(error("a b"), "at character 3: unexpected `b`");
        assert_eq!(error("a &"), "at character 4: expected a word, found the end");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _either_way = text.parse::<Filter>();
        }
    }
}
