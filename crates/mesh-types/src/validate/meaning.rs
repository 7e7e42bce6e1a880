//! The rules of Istio's validation that a schema cannot express.

use serde::Deserialize;
use serde_json::Value;

use super::{FieldError, authorization, entry, refuse};
use crate::destination_rule::{ClientTls, ClientTlsMode, Distribute, TrafficPolicy};
use crate::gateway::{ServerTls, ServerTlsMode, TlsVersion};
use crate::kind::Kind;
use crate::virtual_service::{Destination, HttpMatch, HttpRoute, StringMatch, TlsRoute, grpc_status};
use crate::{AuthorizationPolicy, DestinationRule, Gateway, PeerAuthentication, VirtualService, regular_expression};

pub(super) type Errors = Vec<FieldError>;

pub(super) fn check(kind: Kind, spec: &Value, errors: &mut Errors) {
    match kind {
        Kind::Gateway => typed(spec, errors, gateway),
        Kind::VirtualService => typed(spec, errors, virtual_service),
        Kind::DestinationRule => typed(spec, errors, destination_rule),
        Kind::ServiceEntry => typed(spec, errors, entry::service),
        Kind::WorkloadEntry => typed(spec, errors, entry::workload_entry),
        Kind::WorkloadGroup => typed(spec, errors, entry::group),
        Kind::PeerAuthentication => typed(spec, errors, peer_authentication),
        Kind::AuthorizationPolicy => typed::<AuthorizationPolicy>(spec, errors, authorization::check),
    }
}

fn typed<T: for<'de> Deserialize<'de>>(spec: &Value, errors: &mut Errors, rules: impl FnOnce(&T, &mut Errors)) {
    match T::deserialize(spec) {
        Ok(spec) => rules(&spec, errors),
        Err(error) => refuse(errors, "spec", error.to_string()),
    }
}

pub(super) fn port(number: u32, path: String, errors: &mut Errors) {
    if number == 0 || number > u32::from(u16::MAX) {
        refuse(errors, path, format!("port {number} must be between 1 and 65535"));
    }
}

pub(super) fn host(host: &str, path: String, errors: &mut Errors) {
    let rest = host.strip_prefix('*').unwrap_or(host);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let labels = rest.strip_prefix('.').unwrap_or(rest).trim_end_matches('.');
    let wildcard_only = host == "*";
    if !wildcard_only
        && (host.len() > 255 || !labels.split('.').all(label) || (host.starts_with('*') && !rest.starts_with('.')))
    {
        refuse(errors, path, format!("`{host}` is not a host name"));
    }
}

fn gateway(gateway: &Gateway, errors: &mut Errors) {
    if gateway.servers.is_empty() {
        refuse(errors, "spec.servers", "a gateway needs at least one server");
    }
    for (index, server) in gateway.servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        port(server.port.number, format!("{path}.port.number"), errors);
        let protocol = server.port.protocol.to_uppercase();
        if !["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TCP", "TLS", "MONGO"].contains(&protocol.as_str()) {
            refuse(errors, format!("{path}.port.protocol"), format!("`{}` is not a protocol", server.port.protocol));
        }
        if server.port.name.is_empty() {
            refuse(errors, format!("{path}.port.name"), "must not be empty");
        }
        if server.hosts.is_empty() {
            refuse(errors, format!("{path}.hosts"), "a server needs at least one host");
        }
        for (at, name) in server.hosts.iter().enumerate() {
            let bare = name.split_once('/').map_or(name.as_str(), |(_, bare)| bare);
            host(bare, format!("{path}.hosts[{at}]"), errors);
        }
        let tls = ["HTTPS", "TLS"].contains(&protocol.as_str());
        if tls && server.tls.is_none() {
            refuse(errors, format!("{path}.tls"), format!("protocol {protocol} needs tls settings"));
        }
        let mode = server.tls.as_ref().and_then(|tls| tls.mode);
        if !tls && mode == Some(ServerTlsMode::AutoPassthrough) {
            refuse(errors, format!("{path}.port.protocol"), "AUTO_PASSTHROUGH needs protocol TLS");
        }
        if let Some(tls) = &server.tls {
            server_tls(tls, &format!("{path}.tls"), errors);
        }
    }
}

