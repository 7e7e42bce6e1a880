//! A Kubernetes-compatible API server that lives in one process: a watchable store behind the Kubernetes HTTP API.
//!
//! It runs no controllers and no pods: Deployments, addresses of load balancers, garbage collection and the like are
//! the work of others, who use this API like everybody else. It knows no service mesh. State lives in memory and ends
//! with the process.
//!
//! | module | what |
//! |---|---|
//! | `server`, `serve`, `client` | [`ApiServer`]: start, listen, in-process client |
//! | `http` | request to verb, bodies, representations, discovery |
//! | `verbs` | create, get, list, watch, update, patch, delete and the special subresources |
//! | `registry`, `kinds` | which resources there are; defaults and validation of each kind |
//! | `protobuf` | reading bodies that Go clients send |
//! | `store` | objects, revisions, windows of changes |
//! | `admission` | builtin admission and webhooks |
//! | `authentication`, `authorization` | who asks, and whether they may |
//! | `streaming` | exec, attach, port-forward, logs |
//! | `patch`, `schema`, `selectors`, `rbac`, `table`, `openapi` | pure functions over JSON |

mod admission;
mod allocation;
mod authentication;
mod authorization;
mod backend;
mod bootstrap;
mod client;
mod http;
mod kinds;
mod object;
mod pause;
mod pki;
mod protobuf;
mod registry;
mod serve;
mod server;
mod status;
mod store;
mod streaming;
mod validation;
mod verbs;

pub mod openapi;
pub mod patch;
pub mod rbac;
pub mod schema;
pub mod selectors;
pub mod table;

pub use crate::http::kubernetes_version;
pub use allocation::{Subnet, SubnetError};
pub use backend::{Dialer, ExecOptions, ExecSession, LogOptions, NodeBackend, NodeError, PodRef};
pub use pause::Pause;
pub use server::{ApiServer, ApiServerConfig, Error};
