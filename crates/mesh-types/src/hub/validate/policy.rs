//! Rules of traffic policies.

use super::{Errors, terms};
use crate::hub::TrafficPolicy;
use crate::hub::matcher::{HttpMatcher, TextMatch};
use crate::hub::traffic_policy::{
    FaultInjection, HeaderManipulation, OutlierDetection, Policy, TrafficShift, WeightedDestination,
};
use crate::validate::refuse;

pub(super) fn traffic(policy: &TrafficPolicy, errors: &mut Errors) {
    terms::destinations(&policy.destination_selector, "spec.destinationSelector", errors);
    for (index, matcher) in policy.http_request_matchers.iter().enumerate() {
        request(matcher, &format!("spec.httpRequestMatchers[{index}]"), errors);
    }
    let fields = &policy.policy;
    if !fields.has_route_policy() && !fields.has_connection_policy() {
        refuse(errors, "spec.policy", "does nothing: needs at least one field");
    }
    every_caller(policy, errors);
    actions(fields, errors);
}

/// What a DestinationRule holds knows no caller and no request.
fn every_caller(policy: &TrafficPolicy, errors: &mut Errors) {
    let fields =
        [("outlierDetection", policy.policy.outlier_detection.is_some()), ("mtls", policy.policy.mtls.is_some())];
    for (field, _) in fields.iter().filter(|(_, given)| *given) {
        let path = format!("spec.policy.{field}");
        if !policy.source_selector.is_empty() {
            refuse(errors, &path, "holds for every caller: needs an empty spec.sourceSelector");
        }
        if !policy.http_request_matchers.is_empty() {
            refuse(errors, &path, "holds for every request: needs an empty spec.httpRequestMatchers");
        }
    }
}

fn actions(policy: &Policy, errors: &mut Errors) {
    let at = "spec.policy";
    if let Some(shift) = &policy.traffic_shift {
        traffic_shift(shift, errors);
    }
    if let Some(fault) = &policy.fault_injection {
        fault_injection(fault, errors);
    }
    if let Some(retries) = &policy.retries
        && retries.attempts < 0
    {
        refuse(errors, format!("{at}.retries.attempts"), "must not be negative");
    }
    if let Some(cors) = &policy.cors_policy {
        for (index, origin) in cors.allow_origins.iter().enumerate() {
            text(origin, &format!("{at}.corsPolicy.allowOrigins[{index}]"), errors);
        }
    }
    if let Some(mirror) = &policy.mirror {
        terms::service(&mirror.kube_service, &format!("{at}.mirror.kubeService"), errors);
        terms::percentage(mirror.percentage, &format!("{at}.mirror.percentage"), errors);
        port(mirror.port, &format!("{at}.mirror.port"), errors);
    }
    if let Some(headers) = &policy.header_manipulation {
        header_manipulation(headers, &format!("{at}.headerManipulation"), errors);
    }
    if let Some(outlier) = &policy.outlier_detection {
        outlier_detection(outlier, &format!("{at}.outlierDetection"), errors);
    }
}

fn traffic_shift(shift: &TrafficShift, errors: &mut Errors) {
    let at = "spec.policy.trafficShift.destinations";
    if shift.destinations.is_empty() {
        return refuse(errors, at, "needs at least one target");
    }
    for (index, target) in shift.destinations.iter().enumerate() {
        weighted(target, &format!("{at}[{index}]"), errors);
    }
    let total: u64 = shift.destinations.iter().map(|target| u64::from(target.weight)).sum();
    if total != 100 {
        refuse(errors, at, format!("the weights sum to {total}, not 100"));
    }
}

fn weighted(target: &WeightedDestination, path: &str, errors: &mut Errors) {
    match (&target.kube_service, &target.virtual_destination) {
        (Some(service), None) => {
            terms::service(&service.service(), &format!("{path}.kubeService"), errors);
            port(service.port, &format!("{path}.kubeService.port"), errors);
        }
        (None, Some(target)) => {
            let fields = [("name", target.name.as_str()), ("namespace", target.namespace.as_str())];
            terms::needed(&fields, &format!("{path}.virtualDestination"), errors);
        }
        _ => refuse(errors, path, "needs exactly one of kubeService, virtualDestination"),
    }
    if let Some(headers) = target.options.as_ref().and_then(|options| options.header_manipulation.as_ref()) {
        header_manipulation(headers, &format!("{path}.options.headerManipulation"), errors);
    }
}