fn server_tls(tls: &ServerTls, path: &str, errors: &mut Errors) {
    let [oldest, newest] = [tls.min_protocol_version, tls.max_protocol_version];
    if newest != TlsVersion::Auto && oldest > newest {
        refuse(errors, format!("{path}.minProtocolVersion"), "is newer than maxProtocolVersion");
    }
    let named = tls.credential_name.as_deref().is_some_and(|name| !name.is_empty());
    if named && matches!(tls.mode, Some(ServerTlsMode::IstioMutual)) {
        refuse(errors, format!("{path}.credentialName"), "ISTIO_MUTUAL has the gateway's own certificate");
    }
}

fn virtual_service(service: &VirtualService, errors: &mut Errors) {
    if service.hosts.is_empty() {
        refuse(errors, "spec.hosts", "a virtual service needs at least one host");
    }
    let sidecar =
        service.gateways.is_empty() || service.gateways.iter().any(|gateway| gateway == crate::names::GATEWAY_MESH);
    for (index, name) in service.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if name == "*" && sidecar {
            refuse(errors, &path, "wildcard host * is not allowed for virtual services bound to the mesh gateway");
        }
        host(name, path, errors);
    }
    for (index, route) in service.http.iter().enumerate() {
        http_route(route, &format!("spec.http[{index}]"), errors);
    }
    for (index, route) in service.tls.iter().enumerate() {
        tls_route(service, route, &format!("spec.tls[{index}]"), errors);
    }
}

fn tls_route(service: &VirtualService, route: &TlsRoute, path: &str, errors: &mut Errors) {
    if route.matches.is_empty() {
        refuse(errors, format!("{path}.match"), "a TLS route needs a match with sniHosts");
    }
    for (index, condition) in route.matches.iter().enumerate() {
        let path = format!("{path}.match[{index}]");
        if condition.sni_hosts.is_empty() {
            refuse(errors, format!("{path}.sniHosts"), "must not be empty");
        }
        for (at, name) in condition.sni_hosts.iter().enumerate() {
            let path = format!("{path}.sniHosts[{at}]");
            if !service.hosts.iter().any(|wanted| wanted == name || crate::host::matches(wanted, name)) {
                refuse(errors, path.clone(), format!("`{name}` is not covered by the hosts of the virtual service"));
            }
            host(name, path, errors);
        }
        if let Some(number) = condition.port {
            port(number, format!("{path}.port"), errors);
        }
    }
    let shares: Vec<i32> = route.route.iter().map(|entry| entry.weight).collect();
    if shares.iter().any(|share| *share < 0) || (shares.len() > 1 && shares.iter().all(|share| *share == 0)) {
        refuse(errors, format!("{path}.route"), "weights must not be negative, and not all of them 0");
    }
    if route.route.is_empty() {
        refuse(errors, format!("{path}.route"), "a TLS route needs a destination");
    }
    for (index, entry) in route.route.iter().enumerate() {
        destination(&entry.destination, &format!("{path}.route[{index}].destination"), errors);
    }
}

