//! What a traffic policy makes of a cluster: load balancing, limits, outlier detection.

use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::LbPolicy;
use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{HttpProtocolOptions, http_protocol_options};
use envoy_types::pb::envoy::r#type::v3::Percent;
use mesh_types::destination_rule::{
    ConnectionPool, H2UpgradePolicy, OutlierDetection, SimpleLoadBalancer, TcpKeepalive,
};

use super::destination::Destination;
use super::{cluster, endpoint, pb};
use crate::model::Protocol;

pub(super) fn apply(cluster: &mut Cluster, destination: &Destination<'_>) {
    let policy = &destination.policy;
    balance(cluster, destination);
    let mut options = cluster::http_options(spoken(destination));
    if let Some(pool) = &policy.connection_pool {
        limit(cluster, pool);
        let http = pool.http.clone().unwrap_or_default();
        let common = core::HttpProtocolOptions {
            idle_timeout: http.idle_timeout.map(|timeout| pb::duration(timeout.0)),
            max_requests_per_connection: http.max_requests_per_connection.filter(|count| *count > 0).map(pb::count),
            max_connection_duration: pool
                .tcp
                .as_ref()
                .and_then(|tcp| tcp.max_connection_duration)
                .map(|duration| pb::duration(duration.0)),
            ..Default::default()
        };
        if let Some(options) = options.as_mut().filter(|_| common != core::HttpProtocolOptions::default()) {
            options.common_http_protocol_options = Some(common);
        }
        if let (Some(options), Some(most)) = (&mut options, http.max_concurrent_streams.filter(|most| *most > 0)) {
            limit_streams(options, most);
        }
    }
    cluster::set_http_options(cluster, options);
    if let Some(outlier) = &policy.outlier_detection {
        detect_outliers(cluster, outlier);
    }
}

/// What is spoken with a service: what its port says, unless the pool's settings say otherwise.
fn spoken(destination: &Destination<'_>) -> Protocol {
    let declared = destination.port.protocol;
    let Some(http) = destination.policy.connection_pool.as_ref().and_then(|pool| pool.http.as_ref()) else {
        return declared;
    };
    match declared {
        Protocol::Http | Protocol::Http2 if http.use_client_protocol == Some(true) => Protocol::Auto,
        Protocol::Http if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade => Protocol::Http2,
        _ => declared,
    }
}

fn limit_streams(options: &mut HttpProtocolOptions, most: i32) {
    use http_protocol_options::{UpstreamProtocolOptions, explicit_http_config::ProtocolConfig};
    let http2 = match &mut options.upstream_protocol_options {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => match &mut explicit.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(http2)) => Some(http2),
            _ => None,
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(both)) => both.http2_protocol_options.as_mut(),
        _ => None,
    };
    if let Some(http2) = http2 {
        http2.max_concurrent_streams = Some(pb::count(most));
    }
}

fn balance(cluster: &mut Cluster, destination: &Destination<'_>) {
    let simple = destination.policy.load_balancer.as_ref().and_then(|balancer| balancer.simple);
    if cluster.lb_policy != LbPolicy::ClusterProvided as i32 {
        cluster.lb_policy = match simple {
            Some(SimpleLoadBalancer::RoundRobin) => LbPolicy::RoundRobin,
            Some(SimpleLoadBalancer::Random) => LbPolicy::Random,
            _ => LbPolicy::LeastRequest,
        } as i32;
    }
    if endpoint::weighs_localities(destination)
        && let Some(common) = &mut cluster.common_lb_config
    {
        common.locality_config_specifier =
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}));
    }
}

fn limit(cluster: &mut Cluster, pool: &ConnectionPool) {
    let thresholds = cluster.circuit_breakers.as_mut().and_then(|breakers| breakers.thresholds.first_mut());
    if let Some(thresholds) = thresholds {
        let positive = |count: Option<i32>| count.filter(|count| *count > 0).map(pb::count);
        let http = pool.http.clone().unwrap_or_default();
        let connections = pool.tcp.as_ref().and_then(|tcp| tcp.max_connections);
        thresholds.max_connections = positive(connections).or(thresholds.max_connections.take());
        thresholds.max_pending_requests =
            positive(http.http1_max_pending_requests).or(thresholds.max_pending_requests.take());
        thresholds.max_requests = positive(http.http2_max_requests).or(thresholds.max_requests.take());
        thresholds.max_retries = positive(http.max_retries).or(thresholds.max_retries.take());
    }
    let Some(tcp) = &pool.tcp else { return };
    if let Some(timeout) = tcp.connect_timeout {
        cluster.connect_timeout = Some(pb::duration(timeout.0));
    }
    if let Some(keepalive) = &tcp.tcp_keepalive {
        cluster.upstream_connection_options =
            Some(envoy::UpstreamConnectionOptions { tcp_keepalive: Some(probes(keepalive)), ..Default::default() });
    }
}

fn probes(keepalive: &TcpKeepalive) -> core::TcpKeepalive {
    let seconds =
        |duration: mesh_types::IstioDuration| pb::uint(u32::try_from(duration.0.as_secs()).unwrap_or(u32::MAX));
    core::TcpKeepalive {
        keepalive_probes: keepalive.probes.map(pb::uint),
        keepalive_time: keepalive.time.map(seconds),
        keepalive_interval: keepalive.interval.map(seconds),
    }
}

fn detect_outliers(cluster: &mut Cluster, outlier: &OutlierDetection) {
    let enforced = |errors: Option<u32>| errors.map(|errors| pb::uint(if errors > 0 { 100 } else { 0 }));
    let split = outlier.split_external_local_origin_errors.unwrap_or_default();
    let local = outlier.consecutive_local_origin_failures.filter(|_| split);
    cluster.outlier_detection = Some(envoy::OutlierDetection {
        consecutive_5xx: outlier.consecutive_5xx_errors.map(pb::uint),
        enforcing_consecutive_5xx: enforced(outlier.consecutive_5xx_errors),
        consecutive_gateway_failure: outlier.consecutive_gateway_errors.map(pb::uint),
        enforcing_consecutive_gateway_failure: enforced(outlier.consecutive_gateway_errors),
        consecutive_local_origin_failure: local.map(pb::uint),
        enforcing_consecutive_local_origin_failure: enforced(local),
        split_external_local_origin_errors: split,
        interval: outlier.interval.map(|interval| pb::duration(interval.0)),
        base_ejection_time: outlier.base_ejection_time.map(|time| pb::duration(time.0)),
        max_ejection_percent: outlier.max_ejection_percent.map(pb::count),
        enforcing_success_rate: Some(pb::uint(0)),
        enforcing_local_origin_success_rate: split.then(|| pb::uint(0)),
        ..Default::default()
    });
    if let Some(common) = &mut cluster.common_lb_config {
        // Without a share of its own Istio switches the panic mode off, in which Envoy uses ejected endpoints too.
        let percent = f64::from(outlier.min_health_percent.unwrap_or_default());
        common.healthy_panic_threshold = Some(Percent { value: percent });
        // Envoy collects changes of health for a second before its workers see them, in which a host that is out of use
        // still gets requests.
        common.update_merge_window = Some(pb::seconds(0));
    }
}
