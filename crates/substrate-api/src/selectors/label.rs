//! Label selectors.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::{SelectorError, error};

/// How one label requirement compares.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelOperator {
    Exists,
    DoesNotExist,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelRequirement {
    key: String,
    operator: LabelOperator,
}

/// A conjunction of label requirements. The empty selector matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
}

impl LabelSelector {
    /// Parses the query-string form: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let mut requirements = Vec::new();
        if text.trim().is_empty() {
            return Ok(LabelSelector { requirements });
        }
        for part in split_outside_parentheses(text)? {
            requirements.push(parse_label_requirement(part.trim())?);
        }
        Ok(LabelSelector { requirements })
    }

    /// Reads a `metav1.LabelSelector` (`matchLabels`, `matchExpressions`); `null` selects nothing, hence `None`.
    pub fn from_object(selector: &Value) -> Result<Option<LabelSelector>, SelectorError> {
        let Some(object) = selector.as_object() else { return Ok(None) };
        let mut requirements = Vec::new();
        for (key, value) in object.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().ok_or_else(|| error(format!("matchLabels[{key}] must be a string")))?;
            requirements
                .push(LabelRequirement { key: key.clone(), operator: LabelOperator::In([value.to_owned()].into()) });
        }
        for expression in object.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            requirements.push(requirement_of_expression(expression)?);
        }
        Ok(Some(LabelSelector { requirements }))
    }

    /// Whether the labels of `object` (`metadata.labels`) satisfy every requirement.
    pub fn matches(&self, object: &Value) -> bool {
        self.matches_labels(object.pointer("/metadata/labels").and_then(Value::as_object))
    }

    /// Whether this set of labels satisfies every requirement.
    pub fn matches_labels(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// True when nothing is required.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl LabelRequirement {
    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        match &self.operator {
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
            LabelOperator::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            LabelOperator::GreaterThan(bound) => integer(value).is_some_and(|value| value > *bound),
            LabelOperator::LessThan(bound) => integer(value).is_some_and(|value| value < *bound),
        }
    }
}

