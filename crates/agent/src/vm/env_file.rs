//! Files of variables that a shell could read: `NAME=VALUE`, quoted as a shell quotes. Nothing is expanded. Pure.

use std::collections::BTreeMap;

/// A line that sets no variable.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads the variables of a file; a later line wins over an earlier one.
///
/// # Errors
/// [`LineError`] for the first line that is neither empty, a comment nor an assignment.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, LineError> {
    let mut found = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = assignment(line).map_err(|problem| LineError { line: index + 1, problem })?;
        found.insert(name, value);
    }
    Ok(found)
}

fn assignment(line: &str) -> Result<(String, String), String> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or_else(|| format!("{line:?} is not of the form NAME=VALUE"))?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(good) {
        return Err(format!("{name:?} is not the name of a variable"));
    }
    Ok((name.to_owned(), word(value)?))
}

/// One word of a shell: bare characters, `'...'`, `"..."` and `\x` in any order.
fn word(text: &str) -> Result<String, String> {
    let mut found = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => until_quote(&mut characters, &mut found, '\'')?,
            '"' => until_quote(&mut characters, &mut found, '"')?,
            '\\' => found.extend(characters.next()),
            '$' | '`' => return Err(format!("{character} is not expanded here; put the value in single quotes")),
            ' ' | '\t' => {
                let rest = characters.as_str().trim_start();
                if rest.is_empty() || rest.starts_with('#') {
                    return Ok(found);
                }
                return Err("the value has a blank in it; put it in single quotes".to_owned());
            }
            other => found.push(other),
        }
    }
    Ok(found)
}

fn until_quote(characters: &mut std::str::Chars<'_>, found: &mut String, quote: char) -> Result<(), String> {
    while let Some(character) = characters.next() {
        match character {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => found.extend(characters.next()),
            '$' | '`' if quote == '"' => {
                return Err(format!("{character} is not expanded here; put the value in single quotes"));
            }
            other => found.push(other),
        }
    }
    Err(format!("a {quote} is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, String> {
        parse(&format!("A={text}")).map(|found| found["A"].clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_quoted_as_a_shell_does() {
        for (text, expected) in [
            ("", ""),
            ("details.bookinfo", "details.bookinfo"),
            ("'*'", "*"),
            (r#"'{"app":"it'"'"'s"}'"#, r#"{"app":"it's"}"#),
            (r#""a \"b\"""#, r#"a "b""#),
            (r"a\ b", "a b"),
            ("a # why", "a"),
            ("'$HOME'", "$HOME"),
        ] {
            assert_eq!(value(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn comments_blank_lines_and_export_are_read_and_the_last_line_wins() {
        let found = parse("# a comment\n\nexport A=1\nB=2\nA=3\n").unwrap();
        assert_eq!(found, BTreeMap::from([("A".to_owned(), "3".to_owned()), ("B".to_owned(), "2".to_owned())]));
    }

    #[test]
    fn what_is_no_assignment_is_named_with_its_line() {
        for (text, line, words) in [
            ("A=1\nnonsense", 2, "NAME=VALUE"),
            ("1A=x", 1, "name of a variable"),
            ("A='x", 1, "not closed"),
            ("A=x y", 1, "blank"),
            ("A=$(date)", 1, "not expanded"),
            ("A=\"`date`\"", 1, "not expanded"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.problem.contains(words), "{text}: {error}");
        }
    }
}
