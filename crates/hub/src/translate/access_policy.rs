//! AuthorizationPolicies: who may call a destination, by all access policies on it together.
//!
//! There is one resource per destination, in its own cluster, with a rule per policy. Policies add up, so none conflicts with
//! another. Gateways pass mutual TLS through, so the identity that a rule sees is the caller's, wherever it calls from.

use std::collections::{BTreeMap, BTreeSet};

use mesh_types::AuthorizationPolicy;
use mesh_types::authorization_policy::{From, Operation, Rule, Source, To};
use mesh_types::hub::selector::{IdentityMatcher, IdentitySelector};
use mesh_types::hub::{AccessPolicy, ClusterObjectRef, Destination, Kind, Mesh, Object, ObjectRef};
use mesh_types::peer_authentication::WorkloadSelector;

use super::parent;
use crate::world::World;

/// Stands for the own trust domain of a mesh in its policies, whatever that is called.
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// What the access policies of a destination come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// The resource; `None` where no policy selects the destination. Where none of them holds, it allows nothing.
    pub resource: Option<AuthorizationPolicy>,
    /// Who says it.
    pub parents: Vec<String>,
    /// Every policy that selects the destination, and why it has no effect; an empty list where it has.
    pub errors: BTreeMap<ObjectRef, Vec<String>>,
}

/// Joins every access policy that selects a destination. One that cannot hold adds no rule, which allows less, not more: a
/// resource without rules allows nothing, and no resource would let everybody in.
pub fn translate(world: &World, destination: &Destination) -> Judged {
    let service = &destination.kube_service;
    let mut judged = Judged::default();
    let mut rules = Vec::new();
    for reference in world.access_on.get(&service.reference).into_iter().flatten() {
        let Some(policy) = world.inputs.access_policies.get(reference) else { continue };
        let mut errors = Vec::new();
        if !policy.errors.is_empty() {
            errors.push("the policy is not valid".to_owned());
        }
        if service.workload_selector_labels.is_empty() {
            // Without a selector the resource would be about the whole namespace.
            errors.push(format!("Service {} selects no workloads", service.reference));
        }
        let rule = rule(world, destination, &policy.object.spec, &mut errors);
        if errors.is_empty() {
            rules.push(rule);
        }
        judged.parents.push(parent(Kind::AccessPolicy, reference));
        judged.errors.insert(reference.clone(), errors);
    }
    let about_workloads = !service.workload_selector_labels.is_empty();
    judged.resource = (about_workloads && !judged.errors.is_empty()).then(|| AuthorizationPolicy {
        selector: Some(WorkloadSelector { match_labels: service.workload_selector_labels.clone() }),
        rules,
        ..AuthorizationPolicy::default()
    });
    judged
}

fn rule(world: &World, destination: &Destination, policy: &AccessPolicy, errors: &mut Vec<String>) -> Rule {
    let callers = Callers::new(world, destination);
    let mut sources = Vec::new();
    let mut everybody = policy.source_selector.is_empty();
    for selector in &policy.source_selector {
        match callers.source(selector, errors) {
            Some(source) => sources.push(source),
            None => everybody = true,
        }
    }
    let from = |source| From { source: Some(source) };
    let operation = Operation {
        paths: policy.allowed_paths.clone(),
        methods: policy.allowed_methods.clone(),
        ports: policy.allowed_ports.iter().map(ToString::to_string).collect(),
        ..Operation::default()
    };
    let limited = operation != Operation::default();
    Rule {
        from: if everybody { Vec::new() } else { sources.into_iter().map(from).collect() },
        to: limited.then_some(To { operation: Some(operation) }).into_iter().collect(),
        when: Vec::new(),
    }
}

/// The meshes whose workloads may call a destination: the members of its virtual mesh, or its own mesh alone.
struct Callers<'a> {
    meshes: Vec<&'a Object<Mesh>>,
    /// The mesh whose proxies judge the callers.
    judge: Option<&'a Object<Mesh>>,
}

impl<'a> Callers<'a> {
    fn new(world: &'a World, destination: &Destination) -> Self {
        let virtual_mesh = world.memberships.of_mesh.get(&destination.mesh);
        let members = virtual_mesh.and_then(|reference| world.memberships.members.get(reference));
        let references: BTreeSet<_> = match members {
            Some(members) => members.meshes.iter().collect(),
            None => BTreeSet::from([&destination.mesh]),
        };
        let meshes = references.into_iter().filter_map(|reference| world.inputs.meshes.get(reference)).collect();
        Self { meshes, judge: world.inputs.meshes.get(&destination.mesh) }
    }

    /// `None` where everybody is selected. A matcher and accounts of one selector have to match both.
    fn source(&self, selector: &IdentitySelector, errors: &mut Vec<String>) -> Option<Source> {
        let matcher = selector.kube_identity_matcher.as_ref();
        let matcher = matcher.filter(|matcher| !matcher.clusters.is_empty() || !matcher.namespaces.is_empty());
        match (&selector.kube_service_account_refs, matcher) {
            (Some(refs), matcher) => Some(self.named(&refs.service_accounts, matcher, errors)),
            (None, Some(matcher)) => Some(self.matched(matcher, errors)),
            (None, None) => None,
        }
    }

