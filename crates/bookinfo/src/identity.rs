//! Who serves: the identity that every answer carries, and its form as a response header.

use serde::{Deserialize, Serialize};

/// Response header that carries [`ServedBy`] in its header form.
pub const SERVED_BY_HEADER: &str = "x-served-by";

/// File in which Kubernetes tells a pod its namespace, when no environment variable does.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The server that gave an answer. What it does not know of itself is `None`, and `null` in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServedBy {
    /// Name of the service, such as `reviews`.
    pub service: Option<String>,
    /// Version of the service, such as `v3`.
    pub version: Option<String>,
    /// Name of the pod: `POD_NAME`, else the host name.
    pub pod: Option<String>,
    /// Namespace of the pod.
    pub namespace: Option<String>,
    /// Cluster that runs the pod: `CLUSTER_NAME`.
    pub cluster: Option<String>,
    /// Mesh network of the cluster: `NETWORK_NAME`.
    pub network: Option<String>,
    /// Node that runs the pod: `NODE_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl ServedBy {
    /// Reads the identity of this process from its environment.
    pub fn from_environment(service: &str, version: &str, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| lookup(name).filter(|value| !value.is_empty());
        Self {
            service: Some(service.to_owned()),
            version: Some(version.to_owned()),
            pod: variable("POD_NAME").or_else(|| variable("HOSTNAME")).or_else(hostname),
            namespace: variable("POD_NAMESPACE").or_else(namespace_from_file),
            cluster: variable("CLUSTER_NAME"),
            network: variable("NETWORK_NAME"),
            node: variable("NODE_NAME"),
        }
    }

    /// Reads where a client runs from its environment.
    pub fn of_client(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self { service: None, version: None, ..Self::from_environment("", "", lookup) }
    }

    /// The header form: `service=reviews;version=v3;pod=…;namespace=…;cluster=…;network=…`, without what is unknown.
    pub fn to_header(&self) -> String {
        let fields = [
            ("service", &self.service),
            ("version", &self.version),
            ("pod", &self.pod),
            ("namespace", &self.namespace),
            ("cluster", &self.cluster),
            ("network", &self.network),
            ("node", &self.node),
        ];
        let known = fields.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        known.collect::<Vec<_>>().join(";")
    }

    /// Reads the header form. Keys that it does not know are passed over, so that a newer server may add some.
    pub fn from_header(header: &str) -> Self {
        let mut served_by = Self::default();
        for (key, value) in header.split(';').filter_map(|field| field.split_once('=')) {
            let slot = match key.trim() {
                "service" => &mut served_by.service,
                "version" => &mut served_by.version,
                "pod" => &mut served_by.pod,
                "namespace" => &mut served_by.namespace,
                "cluster" => &mut served_by.cluster,
                "network" => &mut served_by.network,
                "node" => &mut served_by.node,
                _ => continue,
            };
            *slot = Some(value.trim().to_owned());
        }
        served_by
    }
}

fn hostname() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

fn namespace_from_file() -> Option<String> {
    let text = std::fs::read_to_string(NAMESPACE_FILE).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        let value = match name {
            "POD_NAME" => "reviews-v3-7d9",
            "POD_NAMESPACE" => "bookinfo",
            "CLUSTER_NAME" => "cluster2",
            "NETWORK_NAME" => "",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn an_empty_variable_counts_as_unknown() {
        let served_by = ServedBy::from_environment("reviews", "v3", environment);
        assert_eq!(served_by.pod.as_deref(), Some("reviews-v3-7d9"));
        assert_eq!(served_by.cluster.as_deref(), Some("cluster2"));
        assert_eq!(served_by.network, None);
    }

    #[test]
    fn the_header_form_leaves_out_what_is_unknown_and_reads_back_the_same() {
        let served_by = ServedBy::from_environment("reviews", "v3", environment);
        let header = served_by.to_header();
        assert_eq!(header, "service=reviews;version=v3;pod=reviews-v3-7d9;namespace=bookinfo;cluster=cluster2");
        assert_eq!(ServedBy::from_header(&header), served_by);
    }

    #[test]
    fn a_header_with_unknown_keys_is_still_read() {
        let served_by = ServedBy::from_header("version=v1; zone=a;nonsense;pod=p");
        assert_eq!((served_by.version.as_deref(), served_by.pod.as_deref()), (Some("v1"), Some("p")));
    }
}
