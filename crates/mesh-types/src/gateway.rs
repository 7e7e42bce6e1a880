//! Gateway: the ports and hosts that the proxies of a gateway open.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::object::Resource;

/// Specification of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gateway {
    /// Labels of the pods that it configures.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// The servers that it opens.
    #[serde(default)]
    pub servers: Vec<Server>,
}

/// One port with the hosts served on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// The port, numbered as in the gateway's Service.
    pub port: Port,
    /// Hosts, each with an optional namespace before it (`bookinfo/*.example.org`).
    pub hosts: Vec<String>,
    /// TLS on this port; absent is plain text.
    pub tls: Option<ServerTls>,
    /// Name of the server; it changes nothing.
    pub name: Option<String>,
}

/// A port of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Port {
    /// Port number of the gateway's Service.
    pub number: u32,
    /// `HTTP`, `HTTP2`, `GRPC`, `HTTPS`, `TCP` or `TLS`.
    pub protocol: String,
    /// A label of the port.
    pub name: String,
}

/// TLS of a gateway's server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// What the gateway does with TLS.
    pub mode: Option<ServerTlsMode>,
    /// Answer plain-text requests with a redirection to https.
    pub https_redirect: Option<bool>,
    /// Secret in the gateway's namespace with certificate and key (`tls.crt`, `tls.key`), and the authority of clients
    /// (`ca.crt`), which may also be in a Secret with `-cacert` behind the name.
    pub credential_name: Option<String>,
    /// Names that client certificates may have; none accepts every name.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
    /// Oldest version of TLS.
    #[serde(default, skip_serializing_if = "crate::object::is_default")]
    pub min_protocol_version: TlsVersion,
    /// Newest version of TLS.
    #[serde(default, skip_serializing_if = "crate::object::is_default")]
    pub max_protocol_version: TlsVersion,
    /// Cipher suites of TLS 1.2 and older, by OpenSSL's names; none are Envoy's own.
    #[serde(default)]
    pub cipher_suites: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// 1.2 as the oldest, 1.3 as the newest.
    #[default]
    #[serde(rename = "TLS_AUTO")]
    Auto,
    /// TLS 1.0.
    #[serde(rename = "TLSV1_0")]
    V10,
    /// TLS 1.1.
    #[serde(rename = "TLSV1_1")]
    V11,
    /// TLS 1.2.
    #[serde(rename = "TLSV1_2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "TLSV1_3")]
    V13,
}

/// What a gateway does with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServerTlsMode {
    /// Route by server name to a host of a VirtualService without terminating TLS.
    Passthrough,
    /// Terminate TLS.
    Simple,
    /// Terminate mutual TLS.
    Mutual,
    /// Pass mutual TLS of the mesh through to the service that its server name names.
    AutoPassthrough,
    /// Terminate mutual TLS of the mesh.
    IstioMutual,
    /// Terminate TLS and ask for a client certificate.
    OptionalMutual,
}

impl Resource for Gateway {
    const KIND: Kind = Kind::Gateway;
}
