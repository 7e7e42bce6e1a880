//! Mutating and validating webhooks: who is asked, in which order, and what their answers do to the write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use super::Operation;
use super::call::{self, Endpoint};
use super::matching::{Rule, Target, selects};
use super::review::{self, Verdict};
use crate::object;
use crate::registry::Resource;
use crate::selectors::LabelSelector;
use crate::server::ApiServer;
use crate::status::ApiError;
use crate::store::Key;

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// One webhook of a configuration, read.
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) endpoint: Endpoint,
    pub(super) timeout: Duration,
    rules: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    equivalent: bool,
    ignore_failure: bool,
    reinvoke: bool,
}

impl Webhook {
    /// `None` where the stored object cannot be read, which validation prevents.
    fn read(webhook: &Value) -> Option<Webhook> {
        let selector = |key: &str| LabelSelector::from_object(&webhook[key]).ok().map(Option::unwrap_or_default);
        Some(Webhook {
            name: webhook["name"].as_str()?.to_owned(),
            endpoint: Endpoint::read(&webhook["clientConfig"])?,
            timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(10)),
            rules: webhook["rules"].as_array().into_iter().flatten().map(Rule::read).collect(),
            namespaces: selector("namespaceSelector")?,
            objects: selector("objectSelector")?,
            equivalent: webhook["matchPolicy"] != "Exact",
            ignore_failure: webhook["failurePolicy"] == "Ignore",
            reinvoke: webhook["reinvocationPolicy"] == "IfNeeded",
        })
    }
}

type Hooks = Arc<Vec<Webhook>>;

/// The webhooks of all configurations, read anew when one has changed.
#[derive(Default)]
pub(crate) struct WebhookCache {
    mutating: Mutex<(u64, Hooks)>,
    validating: Mutex<(u64, Hooks)>,
}

fn hooks(server: &ApiServer, cache: &Mutex<(u64, Hooks)>, table: &str) -> Hooks {
    let mut cached = cache.lock().unwrap_or_else(PoisonError::into_inner);
    let revision = server.store.table_revision(table);
    if cached.0 != revision {
        // Configurations come in order of their names, which is the order in which Kubernetes asks them.
        let (configurations, _) = server.store.list(table, None);
        let entries = configurations.iter().filter_map(|stored| stored.value["webhooks"].as_array()).flatten();
        *cached = (revision, Arc::new(entries.filter_map(Webhook::read).collect()));
    }
    Arc::clone(&cached.1)
}

/// The object and its old state, as a webhook is shown them.
#[derive(Clone, Copy)]
pub(super) struct Subjects<'a> {
    pub(super) object: Option<&'a Value>,
    pub(super) old: Option<&'a Value>,
}

/// The version of the resource in which a webhook wants to see the write; `None` where it does not.
fn matching_version(webhook: &Webhook, operation: &Operation<'_>, subjects: Subjects<'_>) -> Option<String> {
    let resource = operation.resource;
    let fits = |version: &str| {
        let target = Target {
            operation: operation.kind,
            group: &resource.group,
            version,
            resource: &resource.plural,
            subresource: operation.subresource,
            namespaced: resource.namespaced,
        };
        webhook.rules.iter().any(|rule| rule.matches(&target))
    };
    let version = if fits(&resource.version) {
        resource.version.clone()
    } else if webhook.equivalent {
        other_versions(operation.server, resource).into_iter().find(|version| fits(version))?
    } else {
        return None;
    };
    let selected = selects(&webhook.objects, &[subjects.object, subjects.old]);
    (selected && namespace_selected(webhook, operation, subjects)).then_some(version)
}

fn other_versions(server: &ApiServer, resource: &Resource) -> Vec<String> {
    let registry = server.registry();
    let same = |other: &&Arc<Resource>| other.group == resource.group && other.plural == resource.plural;
    registry.iter().filter(same).map(|other| other.version.clone()).collect()
}

