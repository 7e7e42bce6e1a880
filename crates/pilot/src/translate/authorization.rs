//! Which authorization policies hold for a workload, and what they say to Envoy's RBAC filters.
//!
//! Denial is decided before permission. A condition that Envoy cannot look at (HTTP on a TCP connection, tokens) fails
//! closed, as in Istio: a rule that allows does not match, a rule that denies applies without the condition.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::Filter;
use envoy_types::pb::envoy::config::rbac::v3::Policy;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action as Verdict;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use mesh_types::authorization_policy::{Action, Rule};
use mesh_types::{AuthorizationPolicy, Object};

use super::authorization_terms::{self as terms, Scope, Unmatchable};
use super::lookup::selects;
use super::rbac::{self, Rules};
use super::{Context, pb};

/// The policies of a workload.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorization {
    trust_domains: Vec<String>,
    deny: Vec<Arc<Object<AuthorizationPolicy>>>,
    allow: Vec<Arc<Object<AuthorizationPolicy>>>,
}

impl Authorization {
    /// The policies that hold for the proxy's workload: those of its namespace and of the mesh that select it.
    pub(super) fn of(context: &Context<'_>) -> Self {
        let mut found = Self { trust_domains: context.settings.trust_domains(), ..Self::default() };
        let proxy = context.proxy;
        for policy in &context.state.configs.authorization_policies {
            let namespace = &policy.metadata.namespace;
            let near = *namespace == proxy.namespace || *namespace == context.settings.root_namespace;
            let selected =
                policy.spec.selector.as_ref().is_none_or(|selector| selects(&selector.match_labels, &proxy.labels));
            if near && selected {
                match policy.spec.action {
                    Action::Allow => found.allow.push(Arc::clone(policy)),
                    // There is no extension to ask; Istio denies too where it does not know the provider.
                    Action::Deny | Action::Custom => found.deny.push(Arc::clone(policy)),
                    Action::Audit => {}
                }
            }
        }
        found
    }

    /// The filters before a router.
    pub(super) fn http_filters(&self) -> Vec<HttpFilter> {
        let filter = |rules| pb::http_filter(rbac::HTTP_FILTER, rbac::Http { rules: Some(rules) });
        self.rules(true).into_iter().map(filter).collect()
    }

    /// The filters before a TCP proxy.
    pub(super) fn network_filters(&self) -> Vec<Filter> {
        let filter = |rules| {
            pb::filter(rbac::NETWORK_FILTER, rbac::Network { rules: Some(rules), stat_prefix: "tcp.".to_owned() })
        };
        self.rules(false).into_iter().map(filter).collect()
    }

    fn rules(&self, http: bool) -> Vec<Rules> {
        [(Verdict::Deny, &self.deny), (Verdict::Allow, &self.allow)]
            .into_iter()
            .filter(|(_, policies)| !policies.is_empty())
            .map(|(verdict, policies)| Rules {
                action: verdict as i32,
                policies: self.translated(policies, verdict, http),
            })
            .collect()
    }

    /// The rules of policies under the names by which Envoy reports a match.
    fn translated(
        &self,
        policies: &[Arc<Object<AuthorizationPolicy>>],
        verdict: Verdict,
        http: bool,
    ) -> BTreeMap<String, Policy> {
        let mut found = BTreeMap::new();
        for policy in policies {
            let namespace = &policy.metadata.namespace;
            let name = |index: usize| format!("ns[{namespace}]-policy[{}]-rule[{index}]", policy.metadata.name);
            let scope = Scope { namespace, http, trust_domains: &self.trust_domains };
            for (index, rule) in policy.spec.rules.iter().enumerate() {
                if let Some(translated) = translate(rule, verdict, &scope) {
                    found.insert(name(index), translated);
                }
            }
            if policy.spec.rules.is_empty() && verdict == Verdict::Allow {
                found.insert(name(0), terms::nothing());
            }
        }
        found
    }
}

/// A rule; nothing where it must not match because it cannot be understood here.
fn translate(rule: &Rule, verdict: Verdict, scope: &Scope<'_>) -> Option<Policy> {
    match terms::policy(rule, scope) {
        (policy, Unmatchable(false)) => Some(policy),
        (policy, Unmatchable(true)) => (verdict == Verdict::Deny).then_some(policy),
    }
}
