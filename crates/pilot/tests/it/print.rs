//! Prints translations compactly, for review by eye: one line for each thing that decides about traffic.

use std::fmt::Write as _;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3::{Address, TransportSocket, address, socket_address, transport_socket};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, Route, RouteConfiguration, header_matcher, route, route_action, route_match,
};
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext, downstream_tls_context::SessionTicketKeysType,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use pilot::translate::Translation;
use prost::Message as _;

mod rbac;

pub(crate) fn translation(translation: &Translation) -> String {
    let mut text = String::new();
    for one in &translation.clusters {
        cluster(&mut text, one);
    }
    text.push('\n');
    for one in &translation.endpoints {
        endpoints(&mut text, one);
    }
    text.push('\n');
    for one in &translation.listeners {
        listener(&mut text, one);
    }
    text.push('\n');
    for one in &translation.routes {
        routes(&mut text, "", one);
    }
    for problem in &translation.problems {
        let _ = writeln!(text, "problem {}: {}", problem.object, problem.message);
    }
    text
}

fn cluster(text: &mut String, cluster: &Cluster) {
    let discovery = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind).unwrap().as_str_name().to_owned(),
        Some(ClusterDiscoveryType::ClusterType(custom)) => custom_type(custom),
        None => "?".to_owned(),
    };
    let policy = LbPolicy::try_from(cluster.lb_policy).unwrap().as_str_name();
    let _ = write!(text, "cluster {} {discovery} {policy}", cluster.name);
    for options in cluster.typed_extension_protocol_options.values() {
        let _ = write!(text, " http={}", http_options(&options.value));
    }
    if let Some(timeout) = cluster.connect_timeout.filter(|timeout| timeout.seconds != 10) {
        let _ = write!(text, " connect={}s", timeout.seconds);
    }
    let limits = cluster.circuit_breakers.as_ref().and_then(|breakers| breakers.thresholds.first());
    if let Some(limits) = limits {
        for (name, limit) in [("connections", limits.max_connections), ("pending", limits.max_pending_requests)] {
            if let Some(limit) = limit.filter(|limit| limit.value != u32::MAX) {
                let _ = write!(text, " {name}<={}", limit.value);
            }
        }
    }
    if let Some(outlier) = &cluster.outlier_detection {
        let figures = (
            outlier.consecutive_5xx.map(|figure| figure.value),
            outlier.max_ejection_percent.map(|figure| figure.value),
        );
        let _ = write!(text, " outlier={figures:?}");
    }
    if let Some(bind) = &cluster.upstream_bind_config {
        let marks =
            bind.socket_options.iter().map(|option| format!("{}:{}={:?}", option.level, option.name, option.value));
        let _ = write!(
            text,
            " from={} options={:?}",
            bind.source_address.as_ref().unwrap().address,
            marks.collect::<Vec<_>>()
        );
    }
    text.push('\n');
    if let Some(socket) = &cluster.transport_socket {
        let _ = writeln!(text, "  always {}", upstream_tls(socket));
    }
    for entry in &cluster.transport_socket_matches {
        let _ = writeln!(text, "  {} {}", entry.name, upstream_tls(entry.transport_socket.as_ref().unwrap()));
    }
    if let Some(inline) = &cluster.load_assignment {
        endpoints(text, inline);
    }
}

fn custom_type(custom: &CustomClusterType) -> String {
    let dns = DnsCluster::decode(custom.typed_config.as_ref().unwrap().value.as_slice()).unwrap();
    let every = dns.dns_refresh_rate.unwrap().seconds;
    let single = if dns.all_addresses_in_single_endpoint { " single" } else { "" };
    format!("{} every={every}s ttl={}{single}", custom.name, dns.respect_dns_ttl)
}

