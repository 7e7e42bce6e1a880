//! The fields of Istio's definitions that have no effect here, by path without indices: those that our types leave out,
//! and those that they have, so that their form is checked, and no translator reads.

use crate::kind::Kind;

/// Whether Istio's definition of `kind` has the field at `path`.
pub(crate) fn is_known(kind: Kind, path: &str) -> bool {
    let fields: &[&str] = match kind {
        Kind::Gateway => GATEWAY,
        Kind::VirtualService => VIRTUAL_SERVICE,
        Kind::DestinationRule => {
            return path == "spec.workloadSelector"
                || in_traffic_policy(path).is_some_and(|inner| TRAFFIC_POLICY.contains(&inner));
        }
        Kind::ServiceEntry | Kind::WorkloadEntry | Kind::WorkloadGroup | Kind::PeerAuthentication => &[],
        Kind::AuthorizationPolicy => &["spec.targetRef", "spec.targetRefs"],
    };
    fields.contains(&path)
}

/// Whether our type of `kind` has the field at `path` and no translator reads it.
pub(crate) fn is_only_stored(kind: Kind, path: &str) -> bool {
    match kind {
        Kind::DestinationRule => in_traffic_policy(path).is_some_and(|inner| TRAFFIC_POLICY_STORED.contains(&inner)),
        Kind::AuthorizationPolicy => path == "spec.provider.name",
        // A group with an address is refused.
        Kind::WorkloadGroup => path == "spec.template.address",
        Kind::Gateway | Kind::VirtualService | Kind::ServiceEntry | Kind::WorkloadEntry | Kind::PeerAuthentication => {
            false
        }
    }
}

const GATEWAY: &[&str] = &[
    "spec.servers.bind",
    "spec.servers.defaultEndpoint",
    "spec.servers.port.targetPort",
    "spec.servers.tls.caCertCredentialName",
    "spec.servers.tls.caCertificates",
    "spec.servers.tls.caCrl",
    "spec.servers.tls.credentialNames",
    "spec.servers.tls.privateKey",
    "spec.servers.tls.serverCertificate",
    "spec.servers.tls.tlsCertificates",
    "spec.servers.tls.verifyCertificateHash",
    "spec.servers.tls.verifyCertificateSpki",
];

const VIRTUAL_SERVICE: &[&str] = &[
    "spec.tcp",
    "spec.tls.match.destinationSubnets",
    "spec.tls.match.sourceLabels",
    "spec.tls.match.sourceNamespace",
    "spec.http.corsPolicy.allowOrigin",
    "spec.http.delegate",
    "spec.http.fault.abort.http2Error",
    "spec.http.fault.delay.exponentialDelay",
    "spec.http.fault.delay.percent",
    "spec.http.match.statPrefix",
    "spec.http.mirrorPercent",
    "spec.http.mirror_percent",
];

/// The rest of a path below a traffic policy, which stands at four places of a DestinationRule with the same fields.
fn in_traffic_policy(path: &str) -> Option<&str> {
    let places = [
        "spec.trafficPolicy.portLevelSettings.",
        "spec.subsets.trafficPolicy.portLevelSettings.",
        "spec.trafficPolicy.",
        "spec.subsets.trafficPolicy.",
    ];
    places.iter().find_map(|place| path.strip_prefix(place))
}

const TRAFFIC_POLICY_STORED: &[&str] = &["connectionPool.tcp.idleTimeout"];

const TRAFFIC_POLICY: &[&str] = &[
    "loadBalancer.consistentHash",
    "loadBalancer.warmup",
    "loadBalancer.warmupDurationSecs",
    "outlierDetection.consecutiveErrors",
    "proxyProtocol",
    "retryBudget",
    "tls.caCrl",
    "tls.credentialName",
    "tls.insecureSkipVerify",
    "tunnel",
];
