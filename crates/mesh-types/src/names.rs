//! Labels, annotations, ports and object names that Istio's installations share.

/// Network of a pod, a namespace or a gateway Service.
pub const LABEL_NETWORK: &str = "topology.istio.io/network";
/// Cluster that an endpoint belongs to.
pub const LABEL_CLUSTER: &str = "topology.istio.io/cluster";
/// Subzone of a node.
pub const LABEL_SUBZONE: &str = "topology.istio.io/subzone";
/// Region of a node.
pub const LABEL_REGION: &str = "topology.kubernetes.io/region";
/// Zone of a node.
pub const LABEL_ZONE: &str = "topology.kubernetes.io/zone";
/// Locality of a pod, `region.zone.subzone`, instead of its node's.
pub const LABEL_LOCALITY: &str = "topology.istio.io/locality";
/// The older spelling of [`LABEL_LOCALITY`].
pub const LABEL_LOCALITY_LEGACY: &str = "istio-locality";
/// Says that a pod's proxy takes mutual TLS, by the value [`TLS_MODE_ISTIO`].
pub const LABEL_TLS_MODE: &str = "security.istio.io/tlsMode";
/// Value of [`LABEL_TLS_MODE`] on injected pods.
pub const TLS_MODE_ISTIO: &str = "istio";
/// Port of a network's gateway for traffic from other networks, where it is not [`PORT_AUTO_PASSTHROUGH`].
pub const LABEL_GATEWAY_PORT: &str = "networking.istio.io/gatewayPort";
/// Annotation of the namespace of the mesh: the clusters whose control planes serve this one, which has none of its own.
pub const ANNOTATION_CONTROL_PLANE_CLUSTERS: &str = "topology.istio.io/controlPlaneClusters";
/// Marks secrets that hold kubeconfigs of other clusters.
pub const LABEL_MULTI_CLUSTER: &str = "istio/multiCluster";

/// Says on a WorkloadEntry which WorkloadGroup it was registered from.
pub const ANNOTATION_REGISTERED_FROM: &str = "istio.io/autoRegistrationGroup";
/// Says on a WorkloadEntry which instance of the control plane its workload is connected to.
pub const ANNOTATION_WORKLOAD_CONTROLLER: &str = "istio.io/workloadController";
/// Says on a WorkloadEntry since when its workload is connected, RFC 3339.
pub const ANNOTATION_CONNECTED_AT: &str = "istio.io/connectedAt";
/// Says on a WorkloadEntry since when its workload is no longer connected, RFC 3339.
pub const ANNOTATION_DISCONNECTED_AT: &str = "istio.io/disconnectedAt";
/// Says on a WorkloadEntry, by `true`, that it has endpoints only while its workload says that it is healthy.
pub const ANNOTATION_HEALTH_CHECKED: &str = "proxy.istio.io/health-checks-enabled";
/// Type of the condition in a WorkloadEntry's status that says whether its workload is healthy.
pub const CONDITION_HEALTHY: &str = "Healthy";

/// Name of the gateway that stands for every sidecar of the mesh.
pub const GATEWAY_MESH: &str = "mesh";

/// Port of Envoy's capture of outbound connections.
pub const PORT_OUTBOUND: u16 = 15001;
/// Port of Envoy's capture of inbound connections.
pub const PORT_INBOUND: u16 = 15006;
/// Port of istiod for xDS and certificates over TLS.
pub const PORT_XDS_TLS: u16 = 15012;
/// Port of istiod for metrics and debugging.
pub const PORT_MONITORING: u16 = 15014;
/// Port of istiod for webhooks.
pub const PORT_WEBHOOK: u16 = 15017;
/// Port of a gateway for mutual TLS that it passes through by server name.
pub const PORT_AUTO_PASSTHROUGH: u16 = 15443;
/// Port of istiod for readiness.
pub const PORT_READY: u16 = 8080;

/// Name that Envoy's certificate has over SDS.
pub const SDS_CERTIFICATE: &str = "default";
/// Name that the roots of trust have over SDS.
pub const SDS_ROOT: &str = "ROOTCA";
/// In the place of a file with authorities: those of the proxy's own system, as in Istio.
pub const SYSTEM_AUTHORITIES: &str = "system";
/// Envoy cluster of the agent's SDS server.
pub const CLUSTER_SDS: &str = "sds-grpc";

/// The application protocols that a mesh client offers inside mutual TLS, all of them.
pub const ALPN_ALL_ISTIO: [&str; 5] = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Those of [`ALPN_ALL_ISTIO`] that say the stream inside is HTTP.
pub const ALPN_ISTIO_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// Those of [`ALPN_ALL_ISTIO`] that say the stream inside is opaque.
pub const ALPN_ISTIO_TCP: [&str; 2] = ["istio-peer-exchange", "istio"];
/// What Envoy's HTTP inspector finds in plain text.
pub const ALPN_PLAINTEXT_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// `outbound|<port>|<subset>|<host>`: the cluster that a proxy sends a service's traffic to.
pub fn outbound_cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// `inbound|<port>||`: the cluster of the application beside the proxy.
pub fn inbound_cluster(port: u16) -> String {
    format!("inbound|{port}||")
}

/// `outbound_.<port>_.<subset>_.<host>`: server name of mutual TLS between proxies, and the name of the cluster that a
/// gateway passes such a connection to.
pub fn sni_name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}
