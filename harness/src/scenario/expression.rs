//! Expressions in CEL over what was observed: checked when a file is read, evaluated when it was observed.
//!
//! CEL has no static types here, so the check evaluates the expression on an example of the observation: an operator
//! that does not fit its operands, a function that does not exist and a result that is neither true nor false show at
//! once. What depends on the values, such as a key that a map does not have, shows only when it was observed.

use cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::{Value, json};

use crate::diagnostic::suggest;

/// What an expression is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Requests and their answers.
    Traffic,
    /// One connection attempt.
    Connection,
    /// What a proxy holds.
    Config,
    /// An object of a cluster.
    Object,
}

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// Where in the text, in bytes, if that is known.
    pub offset: Option<usize>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Subject {
    /// An observation as it may be: every variable is there and has the type that it will have.
    fn example(self) -> Value {
        match self {
            Self::Traffic => json!({
                "requests": 100, "answered": 100, "durationMs": 250.5,
                "connections": 8, "reconnects": 0, "statuses": { "200": 99, "503": 1 }, "errors": { "reset": 0 },
                "groups": [{
                    "status": 200, "count": 99, "version": "v1", "cluster": "cluster1", "network": "network1",
                    "pod": "reviews-v1-a", "peer": "spiffe://cluster.local/ns/a/sa/b",
                    "server": "spiffe://cluster.local/ns/a/sa/c", "certificate": "5f3a",
                }],
                "latencyMs": { "p50": 1.5, "p99": 9.5 },
                "links": [{
                    "between": ["network1", "network2"], "missing": null, "packets": 400, "bytes": 90_000, "missed": 0,
                    "toGateway": 40_000, "fromGateway": 40_000, "hits": 0, "first": null,
                }],
            }),
            Self::Connection => json!({
                "outcome": "answered", "address": "10.0.0.1:80", "target": "cluster1/a", "answeredBy": "cluster1/a",
            }),
            Self::Config => json!({ "config": {} }),
            Self::Object => json!({ "object": {} }),
        }
    }

    /// Names of the variables.
    fn variables(self) -> Vec<String> {
        self.example().as_object().into_iter().flat_map(serde_json::Map::keys).cloned().collect()
    }
}

/// Checks an expression without an observation.
///
/// # Errors
/// The first mistake in it.
pub fn check(text: &str, subject: Subject) -> Result<(), Mistake> {
    let program = compile(text)?;
    let known = subject.variables();
    let bound = bound_names(text);
    let is_known = |name: &&str| known.iter().any(|one| one == name) || bound.iter().any(|one| one == name);
    let references = program.references();
    if let Some(unknown) = references.variables().into_iter().find(|name| !is_known(name)) {
        return Err(Mistake {
            message: format!("`{unknown}` is not observed here"),
            offset: text.find(unknown),
            help: Some(suggest::help(unknown, known.iter().map(String::as_str))),
        });
    }
    match run(&program, &subject.example()) {
        Ok(Cel::Bool(_)) => Ok(()),
        Ok(other) => Err(Mistake {
            message: format!("this yields a {}, neither true nor false", other.type_of()),
            offset: None,
            help: Some("compare it with something, as in `requests == 100`".to_owned()),
        }),
        Err(error) if depends_on_values(&error, subject) => Ok(()),
        Err(error) => Err(Mistake { message: error.to_string(), offset: None, help: None }),
    }
}