fn integer(value: Option<&str>) -> Option<i64> {
    value.and_then(|value| value.parse().ok())
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, LabelRequirement { key, operator }) in self.requirements.iter().enumerate() {
            if index > 0 {
                formatter.write_str(",")?;
            }
            match operator {
                LabelOperator::Exists => write!(formatter, "{key}")?,
                LabelOperator::DoesNotExist => write!(formatter, "!{key}")?,
                LabelOperator::In(values) => write_set(formatter, key, "in", "=", values)?,
                LabelOperator::NotIn(values) => write_set(formatter, key, "notin", "!=", values)?,
                LabelOperator::GreaterThan(bound) => write!(formatter, "{key}>{bound}")?,
                LabelOperator::LessThan(bound) => write!(formatter, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}

fn write_set(
    formatter: &mut fmt::Formatter<'_>,
    key: &str,
    word: &str,
    sign: &str,
    values: &BTreeSet<String>,
) -> fmt::Result {
    if let (1, Some(value)) = (values.len(), values.first()) {
        return write!(formatter, "{key}{sign}{value}");
    }
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    write!(formatter, "{key} {word} ({})", values.join(","))
}

/// Splits at commas that are not within `(...)`.
fn split_outside_parentheses(text: &str) -> Result<Vec<&str>, SelectorError> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        match character {
            '(' if inside => return Err(error(format!("unable to parse requirement: nested '(' in {text:?}"))),
            '(' => inside = true,
            ')' if !inside => return Err(error("unable to parse requirement: found ')', expected: identifier")),
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(error("unable to parse requirement: found '', expected: ',' or ')'"));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn parse_label_requirement(text: &str) -> Result<LabelRequirement, SelectorError> {
    if let Some(key) = text.strip_prefix('!').filter(|rest| !rest.starts_with('=')) {
        return Ok(LabelRequirement { key: label_key(key)?, operator: LabelOperator::DoesNotExist });
    }
    if let Some(open) = text.find('(') {
        return parse_set_requirement(&text[..open], &text[open + 1..]);
    }
    let Some(at) = text.find(['=', '!', '>', '<']) else {
        return Ok(LabelRequirement { key: label_key(text)?, operator: LabelOperator::Exists });
    };
    let (key, rest) = (label_key(&text[..at])?, &text[at..]);
    let operator = if let Some(value) = rest.strip_prefix("!=") {
        LabelOperator::NotIn([label_value(value)?].into())
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        LabelOperator::In([label_value(value)?].into())
    } else if let Some(value) = rest.strip_prefix('>') {
        LabelOperator::GreaterThan(label_bound(value)?)
    } else if let Some(value) = rest.strip_prefix('<') {
        LabelOperator::LessThan(label_bound(value)?)
    } else {
        return Err(error(format!(
            "unable to parse requirement: found '{rest}', expected: in, notin, =, ==, !=, gt, lt"
        )));
    };
    Ok(LabelRequirement { key, operator })
}

fn parse_set_requirement(head: &str, tail: &str) -> Result<LabelRequirement, SelectorError> {
    let Some((values, rest)) = tail.split_once(')') else {
        return Err(error("unable to parse requirement: found '', expected: ',' or ')'"));
    };
    if !rest.trim().is_empty() {
        return Err(error(format!(
            "unable to parse requirement: found '{}', expected: ',' or 'end of string'",
            rest.trim()
        )));
    }
    let Some((key, word)) = head.trim().rsplit_once(char::is_whitespace) else {
        return Err(error(format!("unable to parse requirement: found '{}', expected: in, notin", head.trim())));
    };
    let key = label_key(key)?;
    let values = values.split(',').map(label_value).collect::<Result<BTreeSet<_>, _>>()?;
    match word {
        "in" => Ok(LabelRequirement { key, operator: LabelOperator::In(values) }),
        "notin" => Ok(LabelRequirement { key, operator: LabelOperator::NotIn(values) }),
        other => Err(error(format!("unable to parse requirement: found '{other}', expected: in, notin"))),
    }
}

fn requirement_of_expression(expression: &Value) -> Result<LabelRequirement, SelectorError> {
    let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let values: BTreeSet<String> = expression
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let operator = match (text("operator"), values.is_empty()) {
        ("In", false) => LabelOperator::In(values),
        ("NotIn", false) => LabelOperator::NotIn(values),
        ("Exists", true) => LabelOperator::Exists,
        ("DoesNotExist", true) => LabelOperator::DoesNotExist,
        ("In" | "NotIn", true) => {
            return Err(error("values: Invalid value: for 'in', 'notin' operators, values set can't be empty"));
        }
        ("Exists" | "DoesNotExist", false) => {
            return Err(error("values: Invalid value: values set must be empty for exists and does not exist"));
        }
        (other, _) => return Err(error(format!("{other:?} is not a valid label selector operator"))),
    };
    Ok(LabelRequirement { key: label_key(text("key"))?, operator })
}

fn label_key(text: &str) -> Result<String, SelectorError> {
    let text = text.trim();
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|prefix| {
        prefix.len() <= 253
            && prefix.split('.').all(|part| is_edged(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-"))
    });
    if prefix_ok && name.len() <= 63 && is_edged(name, |c| c.is_ascii_alphanumeric(), "-_.") {
        return Ok(text.to_owned());
    }
    Err(error(format!(
        "unable to parse requirement: <nil>: Invalid value: {text:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    )))
}

fn label_value(text: &str) -> Result<String, SelectorError> {
    let text = text.trim();
    if text.is_empty() || (text.len() <= 63 && is_edged(text, |c| c.is_ascii_alphanumeric(), "-_.")) {
        return Ok(text.to_owned());
    }
    Err(error(format!(
        "unable to parse requirement: values[0]: Invalid value: {text:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    )))
}

fn label_bound(text: &str) -> Result<i64, SelectorError> {
    text.trim().parse().map_err(|_| {
        error(format!(
            "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
            text.trim()
        ))
    })
}

/// Non-empty, starts and ends with a character that `edge` accepts, and between them also `inner` ones.
fn is_edged(text: &str, edge: fn(char) -> bool, inner: &str) -> bool {
    text.chars().next().is_some_and(edge)
        && text.chars().next_back().is_some_and(edge)
        && text.chars().all(|c| edge(c) || inner.contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(labels: Value) -> Value {
        json!({"metadata": {"name": "web-1", "labels": labels}, "spec": {"nodeName": "n1", "hostNetwork": true}, "status": {"phase": "Running"}})
    }

    #[test]
    fn label_requirements_match_as_kubernetes_does() {
        let object = pod(json!({"app": "web", "tier": "front", "n": "7"}));
        for (selector, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("app=web,tier=front", true),
            ("app == web", true),
            ("app!=web", false),
            ("missing!=web", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("missing notin (a)", true),
            ("missing in (a,)", false),
            ("n>6,n<8", true),
            ("n>7", false),
            ("app>1", false),
            ("app.kubernetes.io/name notin (x),app", true),
        ] {
            assert_eq!(LabelSelector::parse(selector).unwrap().matches(&object), expected, "{selector}");
        }
    }

    #[test]
    fn malformed_label_selectors_are_refused() {
        for selector in [
            "app in (a",
            "app)",
            "a b",
            "=x",
            "app in a",
            "-a=b",
            "a=b,,c",
            "a=b c",
            "a>x",
            "!",
            "a!b",
            "a in (b) c",
            "a in ((b))",
            "A_/b",
        ] {
            assert!(LabelSelector::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn label_selector_objects_are_read() {
        let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}, {"key": "app", "operator": "Exists"}]});
        let selector = LabelSelector::from_object(&selector).unwrap().unwrap();
        assert_eq!(selector.to_string(), "app=web,tier!=back,app");
        assert!(selector.matches(&pod(json!({"app": "web"}))));
        assert!(!selector.matches(&pod(json!({"app": "web", "tier": "back"}))));
        assert_eq!(LabelSelector::from_object(&Value::Null).unwrap(), None);
        assert!(LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err());
    }

    proptest! {
        #[test]
        fn label_selectors_round_trip(parts in proptest::collection::vec(("[a-z]([a-z.-]{0,6}[a-z])?", proptest::collection::btree_set("[a-zA-Z0-9]{1,4}", 1..4), 0..4u8), 0..4)) {
            let text = parts.iter().map(|(key, values, kind)| {
                let values = values.iter().cloned().collect::<Vec<_>>().join(",");
                match kind { 0 => key.clone(), 1 => format!("!{key}"), 2 => format!("{key} in ({values})"), _ => format!("{key} notin ({values})") }
            }).collect::<Vec<_>>().join(",");
            let selector = LabelSelector::parse(&text).unwrap();
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,24}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