    /// Accounts that a matcher beside them, where there is one, matches too. None of them would be a source that everybody is.
    fn named(
        &self,
        accounts: &[ClusterObjectRef],
        matcher: Option<&IdentityMatcher>,
        errors: &mut Vec<String>,
    ) -> Source {
        let clusters = matcher.map(|matcher| matcher.clusters.as_slice()).filter(|clusters| !clusters.is_empty());
        let among = clusters.map(|clusters| self.trust_domains(clusters, errors));
        let mut principals = Vec::new();
        for account in accounts {
            let cluster = Some(&account.cluster_name).filter(|name| !name.is_empty());
            let mut domains = self.trust_domains(cluster.map_or(&[], std::slice::from_ref), errors);
            domains.retain(|domain| among.as_ref().is_none_or(|among| among.contains(domain)));
            principals
                .extend(domains.iter().map(|domain| format!("{domain}/ns/{}/sa/{}", account.namespace, account.name)));
        }
        if principals.is_empty() && errors.is_empty() {
            errors.push(match among {
                Some(_) => "no service account is in the clusters that the matcher beside it names".to_owned(),
                None => "no mesh is known whose workloads could call this destination".to_owned(),
            });
        }
        let namespaces = matcher.map(|matcher| matcher.namespaces.clone()).unwrap_or_default();
        Source { principals, namespaces, ..Source::default() }
    }

    fn matched(&self, matcher: &IdentityMatcher, errors: &mut Vec<String>) -> Source {
        let IdentityMatcher { namespaces, clusters } = matcher;
        if clusters.is_empty() {
            return Source { namespaces: namespaces.clone(), ..Source::default() };
        }
        let domains = self.trust_domains(clusters, errors);
        let principals = if namespaces.is_empty() {
            domains.iter().map(|domain| format!("{domain}/*")).collect()
        } else {
            let of = |domain: &String| {
                namespaces.iter().map(move |name| format!("{domain}/ns/{name}/*")).collect::<Vec<_>>()
            };
            domains.iter().flat_map(of).collect()
        };
        Source { principals, ..Source::default() }
    }

    /// Trust domains by which callers of clusters are known; of all clusters where none is named.
    fn trust_domains(&self, clusters: &[String], errors: &mut Vec<String>) -> BTreeSet<String> {
        if clusters.is_empty() {
            return self.meshes.iter().filter_map(|mesh| self.nameable(mesh, errors)).collect();
        }
        clusters.iter().filter_map(|cluster| self.trust_domain(cluster, errors)).collect()
    }

    /// A cluster can be told from others only by its trust domain, and only where the control plane that judges takes no
    /// other domain for the same.
    fn trust_domain(&self, cluster: &str, errors: &mut Vec<String>) -> Option<String> {
        let cluster_of = |mesh: &Object<Mesh>| mesh.spec.istio.installation.cluster.clone();
        let Some(own) = self.meshes.iter().find(|mesh| cluster_of(mesh) == cluster) else {
            errors.push(format!("cluster {cluster} has no mesh that can call this destination"));
            return None;
        };
        let domain = self.nameable(own, errors)?;
        let meant = self.taken_for(&domain);
        let others: Vec<_> = self.meshes.iter().filter(|mesh| cluster_of(mesh) != cluster).collect();
        let sharing: Vec<_> = others.iter().filter(|mesh| meant.contains(&mesh.spec.istio.trust_domain)).collect();
        let Some(other) = sharing.first() else { return Some(domain) };
        let more = match sharing.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (other, its) = (cluster_of(other), &other.spec.istio.trust_domain);
        errors.push(if *its == domain {
            format!(
                "cluster {cluster} shares the trust domain {domain} with {other}{more}: callers of one cannot be told from those of the \
                 other, so leave clusters out, or give the meshes trust domains of their own"
            )
        } else {
            format!(
                "the control plane of cluster {} takes the trust domains {domain} and {its} for one (trustDomainAliases): callers of \
                 cluster {cluster} cannot be told from those of {other}{more}, so leave clusters out, or take the alias away",
                self.judge.map(cluster_of).unwrap_or_default()
            )
        });
        None
    }

    /// The trust domain of a mesh, where the control plane that judges understands its name.
    fn nameable(&self, mesh: &Object<Mesh>, errors: &mut Vec<String>) -> Option<String> {
        let domain = &mesh.spec.istio.trust_domain;
        if self.taken_for(domain).contains(domain) {
            return Some(domain.clone());
        }
        let judge = self.judge.map(|mesh| mesh.spec.istio.installation.cluster.as_str()).unwrap_or_default();
        errors.push(format!(
            "the control plane of cluster {judge} understands the trust domain {domain}, that of cluster {}, as its own: callers of that \
             cluster cannot be named, so give its mesh another trust domain",
            mesh.spec.istio.installation.cluster
        ));
        None
    }

    /// The trust domains that the control plane which judges puts in the place of one that a policy names: of one that is its
    /// own all that it has, and `cluster.local` always means its own.
    fn taken_for(&self, domain: &str) -> BTreeSet<String> {
        let istio = self.judge.map(|mesh| &mesh.spec.istio);
        let known: BTreeSet<_> = istio
            .into_iter()
            .flat_map(|istio| std::iter::once(&istio.trust_domain).chain(&istio.trust_domain_aliases).cloned())
            .collect();
        let own = domain == DEFAULT_TRUST_DOMAIN || known.contains(domain);
        if own && !known.is_empty() { known } else { BTreeSet::from([domain.to_owned()]) }
    }
}
