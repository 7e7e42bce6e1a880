//! Whether we may do there what an installation and scenarios do, by asking the API server: SelfSubjectAccessReview.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use serde_json::Value;

use crate::cluster::{Cluster, Error};
use crate::provider::existing::contexts::Refusal;

/// How many questions are under way at once.
const AT_ONCE: usize = 8;

/// What scenarios do to pods and workloads wherever they are: group, resource, subresource, verb.
const ALWAYS: &[(&str, &str, &str, &str)] = &[
    ("", "pods", "", "list"),
    ("", "pods", "", "watch"),
    ("", "pods", "", "delete"),
    ("", "pods", "exec", "create"),
    ("", "pods", "portforward", "create"),
    ("", "pods", "log", "get"),
    ("", "nodes", "", "list"),
    ("", "serviceaccounts", "token", "create"),
    ("apps", "deployments", "", "get"),
    ("apps", "deployments", "", "patch"),
    // Workers, which send in place of a workload's own pods.
    ("batch", "jobs", "", "get"),
    ("batch", "jobs", "", "create"),
    ("batch", "jobs", "", "patch"),
    ("batch", "jobs", "", "delete"),
];
/// Verbs that are needed for whatever is made.
const TO_MAKE: &[&str] = &["get", "create", "patch", "delete"];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    subresource: String,
    verb: String,
}

impl Right {
    fn new(group: &str, resource: &str, subresource: &str, verb: &str) -> Self {
        let [group, resource, subresource, verb] = [group, resource, subresource, verb].map(str::to_owned);
        Self { group, resource, subresource, verb }
    }

    /// As kubectl names the resource.
    fn resource(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let subresource = if self.subresource.is_empty() { String::new() } else { format!("/{}", self.subresource) };
        format!("{}{group}{subresource}", self.resource)
    }
}

/// What we may not do, as one problem.
pub(super) async fn lacking(cluster: &Cluster, wanted: &[Value]) -> Result<Option<Refusal>, Error> {
    let asked = futures::stream::iter(needed(wanted)).map(async |right| {
        let allowed = allowed(cluster, &right).await?;
        Ok::<_, Error>((!allowed).then_some(right))
    });
    let answers: Vec<Option<Right>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    let refused: BTreeSet<Right> = answers.into_iter().flatten().collect();
    Ok((!refused.is_empty()).then(|| problem(cluster.name(), &refused)))
}

async fn allowed(cluster: &Cluster, right: &Right) -> Result<bool, Error> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: text(&right.group),
                resource: text(&right.resource),
                subresource: text(&right.subresource),
                verb: text(&right.verb),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let answer = reviews.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(|source| cluster.api_error("ask for our own rights".to_owned(), source))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn problem(cluster: &str, refused: &BTreeSet<Right>) -> Refusal {
    let mut verbs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for right in refused {
        verbs.entry(right.resource()).or_default().push(&right.verb);
    }
    let lines: Vec<String> =
        verbs.into_iter().map(|(resource, verbs)| format!("{} {resource}", verbs.join(", "))).collect();
    Refusal::new(
        format!("{cluster}: the credentials of its context may not {}", lines.join("; ")),
        format!("let somebody grant these rights, or name a context with more of them by --context {cluster}=CONTEXT"),
    )
}

/// Every right that it takes to make and remove the objects, and to run scenarios on them.
fn needed(wanted: &[Value]) -> BTreeSet<Right> {
    let mut rights: BTreeSet<Right> = ALWAYS
        .iter()
        .map(|(group, resource, subresource, verb)| Right::new(group, resource, subresource, verb))
        .collect();
    for object in wanted {
        let kind = object["kind"].as_str().unwrap_or_default();
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        // Plurals of the kinds that manifests of ours have follow the rule of English.
        let resource = plural(kind);
        rights.extend(TO_MAKE.iter().map(|verb| Right::new(group, &resource, "", verb)));
        if matches!(kind, "ClusterRole" | "Role") {
            // Nobody may grant rights that he has not, unless he may this.
            rights.insert(Right::new(group, &resource, "", "escalate"));
        }
        if matches!(kind, "ClusterRoleBinding" | "RoleBinding") {
            rights.insert(Right::new(group, &plural(kind.trim_end_matches("Binding")), "", "bind"));
        }
    }
    rights
}

fn plural(kind: &str) -> String {
    let word = kind.to_lowercase();
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if word.ends_with('s') || word.ends_with("sh") || word.ends_with("ch") => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plurals_are_those_of_kubernetes() {
        let words = ["NetworkPolicy", "Gateway", "Ingress", "VirtualService", "AuthorizationPolicy", "ServiceEntry"];
        let expected =
            ["networkpolicies", "gateways", "ingresses", "virtualservices", "authorizationpolicies", "serviceentries"];
        assert_eq!(words.map(plural), expected);
    }

    #[test]
    fn roles_need_more_than_to_be_made() {
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {} });
        let binding =
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {} });
        let rights = needed(&[role, binding]);
        for verb in ["escalate", "bind", "create"] {
            assert!(rights.contains(&Right::new("rbac.authorization.k8s.io", "clusterroles", "", verb)), "{verb}");
        }
        assert_eq!(needed(&[]).len(), ALWAYS.len());
    }

    #[test]
    fn what_may_not_be_done_is_told_by_resource() {
        let refused = [Right::new("", "pods", "exec", "create"), Right::new("apps", "deployments", "", "patch")];
        let problem = problem("cluster1", &refused.into_iter().collect());
        assert_eq!(
            problem.message,
            "cluster1: the credentials of its context may not patch deployments.apps; create pods/exec"
        );
    }

    #[tokio::test]
    async fn an_api_server_that_refuses_everything_is_heard() {
        let cluster = Cluster::answering("cluster1", |_| {
            (
                201,
                json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                          "metadata": {}, "spec": {}, "status": { "allowed": false } }),
            )
        });
        let problem = lacking(&cluster, &[]).await.expect("it answers").expect("nothing is allowed");
        assert!(problem.message.contains("create pods/exec"), "{problem:?}");
        let willing = Cluster::answering("cluster1", |_| {
            (
                201,
                json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                          "metadata": {}, "spec": {}, "status": { "allowed": true } }),
            )
        });
        assert_eq!(lacking(&willing, &[]).await.expect("it answers"), None);
    }
}