fn http_route(route: &HttpRoute, path: &str, errors: &mut Errors) {
    let actions = usize::from(!route.route.is_empty())
        + usize::from(route.redirect.is_some())
        + usize::from(route.direct_response.is_some());
    if actions > 1 {
        refuse(errors, path, "only one of route, redirect and directResponse can be set");
    }
    for (index, condition) in route.matches.iter().enumerate() {
        http_match(condition, &format!("{path}.match[{index}]"), errors);
    }
    weights(route, path, errors);
    for (index, entry) in route.route.iter().enumerate() {
        destination(&entry.destination, &format!("{path}.route[{index}].destination"), errors);
    }
    if let Some(mirror) = &route.mirror {
        destination(mirror, &format!("{path}.mirror"), errors);
    }
    if let Some(redirect) = &route.redirect
        && let Some(code) = redirect.redirect_code
        && ![301, 302, 303, 307, 308].contains(&code)
    {
        refuse(errors, format!("{path}.redirect.redirectCode"), format!("{code} is not 301, 302, 303, 307 or 308"));
    }
    if let Some(response) = &route.direct_response
        && !(100..600).contains(&response.status)
    {
        refuse(errors, format!("{path}.directResponse.status"), format!("{} is not an HTTP status", response.status));
    }
    if let Some(retries) = &route.retries
        && retries.attempts < 0
    {
        refuse(errors, format!("{path}.retries.attempts"), "must not be negative");
    }
    if let Some(rewrite) = route.rewrite.as_ref().and_then(|rewrite| rewrite.uri_regex_rewrite.as_ref()) {
        expression(&rewrite.pattern, format!("{path}.rewrite.uriRegexRewrite.match"), errors);
    }
    if let Some(policy) = &route.cors_policy {
        for (index, origin) in policy.allow_origins.iter().enumerate() {
            string_match(origin, format!("{path}.corsPolicy.allowOrigins[{index}]"), errors);
        }
    }
    faults(route, path, errors);
}

fn faults(route: &HttpRoute, path: &str, errors: &mut Errors) {
    let Some(fault) = &route.fault else { return };
    let share = |percentage: Option<crate::virtual_service::Percent>, at: String, errors: &mut Errors| {
        if percentage.is_some_and(|percent| !(0.0..=100.0).contains(&percent.value)) {
            refuse(errors, at, "must be between 0 and 100");
        }
    };
    if let Some(delay) = &fault.delay {
        share(delay.percentage, format!("{path}.fault.delay.percentage.value"), errors);
    }
    if let Some(abort) = &fault.abort {
        share(abort.percentage, format!("{path}.fault.abort.percentage.value"), errors);
        if abort.http_status.is_some_and(|status| !(200..600).contains(&status)) {
            refuse(errors, format!("{path}.fault.abort.httpStatus"), "is not an HTTP status from 200 to 599");
        }
        if let Some(name) = abort.grpc_status.as_deref().filter(|name| grpc_status(name).is_none()) {
            refuse(errors, format!("{path}.fault.abort.grpcStatus"), format!("`{name}` is not a status of gRPC"));
        }
    }
}

fn weights(route: &HttpRoute, path: &str, errors: &mut Errors) {
    let mut total: i64 = 0;
    for (index, entry) in route.route.iter().enumerate() {
        if entry.weight < 0 {
            refuse(errors, format!("{path}.route[{index}].weight"), format!("weight {} is negative", entry.weight));
        }
        total += i64::from(entry.weight);
    }
    if route.route.len() > 1 && total == 0 {
        refuse(errors, format!("{path}.route"), "the total weight of several destinations must not be 0");
    }
    if total > i64::from(u32::MAX) {
        refuse(errors, format!("{path}.route"), format!("the total weight {total} is too large"));
    }
}

fn destination(destination: &Destination, path: &str, errors: &mut Errors) {
    if destination.host == "*" || destination.host.is_empty() {
        refuse(errors, format!("{path}.host"), "must name a host");
    } else {
        host(&destination.host, format!("{path}.host"), errors);
    }
    if let Some(selector) = &destination.port {
        port(selector.number, format!("{path}.port.number"), errors);
    }
}

fn http_match(condition: &HttpMatch, path: &str, errors: &mut Errors) {
    let single = [
        ("uri", &condition.uri),
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ];
    for (name, text) in single {
        if let Some(text) = text {
            string_match(text, format!("{path}.{name}"), errors);
        }
    }
    for (field, texts) in [
        ("headers", &condition.headers),
        ("withoutHeaders", &condition.without_headers),
        ("queryParams", &condition.query_params),
    ] {
        for (name, text) in texts {
            if name.is_empty()
                || (field != "queryParams" && name.contains(|c: char| c.is_ascii_uppercase() || c.is_whitespace()))
            {
                refuse(errors, format!("{path}.{field}.{name}"), "header names are lower case and not empty");
            }
            string_match(text, format!("{path}.{field}.{name}"), errors);
        }
    }
    if let Some(number) = condition.port {
        port(number, format!("{path}.port"), errors);
    }
}

