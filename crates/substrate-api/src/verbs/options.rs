//! Options of requests: revisions, selectors, pages, deletion. Parsing and checking only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::query::Query;
use crate::registry::Resource;
use crate::selectors::{FieldSelector, LabelSelector};
use crate::status::ApiError;

/// `resourceVersion` as a number; `None` where it is absent.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>, ApiError> {
    query.get("resourceVersion").map(parse_revision).transpose()
}

fn parse_revision(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })
}

/// Which objects of a collection are meant.
#[derive(Default)]
pub(crate) struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
    name: Option<String>,
}

impl Filter {
    /// From `labelSelector` and `fieldSelector`; a request for one name selects that name.
    pub(crate) fn new(query: &Query, resource: &Resource, name: &str) -> Result<Filter, ApiError> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(format!("unable to parse requirement: {error}")))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        for path in fields.paths() {
            if !is_selectable(resource, path) {
                return Err(ApiError::bad_request(format!("field label not supported: {path}")));
            }
        }
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Ok(Filter { labels, fields, name })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.name.as_deref().is_none_or(|name| object["metadata"]["name"] == name)
            && self.labels.matches(object)
            && self.fields.matches(object)
    }

    /// Whether every object is meant.
    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_none() && self.labels.is_empty() && self.fields.is_empty()
    }
}

fn is_selectable(resource: &Resource, path: &str) -> bool {
    if matches!(path, "metadata.name" | "metadata.namespace") {
        return true;
    }
    if let Some(custom) = &resource.custom {
        return custom.selectable_fields.iter().any(|field| field.trim_start_matches('.') == path);
    }
    let known: &[&str] = match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &["reason", "type", "reportingController"],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    };
    known.contains(&path)
}

/// Where a paged list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Continue {
    pub(crate) revision: u64,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Continue {
    pub(crate) fn encode(&self) -> String {
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": [self.namespace, self.name]});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    pub(crate) fn decode(text: &str) -> Result<Continue, ApiError> {
        let invalid = || ApiError::bad_request("continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        let start = |index: usize| token["start"][index].as_str().map(str::to_owned).ok_or_else(invalid);
        Ok(Continue { revision: token["rv"].as_u64().ok_or_else(invalid)?, namespace: start(0)?, name: start(1)? })
    }
}

/// Options of a deletion, from the body and, where that is silent, the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

impl DeleteOptions {
    pub(crate) fn new(query: &Query, body: &Value) -> Result<DeleteOptions, ApiError> {
        let grace = body["gracePeriodSeconds"].as_i64().or_else(|| query.number("gracePeriodSeconds"));
        if grace.is_some_and(|seconds| seconds < 0) {
            return Err(ApiError::unprocessable(
                "DeleteOptions.meta.k8s.io \"\" is invalid: gracePeriodSeconds: Invalid value: must be greater than or equal to 0",
            ));
        }
        let orphan =
            body["orphanDependents"].as_bool().or_else(|| query.get("orphanDependents").map(|text| text == "true"));
        let policy = body["propagationPolicy"].as_str().or_else(|| query.get("propagationPolicy"));
        let propagation = match (policy, orphan) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
            (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (None, None) => None,
            (Some(other), _) => {
                return Err(ApiError::unprocessable(format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{other}\": \
                     supported values: \"Foreground\", \"Background\", \"Orphan\""
                )));
            }
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(DeleteOptions {
            grace_period_seconds: grace,
            propagation,
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
            dry_run: query.get("dryRun") == Some("All") || body["dryRun"][0] == "All",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_continue_token_survives_the_round_trip() {
        let token = Continue { revision: 7, namespace: "a".into(), name: "b".into() };
        assert_eq!(Continue::decode(&token.encode()).unwrap(), token);
        assert!(Continue::decode("%%").is_err());
    }

    #[test]
    fn deletion_options_come_from_body_or_query() {
        let query = Query::parse("gracePeriodSeconds=5&propagationPolicy=Orphan");
        let options = DeleteOptions::new(&query, &json!({"propagationPolicy": "Foreground"})).unwrap();
        assert_eq!(options.grace_period_seconds, Some(5));
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert!(DeleteOptions::new(&Query::default(), &json!({"propagationPolicy": "x"})).is_err());
    }
}
