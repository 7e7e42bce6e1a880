//! The routes that accepted policies ask for, for the callers of one cluster.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use mesh_types::hub::matcher::{HttpMatcher, TextMatch};
use mesh_types::hub::selector::WorkloadSelector;
use mesh_types::hub::traffic_policy::{
    Cors, FaultInjection, HeaderManipulation, Mirror, Policy, Retries, TrafficPolicy, TrafficShift,
};
use mesh_types::virtual_service::{
    CorsPolicy, FaultAbort, FaultDelay, HeaderOperations, Headers, HttpFault, HttpMatch, HttpRetry, HttpRoute, Percent,
    StringMatch,
};

/// Policies of a destination that concern the same callers and requests, joined field by field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The callers.
    pub sources: Vec<WorkloadSelector>,
    /// The requests.
    pub matchers: Vec<HttpMatcher>,
    /// Where they go.
    pub shift: Option<TrafficShift>,
    /// Faults on purpose.
    pub fault: Option<FaultInjection>,
    /// Longest time.
    pub timeout: Option<mesh_types::IstioDuration>,
    /// Retries.
    pub retries: Option<Retries>,
    /// Cross-origin policy.
    pub cors: Option<Cors>,
    /// Copies.
    pub mirror: Option<Mirror>,
    /// Changes of headers.
    pub headers: Option<HeaderManipulation>,
}

impl Group {
    /// A group for the callers and requests of a policy, without anything to do yet.
    pub fn of(policy: &TrafficPolicy) -> Self {
        Self {
            sources: policy.source_selector.clone(),
            matchers: policy.http_request_matchers.clone(),
            ..Self::default()
        }
    }

    /// Whether a policy concerns the same callers and requests.
    pub fn covers(&self, policy: &TrafficPolicy) -> bool {
        self.sources == policy.source_selector && self.matchers == policy.http_request_matchers
    }

    /// Whether in some cluster both have a condition that is the same once it is written: for such requests both hold at once.
    pub fn meets(&self, other: &Self) -> bool {
        let callers = |group: &Self| group.sources.iter().map(callers).collect::<Vec<_>>();
        let any = (Vec::new(), vec![HttpMatch::default()]);
        let (own, others) = (callers(self), callers(other));
        let own = if own.is_empty() { vec![any.clone()] } else { own };
        let others = if others.is_empty() { vec![any] } else { others };
        let same_callers = own.iter().any(|(clusters, conditions)| {
            others.iter().any(|(their_clusters, their_conditions)| {
                let everywhere = clusters.is_empty() || their_clusters.is_empty();
                (everywhere || clusters.iter().any(|cluster| their_clusters.contains(cluster)))
                    && conditions.iter().any(|condition| their_conditions.contains(condition))
            })
        });
        same_callers && {
            let theirs = other.requests();
            self.requests().iter().any(|request| theirs.contains(request))
        }
    }

    /// The conditions for its requests, by which callers they may come.
    fn requests(&self) -> Vec<HttpMatch> {
        if self.matchers.is_empty() {
            return vec![HttpMatch::default()];
        }
        self.matchers.iter().map(|matcher| nameless(of_request(matcher, HttpMatch::default()))).collect()
    }

    /// Takes over what another group does, for requests that both are about. They do not contradict each other.
    pub fn add(&mut self, other: &Self) {
        take(&mut self.shift, other.shift.as_ref());
        take(&mut self.fault, other.fault.as_ref());
        take(&mut self.timeout, other.timeout.as_ref());
        take(&mut self.retries, other.retries.as_ref());
        take(&mut self.cors, other.cors.as_ref());
        take(&mut self.mirror, other.mirror.as_ref());
        take(&mut self.headers, other.headers.as_ref());
    }

