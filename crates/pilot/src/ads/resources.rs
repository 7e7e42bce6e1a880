//! Encoded resources with versions that depend on nothing but their content.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::{Message, Name};
use sha2::{Digest, Sha256};

use super::{Type, name_table};
use crate::translate::Translation;

/// A resource as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Hash of the content, hexadecimal. A control plane that starts anew gives the same content the same version.
    pub version: String,
    /// The content.
    pub any: Any,
}

impl Encoded {
    fn new<T: Name + Message>(message: T) -> Arc<Self> {
        let any = pack_any(message);
        Arc::new(Self { version: hash(&[&any.value]), any })
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    let mut text = String::new();
    for byte in &hasher.finalize()[..8] {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Resources of one type by name.
pub type Table = BTreeMap<String, Arc<Encoded>>;

/// Everything that a proxy is to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    tables: [Table; 6],
}

impl Resources {
    /// Encodes a translation.
    pub fn encode(translation: Translation) -> Self {
        let mut tables = <[Table; 6]>::default();
        tables[Type::Cds.index()] =
            translation.clusters.into_iter().map(|one| (one.name.clone(), Encoded::new(one))).collect();
        tables[Type::Eds.index()] =
            translation.endpoints.into_iter().map(|one| (one.cluster_name.clone(), Encoded::new(one))).collect();
        tables[Type::Lds.index()] =
            translation.listeners.into_iter().map(|one| (one.name.clone(), Encoded::new(one))).collect();
        tables[Type::Rds.index()] =
            translation.routes.into_iter().map(|one| (one.name.clone(), Encoded::new(one))).collect();
        tables[Type::Sds.index()] =
            translation.secrets.into_iter().map(|one| (one.name.clone(), Encoded::new(one))).collect();
        tables[Type::Nds.index()] =
            translation.names.into_iter().map(|one| (name_table::RESOURCE.to_owned(), Encoded::new(one))).collect();
        Self { tables }
    }

    /// These resources and others.
    pub fn with(mut self, others: &Self) -> Self {
        for (table, more) in self.tables.iter_mut().zip(&others.tables) {
            table.extend(more.iter().map(|(name, one)| (name.clone(), Arc::clone(one))));
        }
        self
    }

    /// The resources of a type.
    pub fn table(&self, kind: Type) -> &Table {
        &self.tables[kind.index()]
    }

    /// A hash of the versions of a type.
    pub fn fingerprint(&self, kind: Type) -> String {
        let parts: Vec<&[u8]> =
            self.table(kind).iter().flat_map(|(name, one)| [name.as_bytes(), one.version.as_bytes()]).collect();
        hash(&parts)
    }
}

/// What is answered for a name that nobody knows. A proxy waits for every name that it asks for, so there is always
/// an answer: no endpoints, or no routes. Of a secret it is said that it does not exist.
pub fn unknown(kind: Type, name: &str) -> Option<Arc<Encoded>> {
    match kind {
        Type::Eds => Some(Encoded::new(ClusterLoadAssignment { cluster_name: name.to_owned(), ..Default::default() })),
        Type::Rds => Some(Encoded::new(RouteConfiguration { name: name.to_owned(), ..Default::default() })),
        Type::Cds | Type::Lds | Type::Sds | Type::Nds => None,
    }
}