fn http_options(bytes: &[u8]) -> &'static str {
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions as Options;
    use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
    match HttpProtocolOptions::decode(bytes).unwrap().upstream_protocol_options {
        Some(Options::ExplicitHttpConfig(explicit)) => match explicit.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => "2",
            _ => "1",
        },
        Some(Options::UseDownstreamProtocolConfig(_)) => "as-downstream",
        _ => "?",
    }
}

fn typed(socket: &TransportSocket) -> &[u8] {
    match &socket.config_type {
        Some(transport_socket::ConfigType::TypedConfig(any)) => &any.value,
        None => &[],
    }
}

fn upstream_tls(socket: &TransportSocket) -> String {
    if socket.name != "envoy.transport_sockets.tls" {
        return socket.name.clone();
    }
    let context = UpstreamTlsContext::decode(typed(socket)).unwrap();
    format!("tls sni={} {}", context.sni, common_tls(context.common_tls_context.as_ref().unwrap()))
}

fn common_tls(common: &CommonTlsContext) -> String {
    let secrets: Vec<&str> =
        common.tls_certificate_sds_secret_configs.iter().map(|secret| secret.name.as_str()).collect();
    let Some(validation) = &common.validation_context_type else {
        return format!("alpn={:?} certificate={secrets:?}", common.alpn_protocols);
    };
    let (root, validation) = match validation {
        ValidationContextType::CombinedValidationContext(combined) => (
            combined.validation_context_sds_secret_config.as_ref().unwrap().name.as_str(),
            combined.default_validation_context.clone().unwrap(),
        ),
        ValidationContextType::ValidationContext(context) => ("-", context.clone()),
        other => panic!("{other:?}"),
    };
    let names: Vec<String> = validation
        .match_typed_subject_alt_names
        .iter()
        .map(|san| string_match(san.matcher.as_ref().unwrap()))
        .collect();
    format!("alpn={:?} certificate={secrets:?} root={root} names={names:?}", common.alpn_protocols)
}

fn string_match(text: &StringMatcher) -> String {
    match text.match_pattern.as_ref().unwrap() {
        MatchPattern::Exact(text) => text.clone(),
        MatchPattern::Prefix(text) => format!("{text}*"),
        MatchPattern::SafeRegex(regex) => format!("~{}", regex.regex),
        other => panic!("{other:?}"),
    }
}

fn socket(address: &Option<Address>) -> String {
    match &address.as_ref().unwrap().address {
        Some(address::Address::SocketAddress(socket)) => match socket.port_specifier {
            Some(socket_address::PortSpecifier::PortValue(port)) => format!("{}:{port}", socket.address),
            _ => panic!("no port"),
        },
        other => panic!("{other:?}"),
    }
}