    /// Takes the fields of a policy over.
    ///
    /// # Errors
    /// The names of those that are set already, to something else. Nothing is taken over then.
    pub fn join(&mut self, policy: &Policy) -> Result<(), Vec<&'static str>> {
        let mut joined = self.clone();
        let mut conflicts = Vec::new();
        let mut field = |name, conflict: bool| {
            if conflict {
                conflicts.push(name);
            }
        };
        field("trafficShift", take(&mut joined.shift, policy.traffic_shift.as_ref()));
        field("faultInjection", take(&mut joined.fault, policy.fault_injection.as_ref()));
        field("requestTimeout", take(&mut joined.timeout, policy.request_timeout.as_ref()));
        field("retries", take(&mut joined.retries, policy.retries.as_ref()));
        field("corsPolicy", take(&mut joined.cors, policy.cors_policy.as_ref()));
        field("mirror", take(&mut joined.mirror, policy.mirror.as_ref()));
        field("headerManipulation", take(&mut joined.headers, policy.header_manipulation.as_ref()));
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        *self = joined;
        Ok(())
    }

    /// Whether it does anything for callers in a cluster.
    pub fn concerns(&self, cluster: &str) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|source| source.reaches_cluster(cluster))
    }

    /// The clusters that its callers are limited to, if they are.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let matchers = self.sources.iter().filter_map(|source| source.kube_workload_matcher.as_ref());
        matchers.flat_map(|matcher| matcher.clusters.iter().map(String::as_str))
    }

    /// The conditions for its callers in a cluster and its requests, one for each combination.
    pub fn conditions(&self, cluster: &str) -> Vec<HttpMatch> {
        let sources = if self.sources.is_empty() {
            vec![HttpMatch::default()]
        } else {
            let here = self.sources.iter().filter(|source| source.reaches_cluster(cluster));
            here.flat_map(of_source).collect()
        };
        if self.matchers.is_empty() {
            return sources;
        }
        let combine = |source: &HttpMatch| -> Vec<_> {
            self.matchers.iter().map(|matcher| of_request(matcher, source.clone())).collect()
        };
        sources.iter().flat_map(combine).collect()
    }

    /// A route with everything but condition and targets.
    pub fn actions(&self) -> HttpRoute {
        HttpRoute {
            timeout: self.timeout,
            retries: self.retries.as_ref().map(retries),
            fault: self.fault.as_ref().map(fault),
            cors_policy: self.cors.as_ref().map(cors),
            headers: self.headers.as_ref().map(headers),
            mirror_percentage: self.mirror.as_ref().map(|mirror| Percent { value: mirror.percentage.unwrap_or(100.0) }),
            ..HttpRoute::default()
        }
    }
}

/// Sets a field that is not set yet; whether it is set to something else.
fn take<T: Clone + PartialEq>(field: &mut Option<T>, value: Option<&T>) -> bool {
    match (&field, value) {
        (_, None) => false,
        (Some(before), Some(value)) => before != value,
        (None, Some(value)) => {
            *field = Some(value.clone());
            false
        }
    }
}

/// The conditions of callers in a cluster, each with what groups that have it do together, in the order in which they come.
pub fn by_condition<'a>(groups: impl Iterator<Item = &'a Group>, cluster: &str) -> Vec<(HttpMatch, Group)> {
    let mut all: Vec<(HttpMatch, Group)> = Vec::new();
    for group in groups {
        for condition in group.conditions(cluster) {
            let same = nameless(condition.clone());
            match all.iter_mut().find(|(other, _)| nameless(other.clone()) == same) {
                Some((_, together)) => together.add(group),
                None => all.push((condition, group.clone())),
            }
        }
    }
    all
}

/// A condition without its name, which decides about nothing.
fn nameless(condition: HttpMatch) -> HttpMatch {
    HttpMatch { name: None, ..condition }
}

/// The clusters that callers are limited to, and their conditions there.
fn callers(source: &WorkloadSelector) -> (Vec<String>, Vec<HttpMatch>) {
    let clusters = source.kube_workload_matcher.as_ref().map(|matcher| matcher.clusters.clone());
    (clusters.unwrap_or_default(), of_source(source))
}

fn of_source(source: &WorkloadSelector) -> Vec<HttpMatch> {
    let Some(matcher) = &source.kube_workload_matcher else { return vec![HttpMatch::default()] };
    let with = |namespace: Option<&String>| HttpMatch {
        source_labels: matcher.labels.clone(),
        source_namespace: namespace.cloned(),
        ..HttpMatch::default()
    };
    if matcher.namespaces.is_empty() {
        vec![with(None)]
    } else {
        matcher.namespaces.iter().map(|name| with(Some(name))).collect()
    }
}

fn of_request(matcher: &HttpMatcher, mut condition: HttpMatch) -> HttpMatch {
    condition.name = (!matcher.name.is_empty()).then(|| matcher.name.clone());
    condition.uri = matcher.uri.as_ref().map(text);
    if !matcher.method.is_empty() {
        condition.method = Some(StringMatch { exact: Some(matcher.method.clone()), ..StringMatch::default() });
    }
    for header in &matcher.headers {
        let place = if header.invert_match { &mut condition.without_headers } else { &mut condition.headers };
        place.insert(header.name.to_ascii_lowercase(), value(&header.value, header.regex));
    }
    for query in &matcher.query_parameters {
        condition.query_params.insert(query.name.clone(), value(&query.value, query.regex));
    }
    condition
}

fn value(value: &str, regex: bool) -> StringMatch {
    match (value.is_empty(), regex) {
        (true, _) => StringMatch::default(),
        (false, true) => StringMatch { regex: Some(value.to_owned()), ..StringMatch::default() },
        (false, false) => StringMatch { exact: Some(value.to_owned()), ..StringMatch::default() },
    }
}

fn text(text: &TextMatch) -> StringMatch {
    StringMatch { exact: text.exact.clone(), prefix: text.prefix.clone(), regex: text.regex.clone() }
}

