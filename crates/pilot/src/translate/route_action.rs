//! What happens to a request that meets the conditions of a route.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{RetryPolicy, Route, RouteAction, RouteMatch};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::util::pack_any;
use mesh_types::virtual_service::{Destination, HeaderOperations, Headers, HttpRetry, HttpRewrite, HttpRoute, Percent};
use mesh_types::{Object, VirtualService, host, names};

use super::route::Scope;
use super::{Context, pb, route_fault, route_match};

/// Istio's conditions for a retry where a route gives none.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// The route of a service without a virtual service.
pub(super) fn default_route(host: &str, port: u16) -> Route {
    let action = RouteAction {
        retry_policy: retry(None),
        ..action(ClusterSpecifier::Cluster(names::outbound_cluster(port, "", host)))
    };
    Route {
        name: "default".to_owned(),
        r#match: Some(route_match::everything()),
        decorator: Some(decorator(host, port)),
        action: Some(envoy::route::Action::Route(action)),
        ..Default::default()
    }
}

/// A route of everything to a cluster.
pub(super) fn plain(name: &str, cluster: &str) -> Route {
    Route {
        name: name.to_owned(),
        r#match: Some(route_match::everything()),
        action: Some(envoy::route::Action::Route(action(ClusterSpecifier::Cluster(cluster.to_owned())))),
        ..Default::default()
    }
}

fn decorator(host: &str, port: u16) -> envoy::Decorator {
    envoy::Decorator { operation: format!("{host}:{port}/*"), ..Default::default() }
}

