//! What the harness and the substrate do with a Docker engine: find it, agree on a version of its API, label what is made
//! there, and remove exactly that.
//!
//! Knows no machine, no cluster and no mesh. Only engines behind a Unix socket of this machine are used: links are
//! plugged into their containers.

mod engine;
mod error;
pub mod labels;
mod lease;
mod things;
mod version;

pub use bollard;
pub use engine::{Engine, socket};
pub use error::Error;
pub use lease::Lease;
pub use things::{Kind, Thing};
pub use version::ApiVersion;