fn retries(retries: &Retries) -> HttpRetry {
    HttpRetry {
        attempts: retries.attempts,
        per_try_timeout: retries.per_try_timeout,
        retry_on: (!retries.retry_on.is_empty()).then(|| retries.retry_on.clone()),
        ..HttpRetry::default()
    }
}

fn fault(fault: &FaultInjection) -> HttpFault {
    let percentage = Some(Percent { value: fault.percentage.unwrap_or(100.0) });
    HttpFault {
        delay: fault.fixed_delay.map(|delay| FaultDelay { fixed_delay: Some(delay), percentage }),
        abort: fault.abort.as_ref().map(|abort| FaultAbort {
            http_status: Some(abort.http_status),
            percentage,
            ..FaultAbort::default()
        }),
    }
}

fn cors(cors: &Cors) -> CorsPolicy {
    CorsPolicy {
        allow_origins: cors.allow_origins.iter().map(text).collect(),
        allow_methods: cors.allow_methods.clone(),
        allow_headers: cors.allow_headers.clone(),
        expose_headers: cors.expose_headers.clone(),
        max_age: cors.max_age,
        allow_credentials: cors.allow_credentials,
        ..CorsPolicy::default()
    }
}

/// Header changes in Istio's form.
pub fn headers(change: &HeaderManipulation) -> Headers {
    let operations = |add: &BTreeMap<String, String>, remove: &Vec<String>| {
        let some = !add.is_empty() || !remove.is_empty();
        some.then(|| HeaderOperations { add: add.clone(), remove: remove.clone(), ..HeaderOperations::default() })
    };
    Headers {
        request: operations(&change.append_request_headers, &change.remove_request_headers),
        response: operations(&change.append_response_headers, &change.remove_response_headers),
    }
}

/// Sorts the most specific condition first, since the first that matches wins. What is equally specific sorts by content, so
/// that the order of the policies does not matter.
pub fn sort(routes: &mut [HttpRoute]) {
    routes.sort_by_cached_key(|route| {
        let Some(condition) = route.matches.first() else { return (Reverse(Vec::new()), String::new()) };
        (Reverse(specificity(condition)), format!("{condition:?}"))
    });
}

fn specificity(condition: &HttpMatch) -> Vec<usize> {
    let uri = condition.uri.as_ref();
    let by_kind = |pick: fn(&StringMatch) -> &Option<String>| uri.and_then(|uri| pick(uri).as_ref()).map(String::len);
    let (kind, length) = if let Some(length) = by_kind(|uri| &uri.exact) {
        (3, length)
    } else if let Some(length) = by_kind(|uri| &uri.regex) {
        (2, length)
    } else {
        by_kind(|uri| &uri.prefix).map_or((0, 0), |length| (1, length))
    };
    vec![
        kind,
        length,
        condition.headers.len(),
        condition.query_params.len(),
        condition.source_labels.len(),
        usize::from(condition.source_namespace.is_some()),
        usize::from(condition.method.is_some()),
        condition.without_headers.len(),
        usize::from(condition.port.is_some()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(condition: HttpMatch) -> HttpRoute {
        HttpRoute { name: condition.name.clone(), matches: vec![condition], ..HttpRoute::default() }
    }

    #[test]
    fn the_most_specific_condition_comes_first() {
        let text = |exact: Option<&str>, prefix: Option<&str>, regex: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            Some(StringMatch { exact: own(exact), prefix: own(prefix), regex: own(regex) })
        };
        let named = |name: &str| HttpMatch { name: Some(name.to_owned()), ..HttpMatch::default() };
        let mut routes = vec![
            route(named("nothing")),
            route(HttpMatch { uri: text(None, Some("/a"), None), ..named("prefix") }),
            route(HttpMatch { method: Some(StringMatch::default()), ..named("method") }),
            route(HttpMatch { uri: text(Some("/a"), None, None), ..named("exact") }),
            route(HttpMatch { uri: text(None, Some("/a/b"), None), ..named("longer prefix") }),
            route(HttpMatch { uri: text(None, None, Some("/a")), ..named("regex") }),
            route(HttpMatch { headers: [("a".to_owned(), StringMatch::default())].into(), ..named("header") }),
        ];
        sort(&mut routes);
        let names: Vec<_> = routes.iter().map(|route| route.name.clone().unwrap()).collect();
        assert_eq!(names, ["exact", "regex", "longer prefix", "prefix", "header", "method", "nothing"]);
    }

    #[test]
    fn a_field_that_is_set_to_something_else_is_a_conflict_and_changes_nothing() {
        let timeout =
            |text: &str| Policy { request_timeout: mesh_types::IstioDuration::parse(text).ok(), ..Policy::default() };
        let mut group = Group::default();
        assert_eq!(group.join(&timeout("1s")), Ok(()));
        assert_eq!(group.join(&timeout("1s")), Ok(()));
        let other = Policy { retries: Some(Retries::default()), ..timeout("2s") };
        assert_eq!(group.join(&other), Err(vec!["requestTimeout"]));
        assert_eq!(group.retries, None);
    }
}
