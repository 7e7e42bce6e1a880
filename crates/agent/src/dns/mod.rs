//! DNS beside the application: names that the control plane says, and everything else as the pod's resolvers say.
//!
//! Queries of the application are led here by the capture rules. Names of ServiceEntries exist nowhere else.
//! [`names`] and [`answer`] are pure; [`server`] moves the messages; [`upstream`] asks the resolvers; [`subscription`]
//! learns the names.

pub mod answer;
pub mod names;
pub mod resolv_conf;
pub mod server;
pub mod subscription;
pub mod upstream;

use std::sync::Arc;

use tokio::sync::watch;

pub use names::Names;
pub use resolv_conf::ResolvConf;
pub use subscription::Subscription;

/// The latest names; nothing before the control plane has said any.
pub type NamesWatch = watch::Receiver<Option<Arc<Names>>>;
