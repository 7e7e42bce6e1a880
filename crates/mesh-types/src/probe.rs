//! The probe of a WorkloadGroup: how the agent of each member finds out whether its application is healthy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::is_default;

/// One of the four checks, and how often it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Seconds from the start of the agent to the first attempt.
    #[serde(skip_serializing_if = "is_default")]
    pub initial_delay_seconds: u32,
    /// Seconds for one attempt, 1 where none is given.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout_seconds: u32,
    /// Seconds from one attempt to the next, 10 where none is given.
    #[serde(skip_serializing_if = "is_default")]
    pub period_seconds: u32,
    /// Attempts in a row that make it healthy, 1 where none is given.
    #[serde(skip_serializing_if = "is_default")]
    pub success_threshold: u32,
    /// Attempts in a row that make it unhealthy, 1 where none is given.
    #[serde(skip_serializing_if = "is_default")]
    pub failure_threshold: u32,
    /// A request that has to be answered with a status below 400.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// A port that has to take connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// A command that has to end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// A server that has to say by gRPC that it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
}

impl Probe {
    /// How many checks it has; one is right.
    pub fn checks(&self) -> usize {
        [self.http_get.is_some(), self.tcp_socket.is_some(), self.exec.is_some(), self.grpc.is_some()]
            .into_iter()
            .filter(|given| *given)
            .count()
    }
}

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpGet {
    /// Path, `/` where none is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Port.
    pub port: u32,
    /// Host, the machine itself where none is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// `HTTP` or `HTTPS`, `HTTP` where none is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Headers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<Header>,
}

/// A header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TcpSocket {
    /// Host, the machine itself where none is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Port.
    pub port: u32,
}

/// A command on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Exec {
    /// Program and arguments; no shell.
    pub command: Vec<String>,
}

/// A health check by gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Grpc {
    /// Port.
    pub port: u32,
    /// Service asked about; the server as a whole where none is given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
}
