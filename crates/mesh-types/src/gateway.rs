//! Gateway: the ports and hosts that the proxies of a gateway open.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kind::Kind;
use crate::object::Resource;

/// Specification of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
pub struct Gateway {
    /// Labels of the pods that it configures.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// The servers that it opens.
    #[serde(default)]
    pub servers: Vec<Server>,
}

/// One port with the hosts served on it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
pub struct Port {
    /// Port number of the gateway's Service.
    pub number: u32,
    /// `HTTP`, `HTTP2`, `GRPC`, `HTTPS`, `TCP` or `TLS`.
    pub protocol: String,
    /// A label of the port.
    pub name: String,
}

/// TLS of a gateway's server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// What the gateway does with TLS.
    pub mode: Option<ServerTlsMode>,
    /// Answer plain-text requests with a redirection to https.
    pub https_redirect: Option<bool>,
}

/// What a gateway does with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