fn fault_injection(fault: &FaultInjection, errors: &mut Errors) {
    let at = "spec.policy.faultInjection";
    terms::percentage(fault.percentage, &format!("{at}.percentage"), errors);
    if fault.fixed_delay.is_none() && fault.abort.is_none() {
        refuse(errors, at, "needs one of fixedDelay, abort");
    }
    if fault.abort.as_ref().is_some_and(|abort| !(200..600).contains(&abort.http_status)) {
        refuse(errors, format!("{at}.abort.httpStatus"), "is not an HTTP status from 200 to 599");
    }
}

fn port(number: Option<u16>, path: &str, errors: &mut Errors) {
    if number == Some(0) {
        refuse(errors, path, "port 0 must be between 1 and 65535");
    }
}

/// Envoy refuses to change pseudo headers and `host`.
fn header_manipulation(headers: &HeaderManipulation, path: &str, errors: &mut Errors) {
    let fields = [
        ("appendRequestHeaders", headers.append_request_headers.keys().collect::<Vec<_>>()),
        ("removeRequestHeaders", headers.remove_request_headers.iter().collect()),
        ("appendResponseHeaders", headers.append_response_headers.keys().collect()),
        ("removeResponseHeaders", headers.remove_response_headers.iter().collect()),
    ];
    for (field, names) in fields {
        let wrong = |name: &&&String| {
            name.is_empty() || name.starts_with(':') || name.eq_ignore_ascii_case("host") || name.contains(' ')
        };
        for name in names.iter().filter(wrong) {
            refuse(errors, format!("{path}.{field}"), format!("header `{name}` cannot be changed"));
        }
    }
}

pub(super) fn outlier_detection(outlier: &OutlierDetection, path: &str, errors: &mut Errors) {
    if outlier.consecutive_errors == Some(0) {
        refuse(errors, format!("{path}.consecutiveErrors"), "must be at least 1");
    }
    if outlier.max_ejection_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
        refuse(errors, format!("{path}.maxEjectionPercent"), "must be between 1 and 100");
    }
}

const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

pub(super) fn method(name: &str, path: &str, errors: &mut Errors) {
    if !METHODS.contains(&name) {
        refuse(errors, path, format!("`{name}` is not one of {}", METHODS.join(", ")));
    }
}

fn request(matcher: &HttpMatcher, path: &str, errors: &mut Errors) {
    if let Some(uri) = &matcher.uri {
        text(uri, &format!("{path}.uri"), errors);
    }
    if !matcher.method.is_empty() {
        method(&matcher.method, &format!("{path}.method"), errors);
    }
    let headers = matcher.headers.iter().map(|header| ("headers", &header.name, &header.value, header.regex));
    let parameters = matcher.query_parameters.iter();
    let parameters = parameters.map(|query| ("queryParameters", &query.name, &query.value, query.regex));
    for (field, entries) in [("headers", headers.collect::<Vec<_>>()), ("queryParameters", parameters.collect())] {
        for (index, (_, name, value, regex)) in entries.into_iter().enumerate() {
            terms::needed(&[("name", name)], &format!("{path}.{field}[{index}]"), errors);
            if regex {
                terms::expression(value, &format!("{path}.{field}[{index}].value"), errors);
            }
        }
    }
}

fn text(text: &TextMatch, path: &str, errors: &mut Errors) {
    let given = [&text.exact, &text.prefix, &text.regex].into_iter().flatten().count();
    if given != 1 {
        refuse(errors, path, "needs exactly one of exact, prefix, regex");
    }
    if let Some(regex) = &text.regex {
        terms::expression(regex, &format!("{path}.regex"), errors);
    }
}
