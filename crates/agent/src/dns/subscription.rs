//! The agent's own part of Envoy's stream to the control plane: the table of names, which Envoy does not know.
//!
//! On the same stream, so that the control plane's account of the proxy says of the names, too, whether they have
//! arrived. Reads and makes messages; moves none.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc;
use prost::Message as _;
use tokio::sync::watch;

use super::names::Names;
use crate::proto::{NAME_TABLE, NameTable, ResponseType};

/// gRPC's code for a message that cannot be read.
const INVALID_ARGUMENT: i32 = 3;

/// Takes tables of names and publishes them.
#[derive(Clone, Debug)]
pub struct Subscription {
    names: Arc<watch::Sender<Option<Arc<Names>>>>,
    namespace: String,
    search: Vec<String>,
}

impl Subscription {
    /// A subscription of a pod in `namespace` with these search domains, which publishes through `names`.
    #[must_use]
    pub fn new(names: watch::Sender<Option<Arc<Names>>>, namespace: &str, search: Vec<String>) -> Self {
        Self { names: Arc::new(names), namespace: namespace.to_owned(), search }
    }

    /// The request that opens it on a stream.
    #[must_use]
    pub fn request(&self) -> Bytes {
        encoded(&DeltaDiscoveryRequest { type_url: NAME_TABLE.to_owned(), ..Default::default() })
    }

    /// Takes a response that is about names and returns its acknowledgement, or its refusal; nothing for a response that
    /// is for Envoy.
    #[must_use]
    pub fn take(&self, message: &Bytes) -> Option<Bytes> {
        // The type alone is read of what is Envoy's, which may be long.
        let kind = ResponseType::decode(message.clone()).ok()?;
        if kind.type_url != NAME_TABLE {
            return None;
        }
        let response = DeltaDiscoveryResponse::decode(message.clone()).ok()?;
        let refusal = self.publish(&response).err();
        Some(encoded(&DeltaDiscoveryRequest {
            type_url: NAME_TABLE.to_owned(),
            response_nonce: response.nonce,
            error_detail: refusal.map(|error| rpc::Status {
                code: INVALID_ARGUMENT,
                message: format!("the table of names cannot be read: {error}"),
                ..Default::default()
            }),
            ..Default::default()
        }))
    }

    fn publish(&self, response: &DeltaDiscoveryResponse) -> Result<(), prost::DecodeError> {
        let Some(any) = response.resources.iter().find_map(|resource| resource.resource.as_ref()) else {
            return Ok(());
        };
        let table = NameTable::decode(any.value.as_slice())?;
        let names = Names::of(&table, &self.namespace, &self.search);
        tracing::debug!(hosts = table.table.len(), "names are known");
        self.names.send_replace(Some(Arc::new(names)));
        Ok(())
    }
}

fn encoded(request: &DeltaDiscoveryRequest) -> Bytes {
    request.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use envoy_types::pb::envoy::service::discovery::v3::Resource;
    use envoy_types::pb::google::protobuf::Any;

    use super::*;
    use crate::dns::names::Found;
    use crate::proto::NameInfo;

    fn response(type_url: &str, value: Vec<u8>) -> Bytes {
        let any = Any { type_url: type_url.to_owned(), value };
        let resource = Resource { name: "names".to_owned(), resource: Some(any), ..Default::default() };
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            nonce: "7".to_owned(),
            resources: vec![resource],
            ..Default::default()
        };
        response.encode_to_vec().into()
    }

    #[test]
    fn a_table_is_published_and_acknowledged() {
        let (publish, names) = watch::channel(None);
        let subscription = Subscription::new(publish, "a", Vec::new());
        let info = NameInfo { ips: vec!["240.240.0.1".to_owned()], ..NameInfo::default() };
        let table = NameTable { table: BTreeMap::from([("a.global".to_owned(), info)]) };
        let answer = subscription.take(&response(NAME_TABLE, table.encode_to_vec())).unwrap();
        let answer = DeltaDiscoveryRequest::decode(answer).unwrap();
        assert_eq!((answer.response_nonce.as_str(), answer.error_detail), ("7", None));
        let names = names.borrow().clone().unwrap();
        assert!(matches!(names.find("a.global"), Found::Addresses([_])));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_what_is_envoys_is_left() {
        let (publish, names) = watch::channel(None);
        let subscription = Subscription::new(publish, "a", Vec::new());
        let answer = subscription.take(&response(NAME_TABLE, b"\xff\xff".to_vec())).unwrap();
        let answer = DeltaDiscoveryRequest::decode(answer).unwrap();
        assert!(answer.error_detail.unwrap().message.contains("cannot be read"));
        let clusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
        assert_eq!(subscription.take(&response(clusters, Vec::new())), None);
        assert!(names.borrow().is_none());
    }
}