/// Names that macros bind, as `one` in `groups.all(one, one.count > 0)`. Where such a name stands outside of its macro,
/// the evaluation of the example finds it.
fn bound_names(text: &str) -> Vec<&str> {
    const MACROS: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let opening = text.match_indices('(').filter(|(position, _)| {
        let before = text[..*position].trim_end();
        let word = before.rsplit(|character: char| !is_part(character)).next().unwrap_or("");
        MACROS.contains(&word)
    });
    let names = opening.filter_map(|(position, _)| {
        let inside = text[position + 1..].trim_start();
        let (name, rest) = inside.split_at(inside.find(|character: char| !is_part(character))?);
        rest.trim_start().starts_with(',').then_some(name)
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether an error may be owed to the example: keys that a map happens not to have, and what follows from that. What
/// a proxy holds, and what an object is, have no example worth the name.
fn depends_on_values(error: &ExecutionError, subject: Subject) -> bool {
    matches!(subject, Subject::Config | Subject::Object)
        || matches!(
            error,
            ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) | ExecutionError::DivisionByZero(_)
        )
}

/// Whether an expression is true of an observation, whose fields are its variables.
///
/// # Errors
/// Why it has no value.
pub fn holds(text: &str, observation: &Value) -> Result<bool, String> {
    let program = compile(text).map_err(|mistake| mistake.message)?;
    match run(&program, observation) {
        Ok(Cel::Bool(value)) => Ok(value),
        Ok(other) => Err(format!("it yields a {}, neither true nor false", other.type_of())),
        Err(error) => Err(error.to_string()),
    }
}

fn compile(text: &str) -> Result<Program, Mistake> {
    Program::compile(text).map_err(|errors| {
        let first = errors.errors.first();
        let message = first.map_or_else(|| "this cannot be read".to_owned(), |error| error.msg.clone());
        let (line, column) = first.map_or((0, 0), |error| error.pos);
        let start = text.lines().take(usize::try_from(line - 1).unwrap_or(0)).map(|line| line.len() + 1).sum::<usize>();
        let offset = usize::try_from(column).ok().map(|column| start + column.saturating_sub(1));
        Mistake { message: format!("no expression in CEL: {message}"), offset, help: None }
    })
}

fn run(program: &Program, observation: &Value) -> Result<Cel, ExecutionError> {
    let mut context = Context::default();
    for (name, value) in observation.as_object().into_iter().flatten() {
        context.add_variable_from_value(name.clone(), value_of(value));
    }
    program.execute(&context)
}

/// Whole numbers become `int`, as they are written in expressions: CEL does not mix `int` and `uint` in arithmetic.
fn value_of(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cel::Int(number),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().map(value_of).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), value_of(value)));
            fields.collect::<std::collections::HashMap<String, Cel>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_checked_before_anything_is_observed() {
        let good = [
            "requests == 100",
            "statuses['200'] == requests",
            "statuses['404'] > 3",
            "groups.all(g, g.cluster == 'cluster1' && g.count > 0)",
            "latencyMs.p99 < 20.0",
            "has(errors.timeout) && errors.timeout > 0",
            "answered * 100 >= requests * 99",
        ];
        for text in good {
            assert_eq!(check(text, Subject::Traffic), Ok(()), "{text}");
        }
        let bad = |text: &str| check(text, Subject::Traffic).expect_err(text);
        assert_eq!(bad("request == 100").help.as_deref(), Some("did you mean `requests`?"));
        assert_eq!(bad("1 == 1 && staus > 2").offset, Some(10));
        assert_eq!(bad("groups.all(g, g.count > 0) && h.count > 0").offset, Some(30));
        bad("groups.all(g, g.count > 0) && g.count > 0");
        assert_eq!(bad("requests + 1").message, "this yields a int, neither true nor false");
        assert!(bad("requests ==").message.starts_with("no expression in CEL"));
        for text in ["groups > 3", "size(requests) == 1", "nonsense(requests)", "groups.first()"] {
            bad(text);
        }
    }

    #[test]
    fn they_are_evaluated_on_what_was_observed() {
        let seen = json!({ "statuses": { "200": 7 }, "requests": 7, "groups": [{ "cluster": "a", "peer": null }] });
        assert_eq!(holds("statuses['200'] == requests", &seen), Ok(true));
        assert_eq!(holds("groups.exists(g, g.cluster == 'b')", &seen), Ok(false));
        assert_eq!(holds("groups.all(g, g.peer == null)", &seen), Ok(true));
        assert!(holds("statuses['503'] > 0", &seen).is_err());
        let config = json!({ "config": { "a": [1, 2] } });
        assert_eq!(holds("config.a.size() == 2", &config), Ok(true));
        assert_eq!(check("config.a.size() == 2", Subject::Config), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9 .()'=<>!&|\\[\\]]{0,30}") {
            let _either_way = check(&text, Subject::Traffic);
        }
    }
}
