//! The simple JSONPath of printer columns: fields, quoted fields, indices, `[*]` and equality filters.

use serde_json::Value;

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// `[?(@.path=="text")]`; the path below the item and the text to equal, or to differ from.
    Filter {
        path: String,
        value: String,
        equal: bool,
    },
}

/// The first value that `path` finds. A path that cannot be read finds nothing.
pub(super) fn first<'a>(path: &str, object: &'a Value) -> Option<&'a Value> {
    let mut found = vec![object];
    for step in parse(path)? {
        found = found.into_iter().flat_map(|value| walk(&step, value)).collect();
    }
    found.into_iter().next()
}

fn walk<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Field(name), Value::Object(object)) => object.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(list)) => {
            let place = if *index < 0 { list.len() as i64 + index } else { *index };
            usize::try_from(place).ok().and_then(|place| list.get(place)).into_iter().collect()
        }
        (Step::All, Value::Array(list)) => list.iter().collect(),
        (Step::All, Value::Object(object)) => object.values().collect(),
        (Step::Filter { path, value: wanted, equal }, Value::Array(list)) => {
            let matches = |item: &&Value| first(path, item).is_some_and(|found| (plain(found) == *wanted) == *equal);
            list.iter().filter(matches).collect()
        }
        _ => Vec::new(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.trim();
    rest = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(rest);
    rest = rest.strip_prefix('$').unwrap_or(rest);
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after)?;
            steps.push(bracket(after[..end].trim())?);
            rest = &after[end + 1..];
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let (name, tail) = field(after);
            match name.as_str() {
                "" if tail.is_empty() && steps.is_empty() => return Some(steps),
                "" => return None,
                "*" => steps.push(Step::All),
                _ => steps.push(Step::Field(name)),
            }
            rest = tail;
        }
    }
    Some(steps)
}

/// Reads a field name up to the next `.` or `[`; a backslash takes the next character literally.
fn field(text: &str) -> (String, &str) {
    let (mut name, mut characters) = (String::new(), text.char_indices());
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, next)| next)),
            '.' | '[' => return (name, &text[index..]),
            _ => name.push(character),
        }
    }
    (name, "")
}

/// The place of the `]` that closes a bracket, quoted text left alone.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, ']') => return Some(index),
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (left, right, equal) = match (condition.split_once("=="), condition.split_once("!=")) {
            (Some((left, right)), _) => (left, right, true),
            (None, Some((left, right))) => (left, right, false),
            (None, None) => return None,
        };
        let path = left.trim().strip_prefix('@')?.to_owned();
        let value = right.trim();
        return Some(Step::Filter { path, value: unquoted(value).unwrap_or(value).to_owned(), equal });
    }
    match unquoted(text) {
        Some(name) => Some(Step::Field(name.replace('\\', ""))),
        None => text.parse().ok().map(Step::Index),
    }
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_the_first_match() {
        let object =
            json!({"spec": {"a.b": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "k/e": true}, "n": [1, 2]});
        for (path, expected) in [
            (".spec.list[0].v", Some(json!(1))),
            (".spec.list[-1].v", Some(json!(2))),
            (".spec.list[*].n", Some(json!("x"))),
            (".spec.list[?(@.n==\"y\")].v", Some(json!(2))),
            (".spec.list[?(@.n != 'x')].v", Some(json!(2))),
            (".spec.list[?(@.n=='z')].v", None),
            (".spec.a\\.b", Some(json!(1))),
            (".spec['k/e']", Some(json!(true))),
            ("{.n[1]}", Some(json!(2))),
            ("$.n[1]", Some(json!(2))),
            (".spec.missing", None),
            (".n[7]", None),
            (".spec.list[", None),
            (".spec..list", None),
            (".spec.list[?(@.n)]", None),
        ] {
            assert_eq!(first(path, &object).cloned(), expected, "{path}");
        }
    }
}