/// Cluster-wide objects always match, except namespaces, which are held against their own labels.
fn namespace_selected(webhook: &Webhook, operation: &Operation<'_>, subjects: Subjects<'_>) -> bool {
    if webhook.namespaces.is_empty() {
        return true;
    }
    if operation.resource.table == "namespaces" {
        return selects(&webhook.namespaces, &[subjects.object.or(subjects.old)]);
    }
    if !operation.resource.namespaced {
        return true;
    }
    let namespace = operation.server.store.get("namespaces", &Key::new("", operation.namespace));
    namespace.is_some_and(|namespace| webhook.namespaces.matches(&namespace.value))
}

/// Asks one webhook; a failure that the webhook's policy ignores counts as consent.
async fn ask(
    webhook: &Webhook,
    version: &str,
    operation: &Operation<'_>,
    subjects: Subjects<'_>,
) -> Result<Verdict, ApiError> {
    let (uid, body) = review::request(operation, version, subjects);
    let outcome = match call::post(operation.server, webhook, &body).await {
        Ok(answer) => review::read(&uid, &answer).map_err(|problem| problem.to_string()),
        Err(problem) => Err(format!("failed to call webhook: {problem}")),
    };
    match outcome {
        Ok(verdict) => Ok(verdict),
        Err(problem) if webhook.ignore_failure => {
            let cluster = &operation.server.cluster_name;
            tracing::warn!(%cluster, webhook = webhook.name, problem, "a webhook failed and is ignored");
            Ok(Verdict::default())
        }
        Err(problem) => Err(ApiError::internal(format!("failed calling webhook \"{}\": {problem}", webhook.name))),
    }
}

/// Runs the mutating webhooks in order; answers whether any changed the object. Webhooks that ask for it are asked
/// once more after a later one has changed something.
pub(super) async fn mutate(
    operation: &Operation<'_>,
    object: &mut Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<bool, ApiError> {
    let hooks = hooks(operation.server, &operation.server.webhooks.mutating, MUTATING);
    let mut last_change: Option<usize> = None;
    for (index, webhook) in hooks.iter().enumerate() {
        if mutate_by(webhook, operation, object, old, warnings).await? {
            last_change = Some(index);
        }
    }
    let Some(last_change) = last_change else { return Ok(false) };
    for webhook in hooks.iter().take(last_change).filter(|webhook| webhook.reinvoke) {
        mutate_by(webhook, operation, object, old, warnings).await?;
    }
    Ok(true)
}

async fn mutate_by(
    webhook: &Webhook,
    operation: &Operation<'_>,
    object: &mut Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<bool, ApiError> {
    let subjects = Subjects { object: Some(object), old };
    let Some(version) = matching_version(webhook, operation, subjects) else { return Ok(false) };
    let verdict = ask(webhook, &version, operation, subjects).await?;
    warnings.extend(verdict.warnings.iter().cloned());
    verdict.refusal(&webhook.name)?;
    let Some(patch) = verdict.patch else { return Ok(false) };
    let failed =
        |problem: String| ApiError::internal(format!("failed calling webhook \"{}\": {problem}", webhook.name));
    let mut patched = crate::patch::apply(crate::patch::PatchKind::Json, &operation.resource.gvk(), object, &patch)
        .map_err(|problem| failed(problem.to_string()))?;
    if !patched.is_object() || !patched["metadata"].is_object() {
        return Err(failed("the patch makes something of the object that is no object".to_owned()));
    }
    object::as_map(&mut patched).insert("apiVersion".to_owned(), Value::from(operation.resource.api_version()));
    let changed = patched != *object;
    *object = patched;
    Ok(changed)
}

/// Asks all validating webhooks at once; the first refusal in their order is the answer.
pub(super) async fn validate(
    operation: &Operation<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let hooks = hooks(operation.server, &operation.server.webhooks.validating, VALIDATING);
    let subjects = Subjects { object, old };
    let asked = hooks.iter().filter_map(|webhook| {
        let version = matching_version(webhook, operation, subjects)?;
        Some(async move { (&webhook.name, ask(webhook, &version, operation, subjects).await) })
    });
    for (name, verdict) in join_all(asked).await {
        let verdict = verdict?;
        warnings.extend(verdict.warnings.iter().cloned());
        verdict.refusal(name)?;
    }
    Ok(())
}