fn string_match(text: &StringMatch, path: String, errors: &mut Errors) {
    if let Some(regex) = &text.regex {
        expression(regex, format!("{path}.regex"), errors);
    }
}

fn expression(pattern: &str, path: String, errors: &mut Errors) {
    if let Err(reason) = regular_expression::check(pattern) {
        refuse(errors, path, format!("`{pattern}` cannot be used as a regular expression: {reason}"));
    }
}

fn destination_rule(rule: &DestinationRule, errors: &mut Errors) {
    host(&rule.host, "spec.host".to_owned(), errors);
    if let Some(policy) = &rule.traffic_policy {
        traffic_policy(policy, "spec.trafficPolicy", errors);
    }
    for (index, subset) in rule.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{index}]");
        if subset.name.is_empty()
            || !subset.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_')
        {
            refuse(errors, format!("{path}.name"), format!("`{}` is not a name for a subset", subset.name));
        }
        if rule.subsets[..index].iter().any(|earlier| earlier.name == subset.name) {
            refuse(errors, format!("{path}.name"), format!("subset `{}` is defined twice", subset.name));
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, &format!("{path}.trafficPolicy"), errors);
        }
    }
}

fn client_tls(tls: Option<&ClientTls>, path: &str, errors: &mut Errors) {
    let Some(tls) = tls.filter(|tls| tls.mode == ClientTlsMode::Mutual) else { return };
    for (name, file) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
        if file.as_deref().is_none_or(str::is_empty) {
            refuse(errors, format!("{path}.{name}"), "mode MUTUAL needs a certificate and its key, as files");
        }
    }
}

fn traffic_policy(policy: &TrafficPolicy, path: &str, errors: &mut Errors) {
    client_tls(policy.tls.as_ref(), &format!("{path}.tls"), errors);
    if let Some(outlier) = &policy.outlier_detection {
        for (name, percent) in
            [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)]
        {
            if percent.is_some_and(|percent| !(0..=100).contains(&percent)) {
                refuse(errors, format!("{path}.outlierDetection.{name}"), "must be between 0 and 100");
            }
        }
    }
    if let Some(setting) = policy.load_balancer.as_ref().and_then(|balancer| balancer.locality_lb_setting.as_ref()) {
        let at = format!("{path}.loadBalancer.localityLbSetting");
        if !setting.distribute.is_empty() && (!setting.failover.is_empty() || !setting.failover_priority.is_empty()) {
            refuse(errors, &at, "distribute cannot be combined with failover or failoverPriority");
        }
        setting
            .distribute
            .iter()
            .enumerate()
            .for_each(|(index, entry)| distribute(entry, &format!("{at}.distribute[{index}]"), errors));
    }
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let number = settings.port.as_ref().map_or(0, |selector| selector.number);
        port(number, format!("{path}.portLevelSettings[{index}].port.number"), errors);
        client_tls(settings.tls.as_ref(), &format!("{path}.portLevelSettings[{index}].tls"), errors);
    }
}

fn distribute(entry: &Distribute, path: &str, errors: &mut Errors) {
    let total: u64 = entry.to.values().map(|share| u64::from(*share)).sum();
    if total != 100 {
        refuse(errors, format!("{path}.to"), format!("the shares add up to {total}, not 100"));
    }
}

