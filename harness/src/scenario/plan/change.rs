//! Checked steps that change single objects and workloads, or wait for them.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::ObjectRef;
use crate::scenario::expression;
use crate::scenario::keys::{CertificateKind, TokenKind, duration_text, serialize_duration};
use crate::topology::Vm;

/// A Deployment on a cluster: a workload of the topology, a gateway or the control plane; or a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The cluster.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Selects its pods.
    pub selector: String,
    /// The container that commands run in.
    pub container: String,
    /// Whether a Service leads to its pods, so that proxies hold them as endpoints.
    pub served: bool,
    /// The virtual machine that it is, in place of pods: `container` is one of its programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<Box<Vm>>,
}

impl std::fmt::Display for Deployment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {}", self.name, self.cluster)
    }
}

/// A change of parts of an object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// On each of these clusters.
    pub clusters: Vec<String>,
    /// Which object.
    pub object: ObjectRef,
    /// How.
    pub change: Change,
}

/// The two ways to say what changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A merge patch, RFC 7396.
    Merge(Value),
    /// A JSON patch, RFC 6902.
    Json(json_patch::Patch),
}

/// A number of pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// Whose.
    pub workload: Deployment,
    /// How many.
    pub replicas: u32,
    /// Longest wait until it is so.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// Pods to be replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replace {
    /// Whose.
    pub workload: Deployment,
    /// In order, the new before the old goes (`restart`), or by force, without notice (`kill`).
    pub by_force: bool,
    /// Longest wait until others are ready.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// A command in a pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// Whose pod.
    pub within: Deployment,
    /// Which container of it.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// The exit code that it must have.
    pub exit_code: i32,
    /// Texts that its standard output must contain.
    pub contains: Vec<String>,
    /// Longest wait.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// A virtual machine that joins anew.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Onboard {
    /// Which.
    pub vm: Box<Vm>,
    /// What it proves by who it is.
    pub token: TokenKind,
    /// A certificate among its files that it did not buy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateKind>,
    /// Longest wait.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// Something to wait for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The cluster.
    pub cluster: String,
    /// The object.
    pub object: ObjectRef,
    /// How it must be.
    pub until: Until,
    /// Longest wait.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// How an object must be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// There.
    Exists,
    /// Not there.
    Gone,
    /// With this condition in its status.
    Condition {
        /// `Available`.
        kind: String,
        /// `True`.
        status: String,
    },
    /// With a value at a JSONPath.
    Path {
        /// In the form of RFC 9535, `$.status.readyReplicas`.
        path: String,
        /// Which; `None` takes any.
        equals: Option<Value>,
    },
    /// With an expression in CEL that is true of it.
    Expression {
        /// The expression, over `object`.
        text: String,
    },
}

impl std::fmt::Display for Until {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exists => formatter.write_str("to exist"),
            Self::Gone => formatter.write_str("to be gone"),
            Self::Condition { kind, status } => write!(formatter, "to have condition {kind}={status}"),
            Self::Path { path, equals: Some(value) } => write!(formatter, "to have {value} at {path}"),
            Self::Path { path, equals: None } => write!(formatter, "to have a value at {path}"),
            Self::Expression { text } => write!(formatter, "to be so that {text}"),
        }
    }
}

impl Until {
    /// Whether an object is so; `None` is an object that is not there.
    #[must_use]
    pub fn holds(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Exists, object) => object.is_some(),
            (Self::Gone, object) => object.is_none(),
            (_, None) => false,
            (Self::Condition { kind, status }, Some(object)) => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                conditions.into_iter().flatten().any(|condition| {
                    condition.get("type").and_then(Value::as_str) == Some(kind)
                        && condition.get("status").and_then(Value::as_str) == Some(status)
                })
            }
            (Self::Path { path, equals }, Some(object)) => {
                use jsonpath_rust::JsonPath as _;
                let found = object.query(path).unwrap_or_default();
                match equals {
                    Some(wanted) => found.contains(&wanted),
                    None => found.iter().any(|value| !value.is_null()),
                }
            }
            (Self::Expression { text }, Some(object)) => {
                expression::holds(text, &serde_json::json!({ "object": object })).unwrap_or(false)
            }
        }
    }

    /// What an object shows of it, in a few words, for the message when it does not come.
    #[must_use]
    pub fn seen(&self, object: Option<&Value>) -> String {
        use jsonpath_rust::JsonPath as _;
        let Some(object) = object else { return "it is not there".to_owned() };
        match self {
            Self::Exists | Self::Gone => "it is there".to_owned(),
            Self::Condition { .. } => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                let word =
                    |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
                let all: Vec<String> = conditions
                    .into_iter()
                    .flatten()
                    .map(|condition| format!("{}={}", word(condition, "type"), word(condition, "status")))
                    .collect();
                if all.is_empty() { "it has no conditions".to_owned() } else { format!("it has {}", all.join(", ")) }
            }
            Self::Path { path, .. } => match object.query(path).unwrap_or_default().as_slice() {
                [] => format!("there is nothing at {path}"),
                [first, ..] => format!("it has {first}"),
            },
            Self::Expression { .. } => match object.get("status") {
                Some(status) => format!("its status is {status}"),
                None => "it has no status".to_owned(),
            },
        }
    }
}

impl Scale {
    /// As a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        if self.workload.vm.is_some() {
            let verb = if self.replicas == 0 { "stop" } else { "start" };
            return format!("{verb} virtual machine {}, within {}", self.workload.name, duration_text(self.timeout));
        }
        let pods = if self.replicas == 1 { "pod" } else { "pods" };
        format!("scale {} to {} {pods}, within {}", self.workload, self.replicas, duration_text(self.timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({ "status": { "readyReplicas": 2, "conditions": [{ "type": "Available", "status": "True" }] } })
    }

    #[test]
    fn objects_are_looked_at_as_said() {
        let object = deployment();
        let path = |path: &str, equals: Option<Value>| Until::Path { path: path.to_owned(), equals };
        let condition = |status: &str| Until::Condition { kind: "Available".to_owned(), status: status.to_owned() };
        let holding = [Until::Exists, condition("True"), path("$.status.readyReplicas", Some(json!(2)))];
        for until in holding {
            assert!(until.holds(Some(&object)), "{until}");
            assert!(!until.holds(None), "{until}");
        }
        for until in
            [Until::Gone, condition("False"), path("$.status.replicas", None), path("$.status", Some(json!(1)))]
        {
            assert!(!until.holds(Some(&object)), "{until}");
        }
        assert!(Until::Gone.holds(None));
        let expression = |text: &str| Until::Expression { text: text.to_owned() };
        assert!(expression("object.status.readyReplicas > 1 && has(object.status.conditions)").holds(Some(&object)));
        for text in ["object.status.readyReplicas > 2", "object.status.state == 'ACTIVE'"] {
            assert!(!expression(text).holds(Some(&object)), "{text}");
        }
        assert!(!expression("true").holds(None));
    }

    #[test]
    fn what_is_seen_is_said() {
        let object = deployment();
        let condition = Until::Condition { kind: "Ready".to_owned(), status: "True".to_owned() };
        assert_eq!(condition.seen(Some(&object)), "it has Available=True");
        assert_eq!(condition.seen(None), "it is not there");
        let path = Until::Path { path: "$.status.readyReplicas".to_owned(), equals: Some(json!(3)) };
        assert_eq!(path.seen(Some(&object)), "it has 2");
        assert_eq!(path.to_string(), "to have 3 at $.status.readyReplicas");
    }
}