fn endpoints(text: &mut String, assignment: &ClusterLoadAssignment) {
    let _ = writeln!(text, "endpoints {}", assignment.cluster_name);
    for group in &assignment.endpoints {
        let locality = group.locality.clone().unwrap_or_default();
        let _ = write!(
            text,
            "  {}/{} p{} w{}",
            locality.region,
            locality.zone,
            group.priority,
            group.load_balancing_weight.unwrap().value
        );
        for endpoint in &group.lb_endpoints {
            let Some(lb_endpoint::HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else {
                panic!("no endpoint")
            };
            let tls = if endpoint.metadata.is_some() { " mtls" } else { "" };
            let _ =
                write!(text, " [{} w{}{tls}]", socket(&host.address), endpoint.load_balancing_weight.unwrap().value);
        }
        text.push('\n');
    }
}

fn listener(text: &mut String, listener: &Listener) {
    let bind = if listener.bind_to_port.is_some_and(|bind| !bind.value) { " unbound" } else { "" };
    let filters: Vec<&str> =
        listener.listener_filters.iter().map(|filter| filter.name.rsplit('.').next().unwrap()).collect();
    let _ = writeln!(text, "listener {} {}{bind} {filters:?}", listener.name, socket(&listener.address));
    for one in &listener.filter_chains {
        chain(text, "chain", one);
    }
    if let Some(one) = &listener.default_filter_chain {
        chain(text, "default", one);
    }
}

fn chain(text: &mut String, kind: &str, chain: &FilterChain) {
    let _ = write!(text, "  {kind} {}", chain.name);
    if let Some(condition) = &chain.filter_chain_match {
        if let Some(port) = condition.destination_port {
            let _ = write!(text, " port={}", port.value);
        }
        if !condition.server_names.is_empty() {
            let _ = write!(text, " sni={:?}", condition.server_names);
        }
        if !condition.transport_protocol.is_empty() {
            let _ = write!(text, " {}", condition.transport_protocol);
        }
        if !condition.application_protocols.is_empty() {
            let _ = write!(text, " alpn={:?}", condition.application_protocols);
        }
    }
    if let Some(socket) = &chain.transport_socket {
        let context = DownstreamTlsContext::decode(typed(socket)).unwrap();
        let required = context.require_client_certificate.is_some_and(|required| required.value);
        let no_tickets = SessionTicketKeysType::DisableStatelessSessionResumption(true);
        let resumes =
            context.session_ticket_keys_type != Some(no_tickets) || !context.disable_stateful_session_resumption;
        let _ = write!(
            text,
            " terminates(require={required}{} {})",
            if resumes { " resumes" } else { "" },
            common_tls(context.common_tls_context.as_ref().unwrap())
        );
    }
    let _ = writeln!(text, " -> {}", chain.filters.iter().map(network_filter).collect::<Vec<_>>().join(", "));
}

fn network_filter(filter: &Filter) -> String {
    let Some(filter::ConfigType::TypedConfig(any)) = &filter.config_type else { panic!("no configuration") };
    if filter.name == "envoy.filters.network.rbac" {
        rbac::network(&any.value)
    } else if filter.name == "envoy.filters.network.tcp_proxy" {
        match TcpProxy::decode(any.value.as_slice()).unwrap().cluster_specifier {
            Some(ClusterSpecifier::Cluster(cluster)) => format!("tcp {cluster}"),
            Some(ClusterSpecifier::WeightedClusters(weighted)) => {
                let shares = weighted.clusters.iter().map(|one| format!("{}={}", one.name, one.weight));
                format!("tcp {}", shares.collect::<Vec<_>>().join(" + "))
            }
            other => panic!("{other:?}"),
        }
    } else {
        let manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
        let filters: Vec<String> = manager.http_filters.iter().map(http_filter).collect();
        let routes = match manager.route_specifier.unwrap() {
            RouteSpecifier::Rds(rds) => format!("rds {}", rds.route_config_name),
            RouteSpecifier::RouteConfig(inline) => {
                let mut text = String::new();
                routes(&mut text, "      ", &inline);
                format!("\n{}", text.trim_end())
            }
            other => panic!("{other:?}"),
        };
        format!("http {} {filters:?} {routes}", manager.stat_prefix)
    }
}

fn http_filter(filter: &HttpFilter) -> String {
    match &filter.config_type {
        Some(http_filter::ConfigType::TypedConfig(any)) if filter.name == "envoy.filters.http.rbac" => {
            rbac::http(&any.value)
        }
        _ => filter.name.rsplit('.').next().unwrap().to_owned(),
    }
}

fn routes(text: &mut String, indent: &str, configuration: &RouteConfiguration) {
    let _ = writeln!(text, "{indent}routes {}", configuration.name);
    for host in &configuration.virtual_hosts {
        let filters: Vec<&String> = host.typed_per_filter_config.keys().collect();
        let _ = writeln!(
            text,
            "{indent}  host {} {:?}{}",
            host.name,
            host.domains,
            if filters.is_empty() { String::new() } else { format!(" {filters:?}") }
        );
        for one in &host.routes {
            let _ = writeln!(text, "{indent}    {}", route_line(one));
        }
    }
}

fn route_line(one: &Route) -> String {
    let condition = one.r#match.as_ref().unwrap();
    let path = match condition.path_specifier.as_ref().unwrap() {
        route_match::PathSpecifier::Prefix(prefix) => format!("{prefix}*"),
        route_match::PathSpecifier::Path(path) => path.clone(),
        route_match::PathSpecifier::SafeRegex(regex) => format!("~{}", regex.regex),
        other => panic!("{other:?}"),
    };
    let mut line = format!("{}: {path}", one.name);
    for header in &condition.headers {
        let _ = write!(line, " {}", header_condition(header));
    }
    for parameter in &condition.query_parameters {
        let _ = write!(line, " ?{}={:?}", parameter.name, parameter.query_parameter_match_specifier.is_some());
    }
    let _ = write!(line, " -> {}", action(one.action.as_ref().unwrap()));
    let mut filters: Vec<&String> = one.typed_per_filter_config.keys().collect();
    filters.sort();
    if !filters.is_empty() {
        let _ = write!(line, " {filters:?}");
    }
    for option in one.request_headers_to_add.iter().chain(&one.response_headers_to_add) {
        let header = option.header.as_ref().unwrap();
        let _ = write!(line, " {}={}({})", header.key, header.value, option.append_action);
    }
    line
}

fn header_condition(header: &HeaderMatcher) -> String {
    let not = if header.invert_match { "!" } else { "" };
    match header.header_match_specifier.as_ref().unwrap() {
        header_matcher::HeaderMatchSpecifier::StringMatch(text) => {
            format!("{not}{}={}", header.name, string_match(text))
        }
        header_matcher::HeaderMatchSpecifier::PresentMatch(_) => format!("{not}{}", header.name),
        other => panic!("{other:?}"),
    }
}

fn action(action: &route::Action) -> String {
    match action {
        route::Action::Route(forward) => {
            let mut line = match forward.cluster_specifier.as_ref().unwrap() {
                route_action::ClusterSpecifier::Cluster(cluster) => cluster.clone(),
                route_action::ClusterSpecifier::WeightedClusters(weighted) => {
                    let shares =
                        weighted.clusters.iter().map(|one| format!("{}={}", one.name, one.weight.unwrap().value));
                    shares.collect::<Vec<_>>().join(" + ")
                }
                other => panic!("{other:?}"),
            };
            let timeout = forward.timeout.unwrap();
            let _ = write!(line, " timeout={}.{:03}s", timeout.seconds, timeout.nanos / 1_000_000);
            match &forward.retry_policy {
                Some(retry) => drop(write!(
                    line,
                    " retry={}x[{}]{:?}",
                    retry.num_retries.unwrap().value,
                    retry.retry_on,
                    retry.retriable_status_codes
                )),
                None => line.push_str(" no-retry"),
            }
            if !forward.prefix_rewrite.is_empty() {
                let _ = write!(line, " prefix-rewrite={}", forward.prefix_rewrite);
            }
            if let Some(rewrite) = &forward.regex_rewrite {
                let _ = write!(line, " rewrite=~{}>{}", rewrite.pattern.as_ref().unwrap().regex, rewrite.substitution);
            }
            if let Some(host) = &forward.host_rewrite_specifier {
                let _ = write!(line, " host={host:?}");
            }
            for mirror in &forward.request_mirror_policies {
                let share = mirror.runtime_fraction.as_ref().unwrap().default_value.unwrap();
                let _ = write!(line, " mirror={} {}/1000000", mirror.cluster, share.numerator);
            }
            line
        }
        route::Action::Redirect(redirect) => format!(
            "redirect {} {:?} code={}",
            redirect.host_redirect, redirect.path_rewrite_specifier, redirect.response_code
        ),
        route::Action::DirectResponse(response) => {
            format!("respond {} {:?}", response.status, response.body.as_ref().map(|body| &body.specifier))
        }
        other => panic!("{other:?}"),
    }
}
