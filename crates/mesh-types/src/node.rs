//! What a proxy says about itself when it connects: node id and metadata.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Whether a proxy stands beside an application or at an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeType {
    /// Beside an application.
    Sidecar,
    /// At an edge of a network.
    Router,
}

/// The four parts of a node id, `<type>~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeId {
    /// Kind of proxy.
    pub node_type: NodeType,
    /// Address, used where the metadata has none.
    pub ip: String,
    /// Name of the pod.
    pub pod: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// DNS domain of the cluster (`cluster.local`).
    pub domain: String,
}

/// Why a text is not a node id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANodeId {
    /// There are not four parts.
    #[error("node id `{0}` is not of the form type~ip~pod.namespace~namespace.svc.domain")]
    Form(String),
    /// The first part names no type of proxy that is served.
    #[error("node id `{id}` has type `{node_type}`; only sidecar and router are served")]
    Type {
        /// The whole id.
        id: String,
        /// Its first part.
        node_type: String,
    },
}

impl NodeId {
    /// Takes a node id apart.
    pub fn parse(id: &str) -> Result<Self, NotANodeId> {
        let form = || NotANodeId::Form(id.to_owned());
        let [node_type, ip, name, dns] = id.split('~').collect::<Vec<_>>().try_into().map_err(|_| form())?;
        let node_type = match node_type {
            "sidecar" => NodeType::Sidecar,
            "router" => NodeType::Router,
            other => return Err(NotANodeId::Type { id: id.to_owned(), node_type: other.to_owned() }),
        };
        let (pod, namespace) = name.rsplit_once('.').ok_or_else(form)?;
        let domain = dns.split_once(".svc.").map_or("cluster.local", |(_, domain)| domain);
        Ok(Self {
            node_type,
            ip: ip.to_owned(),
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            domain: domain.to_owned(),
        })
    }
}

/// The metadata of a proxy, as JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeMetadata(pub Map<String, Value>);

impl NodeMetadata {
    /// A text, or nothing where it is absent or empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// `LABELS`: the labels of the pod.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.0.get("LABELS").and_then(Value::as_object);
        labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// `INSTANCE_IPS`: the addresses of the proxy, the main one first.
    pub fn instance_ips(&self) -> Vec<String> {
        let ips = self.text("INSTANCE_IPS").unwrap_or_default();
        ips.split(',').map(str::trim).filter(|ip| !ip.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_come_apart() {
        let id = NodeId::parse("sidecar~10.244.0.5~reviews-v1-x.bookinfo~bookinfo.svc.cluster.local").unwrap();
        assert_eq!(
            (id.pod.as_str(), id.namespace.as_str(), id.domain.as_str()),
            ("reviews-v1-x", "bookinfo", "cluster.local")
        );
        assert!(matches!(NodeId::parse("ztunnel~1~a.b~b.svc.cluster.local"), Err(NotANodeId::Type { .. })));
        assert!(matches!(NodeId::parse("sidecar"), Err(NotANodeId::Form(_))));
    }
}