fn peer_authentication(policy: &PeerAuthentication, errors: &mut Errors) {
    let selects = policy.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if !policy.port_level_mtls.is_empty() && !selects {
        refuse(errors, "spec.portLevelMtls", "portLevelMtls requires selector");
    }
    for name in policy.port_level_mtls.keys() {
        if !name.parse::<u16>().is_ok_and(|number| number != 0) {
            refuse(errors, format!("spec.portLevelMtls.{name}"), "port must be between 1-65535");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::validate;

    fn errors(kind: &str, spec: serde_json::Value) -> Vec<String> {
        let result = validate(&json!({ "kind": kind, "spec": spec }));
        result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_virtual_service_passes() {
        let spec = json!({ "hosts": ["reviews"], "http": [
            { "match": [{ "headers": { "cookie": { "regex": "^(.*?;)?(user=jason)(;.*)?$" } } }], "route": [{ "destination": { "host": "reviews", "subset": "v2" } }] },
            { "route": [{ "destination": { "host": "reviews", "subset": "v3" }, "weight": 75 }, { "destination": { "host": "reviews", "subset": "v1" }, "weight": 25 }], "timeout": "1.5s" },
        ] });
        assert_eq!(errors("VirtualService", spec), Vec::<String>::new());
    }

    #[test]
    fn broken_virtual_services_name_every_place() {
        let found = errors(
            "VirtualService",
            json!({ "hosts": ["reviews"], "http": [{ "timeout": "fast", "route": [{ "weight": "x" }] }] }),
        );
        assert_eq!(found.len(), 3, "{found:?}");
        let found = errors(
            "VirtualService",
            json!({ "hosts": ["*"], "http": [
            { "match": [{ "uri": { "regex": "(" } }], "route": [{ "destination": { "host": "a" }, "weight": -1 }, { "destination": { "host": "b" } }] }] }),
        );
        assert!(found.iter().any(|error| error.starts_with("spec.hosts[0]")), "{found:?}");
        assert!(found.iter().any(|error| error.starts_with("spec.http[0].match[0].uri.regex")), "{found:?}");
        assert!(found.iter().any(|error| error.starts_with("spec.http[0].route[0].weight")), "{found:?}");
        let found = errors(
            "VirtualService",
            json!({ "hosts": ["a"], "http": [{ "match": [{ "uri": { "exact": "/", "prefix": "/" } }] }] }),
        );
        assert_eq!(found, ["spec.http[0].match[0].uri: only one of exact, prefix can be set"]);
    }

    /// Envoy has RE2, and refuses the whole route configuration for one expression that it does not know.
    #[test]
    fn expressions_that_only_rust_knows_are_refused() {
        let spec = json!({ "hosts": ["a"], "http": [{
            "match": [{ "uri": { "regex": "(?x)a" }, "headers": { "x-a": { "regex": "a{1001}" } } }],
            "rewrite": { "uriRegexRewrite": { "match": "[a--b]", "rewrite": "c" } },
            "corsPolicy": { "allowOrigins": [{ "regex": "a**" }] },
            "route": [{ "destination": { "host": "a" } }],
        }] });
        let found = errors("VirtualService", spec);
        let paths: Vec<_> = found.iter().filter_map(|error| error.split_once(": ")).map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            [
                "spec.http[0].match[0].uri.regex",
                "spec.http[0].match[0].headers.x-a.regex",
                "spec.http[0].rewrite.uriRegexRewrite.match",
                "spec.http[0].corsPolicy.allowOrigins[0].regex",
            ],
            "{found:?}"
        );
    }

    #[test]
    fn ports_modes_and_shares_are_checked() {
        assert_eq!(
            errors("PeerAuthentication", json!({ "portLevelMtls": { "80": { "mode": "STRICT" } } })),
            ["spec.portLevelMtls: portLevelMtls requires selector"]
        );
        assert_eq!(errors("PeerAuthentication", json!({ "mtls": { "mode": "SECRET" } })).len(), 1);
        assert_eq!(errors("Gateway", json!({ "servers": [{ "port": { "number": 70000, "protocol": "HTTP", "name": "http" }, "hosts": ["*"] }] })).len(), 1);
        assert_eq!(
            errors(
                "DestinationRule",
                json!({ "host": "a", "trafficPolicy": { "loadBalancer": { "localityLbSetting": { "distribute": [{ "from": "r/*", "to": { "r/*": 90 } }] } } } })
            ),
            ["spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to: the shares add up to 90, not 100"]
        );
        assert_eq!(errors("DestinationRule", json!({})), ["spec.host: is required"]);
    }
}
