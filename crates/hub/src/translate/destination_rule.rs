//! DestinationRules: subsets, TLS and outlier detection of a destination, as its own cluster, its gateways and others see it.

use std::time::Duration;

use mesh_types::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, DestinationRule, OutlierDetection, TcpKeepalive, TcpSettings,
    TrafficPolicy,
};
use mesh_types::duration::IstioDuration;
use mesh_types::hub::traffic_policy::{self, TlsMode};
use mesh_types::hub::virtual_mesh;

use super::subset;
use crate::world::Subset;

/// What accepted policies say about connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionPolicy {
    /// When endpoints are taken out of use.
    pub outlier_detection: Option<traffic_policy::OutlierDetection>,
    /// TLS in the destination's own cluster.
    pub tls_mode: Option<TlsMode>,
}

/// For callers in the destination's own cluster; `None` where there is nothing to say.
pub fn local<'a>(
    host: &str,
    policy: &ConnectionPolicy,
    subsets: impl IntoIterator<Item = &'a Subset>,
) -> Option<DestinationRule> {
    let rule = DestinationRule {
        host: host.to_owned(),
        traffic_policy: traffic(TrafficPolicy {
            tls: policy.tls_mode.map(|mode| tls(mode, None)),
            outlier_detection: policy.outlier_detection.as_ref().map(outlier),
            ..TrafficPolicy::default()
        }),
        subsets: subset::entries(subsets),
        ..DestinationRule::default()
    };
    (rule.traffic_policy.is_some() || !rule.subsets.is_empty()).then_some(rule)
}

/// For the gateways in front of the destination, which need its subsets to pass calls to them through. They do not take
/// part in TLS.
pub fn at_gateway<'a>(
    host: &str,
    policy: &ConnectionPolicy,
    subsets: impl IntoIterator<Item = &'a Subset>,
) -> Option<DestinationRule> {
    let policy = ConnectionPolicy { tls_mode: None, ..policy.clone() };
    let rule = local(host, &policy, subsets)?;
    Some(DestinationRule { export_to: vec![".".to_owned()], ..rule })
}

/// For callers in other clusters. It is mutual TLS wherever a proxy takes it: nothing else passes a gateway.
pub fn remote<'a>(
    host: &str,
    mode: TlsMode,
    policy: &ConnectionPolicy,
    keepalive: Option<&virtual_mesh::TcpKeepalive>,
    subsets: impl IntoIterator<Item = &'a Subset>,
) -> DestinationRule {
    DestinationRule {
        host: host.to_owned(),
        traffic_policy: traffic(TrafficPolicy {
            tls: Some(tls(mode, None)),
            outlier_detection: policy.outlier_detection.as_ref().map(outlier),
            connection_pool: connection_pool(keepalive, None),
            ..TrafficPolicy::default()
        }),
        subsets: subset::entries(subsets),
        ..DestinationRule::default()
    }
}

fn traffic(policy: TrafficPolicy) -> Option<TrafficPolicy> {
    (policy != TrafficPolicy::default()).then_some(policy)
}

/// TLS of a mode, with a server name other than the host's own.
pub fn tls(mode: TlsMode, sni: Option<String>) -> ClientTls {
    let mode = match mode {
        TlsMode::Disable => ClientTlsMode::Disable,
        TlsMode::Simple => ClientTlsMode::Simple,
        TlsMode::IstioMutual => ClientTlsMode::IstioMutual,
    };
    ClientTls { mode, sni, ..ClientTls::default() }
}

/// With the defaults filled in: Envoy's 10 % of endpoints would eject nothing of fewer than ten.
pub fn outlier(outlier: &traffic_policy::OutlierDetection) -> OutlierDetection {
    let seconds = |seconds| IstioDuration(Duration::from_secs(seconds));
    OutlierDetection {
        consecutive_5xx_errors: Some(outlier.consecutive_errors.unwrap_or(5)),
        interval: Some(outlier.interval.unwrap_or(seconds(10))),
        base_ejection_time: Some(outlier.base_ejection_time.unwrap_or(seconds(30))),
        max_ejection_percent: Some(outlier.max_ejection_percent.unwrap_or(100)),
        ..OutlierDetection::default()
    }
}

/// Keep-alive probes on connections to other clusters, and how long connecting may take; `None` where neither is said.
pub fn connection_pool(
    keepalive: Option<&virtual_mesh::TcpKeepalive>,
    connect_timeout: Option<Duration>,
) -> Option<ConnectionPool> {
    let tcp_keepalive = keepalive.cloned().map(|virtual_mesh::TcpKeepalive { probes, time, interval }| TcpKeepalive {
        probes,
        time,
        interval,
    });
    let connect_timeout = connect_timeout.map(IstioDuration);
    let tcp = TcpSettings { tcp_keepalive, connect_timeout, ..TcpSettings::default() };
    (tcp != TcpSettings::default()).then_some(ConnectionPool { tcp: Some(tcp), http: None })
}
