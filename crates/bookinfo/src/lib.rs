//! The sample applications of meshproof, and the probe that measures a mesh from inside a pod.
//!
//! One program plays every part of Istio's bookinfo (`productpage`, `details`, `reviews`, `ratings`), an `echo`
//! server and the `probe` client. Every answer says which pod, version, cluster and network served it, and which peer
//! identity the server's proxy vouched for; a caller nests what its own upstreams said, so that one answer of
//! productpage shows every hop.
//!
//! The applications know no mesh: they read headers and environment variables, and speak plain HTTP; `echo` also speaks gRPC,
//! WebSocket, TCP and TLS of its own.

use std::process::ExitCode;

mod cli;
pub mod context;
pub mod forward;
pub mod grpc;
pub mod hop;
pub mod identity;
pub mod line;
pub mod metrics;
pub mod probe;
pub mod resolver;
pub mod respond;
pub mod server;
pub mod services;
pub mod storm;
pub mod streams;
pub mod upstream;
pub mod xfcc;

/// Parses the command line and runs the chosen part. Ends with 0, with 1 on an error, or with 2 on wrong usage.
pub fn main() -> ExitCode {
    cli::main()
}