fn action(cluster: ClusterSpecifier) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(cluster),
        timeout: Some(pb::seconds(0)),
        max_stream_duration: Some(MaxStreamDuration {
            max_stream_duration: Some(pb::seconds(0)),
            grpc_timeout_header_max: Some(pb::seconds(0)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The route of a virtual service for one condition; an error names what Envoy would refuse.
pub(super) fn route(
    context: &Context<'_>,
    scope: &Scope,
    rule: &Object<VirtualService>,
    http: &HttpRoute,
    condition: RouteMatch,
) -> Result<Route, String> {
    let mut route = Route { typed_per_filter_config: route_fault::filters(http)?, ..Default::default() };
    let resolve = |destination: &Destination| cluster(context, scope, rule, destination);
    if let Some(redirect) = &http.redirect {
        route.action = Some(envoy::route::Action::Redirect(route_fault::redirect(redirect, scope.port)));
    } else if let Some(response) = &http.direct_response {
        route.action = Some(envoy::route::Action::DirectResponse(route_fault::direct_response(response)?));
    } else {
        let mut forward = action(destinations(http, &resolve)?);
        if let Some(timeout) = http.timeout {
            forward.timeout = Some(pb::duration(timeout.0));
            // Beside a limit for streams Envoy takes no notice of it.
            forward.max_stream_duration = None;
        }
        forward.retry_policy = retry(http.retries.as_ref());
        forward.request_mirror_policies = mirrors(http, &resolve);
        if let Some(rewrite) = &http.rewrite {
            rewrite_path(&mut forward, rewrite, &condition)?;
        }
        if let Some(first) = http.route.first() {
            let host =
                host::resolve_short_name(&first.destination.host, &rule.metadata.namespace, &context.settings.domain);
            route.decorator = Some(decorator(&host, scope.port));
        }
        if let Some(host) = set_host(http.headers.as_ref()) {
            forward.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(host));
        }
        route.action = Some(envoy::route::Action::Route(forward));
    }
    let changes = HeaderChanges::of(http.headers.as_ref());
    route.r#match = Some(condition);
    route.request_headers_to_add = changes.request_add;
    route.request_headers_to_remove = changes.request_remove;
    route.response_headers_to_add = changes.response_add;
    route.response_headers_to_remove = changes.response_remove;
    Ok(route)
}

/// The cluster of a destination, whether it exists or not: a route to a missing cluster is answered with 503.
fn cluster(context: &Context<'_>, scope: &Scope, rule: &Object<VirtualService>, destination: &Destination) -> String {
    let host = host::resolve_short_name(&destination.host, &rule.metadata.namespace, &context.settings.domain);
    let chosen = destination.port.as_ref().and_then(|selector| u16::try_from(selector.number).ok());
    let port =
        chosen.unwrap_or_else(|| match context.visible.get(host.as_str()).map(|service| service.ports.as_slice()) {
            Some([only]) => only.number,
            _ => scope.port,
        });
    names::outbound_cluster(port, destination.subset.as_deref().unwrap_or_default(), &host)
}

fn destinations(http: &HttpRoute, resolve: &dyn Fn(&Destination) -> String) -> Result<ClusterSpecifier, String> {
    match http.route.as_slice() {
        [] => Err("no route, redirect or directResponse".to_owned()),
        [only] if only.headers.is_none() => Ok(ClusterSpecifier::Cluster(resolve(&only.destination))),
        [only] => Ok(weighted(vec![weight(&resolve(&only.destination), 1, only.headers.as_ref())])),
        several => {
            let positive = several
                .iter()
                .filter_map(|entry| Some((entry, u32::try_from(entry.weight).ok().filter(|weight| *weight > 0)?)));
            let clusters: Vec<_> = positive
                .map(|(entry, share)| weight(&resolve(&entry.destination), share, entry.headers.as_ref()))
                .collect();
            if clusters.is_empty() { Err("the total weight is 0".to_owned()) } else { Ok(weighted(clusters)) }
        }
    }
}

fn weighted(clusters: Vec<ClusterWeight>) -> ClusterSpecifier {
    ClusterSpecifier::WeightedClusters(envoy::WeightedCluster { clusters, ..Default::default() })
}

fn weight(name: &str, weight: u32, headers: Option<&Headers>) -> ClusterWeight {
    let changes = HeaderChanges::of(headers);
    let host = set_host(headers).map(envoy::weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral);
    ClusterWeight {
        name: name.to_owned(),
        weight: Some(pb::uint(weight)),
        request_headers_to_add: changes.request_add,
        request_headers_to_remove: changes.request_remove,
        response_headers_to_add: changes.response_add,
        response_headers_to_remove: changes.response_remove,
        host_rewrite_specifier: host,
        ..Default::default()
    }
}

fn mirrors(http: &HttpRoute, resolve: &dyn Fn(&Destination) -> String) -> Vec<RequestMirrorPolicy> {
    let single = http.mirror.iter().map(|destination| (destination, http.mirror_percentage));
    let several = http.mirrors.iter().map(|mirror| (&mirror.destination, mirror.percentage));
    let policy = |(destination, share): (&Destination, Option<Percent>)| RequestMirrorPolicy {
        cluster: resolve(destination),
        runtime_fraction: Some(pb::runtime_percent(share.map_or(100.0, |share| share.value))),
        trace_sampled: Some(pb::boolean(false)),
        disable_shadow_host_suffix_append: true,
        ..Default::default()
    };
    single.chain(several).map(policy).collect()
}

fn rewrite_path(action: &mut RouteAction, rewrite: &HttpRewrite, condition: &RouteMatch) -> Result<(), String> {
    let substitute = |regex: &str, substitution: &str| -> Result<RegexMatchAndSubstitute, String> {
        Ok(RegexMatchAndSubstitute {
            pattern: Some(route_match::expression(regex)?),
            substitution: substitution.to_owned(),
        })
    };
    if let Some(uri) = &rewrite.uri {
        match &condition.path_specifier {
            Some(envoy::route_match::PathSpecifier::Prefix(_)) | None => action.prefix_rewrite = uri.clone(),
            // An exact path or an expression matches the whole path, so the whole path is replaced.
            Some(_) => action.regex_rewrite = Some(substitute(".+", uri)?),
        }
    }
    if let Some(replacement) = &rewrite.uri_regex_rewrite {
        action.regex_rewrite = Some(substitute(&replacement.pattern, &replacement.rewrite)?);
    }
    if let Some(authority) = &rewrite.authority {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(authority.clone()));
    }
    Ok(())
}

fn retry(policy: Option<&HttpRetry>) -> Option<RetryPolicy> {
    let attempts = policy.map_or(2, |policy| policy.attempts);
    if attempts <= 0 {
        return None;
    }
    let conditions =
        policy.and_then(|policy| policy.retry_on.as_deref()).filter(|text| !text.is_empty()).unwrap_or(RETRY_ON);
    let conditions = conditions.split(',').map(str::trim).filter(|text| !text.is_empty());
    let (codes, names): (Vec<&str>, Vec<&str>) = conditions.partition(|text| text.parse::<u32>().is_ok());
    let mut names: Vec<&str> = names;
    if !codes.is_empty() && !names.contains(&"retriable-status-codes") {
        names.push("retriable-status-codes");
    }
    let avoid = policy.and_then(|policy| policy.retry_ignore_previous_hosts).unwrap_or(true);
    let far = policy.and_then(|policy| policy.retry_remote_localities).unwrap_or(false);
    Some(RetryPolicy {
        retry_on: names.join(","),
        num_retries: Some(pb::count(attempts)),
        retriable_status_codes: codes.iter().filter_map(|code| code.parse().ok()).collect(),
        per_try_timeout: policy.and_then(|policy| policy.per_try_timeout).map(|timeout| pb::duration(timeout.0)),
        retry_host_predicate: if avoid { vec![previous_hosts()] } else { Vec::new() },
        host_selection_retry_max_attempts: if avoid { 5 } else { 0 },
        retry_priority: far.then(previous_priorities),
        retry_back_off: policy.and_then(|policy| policy.backoff).map(|interval| envoy::retry_policy::RetryBackOff {
            base_interval: Some(pb::duration(interval.0.max(Duration::from_millis(1)))),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn previous_hosts() -> envoy::retry_policy::RetryHostPredicate {
    envoy::retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(envoy::retry_policy::retry_host_predicate::ConfigType::TypedConfig(pack_any(
            PreviousHostsPredicate {},
        ))),
    }
}

fn previous_priorities() -> envoy::retry_policy::RetryPriority {
    envoy::retry_policy::RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(envoy::retry_policy::retry_priority::ConfigType::TypedConfig(pack_any(
            PreviousPrioritiesConfig { update_frequency: 2 },
        ))),
    }
}

/// The authority that header changes of a request set, which Envoy knows as a rewrite of the host.
fn set_host(headers: Option<&Headers>) -> Option<String> {
    let set = &headers?.request.as_ref()?.set;
    set.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone())
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

#[derive(Default)]
struct HeaderChanges {
    request_add: Vec<core::HeaderValueOption>,
    request_remove: Vec<String>,
    response_add: Vec<core::HeaderValueOption>,
    response_remove: Vec<String>,
}

impl HeaderChanges {
    fn of(headers: Option<&Headers>) -> Self {
        let request = headers.and_then(|headers| headers.request.clone()).unwrap_or_default();
        let response = headers.and_then(|headers| headers.response.clone()).unwrap_or_default();
        Self {
            request_add: added(&request),
            response_add: added(&response),
            request_remove: request.remove,
            response_remove: response.remove,
        }
    }
}

fn added(operations: &HeaderOperations) -> Vec<core::HeaderValueOption> {
    use core::header_value_option::HeaderAppendAction;
    let option = |name: &String, value: &String, action: HeaderAppendAction| core::HeaderValueOption {
        header: Some(core::HeaderValue { key: name.clone(), value: value.clone(), ..Default::default() }),
        append_action: action as i32,
        ..Default::default()
    };
    let set = operations.set.iter().filter(|(name, _)| !is_host(name));
    let set = set.map(|(name, value)| option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = operations.add.iter().map(|(name, value)| option(name, value, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).collect()
}
