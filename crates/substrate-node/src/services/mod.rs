//! Services of one cluster: from Service and EndpointSlice objects to the node's routing rules and to DNS.
//!
//! [`ServiceTable::build`] and [`render_rules`] are pure; `install` runs `nft`; [`Synchronizer`] keeps rules
//! and DNS current from an API server. Traffic is translated by the kernel, without a hop through user space.

mod conntrack;
#[cfg(test)]
pub(crate) mod fixtures;
mod install;
mod rules;
mod sync;
mod table;

pub(crate) use conntrack::{datagram_endpoints, forget};
pub use install::nft_program;
pub(crate) use install::{install_rules, list_rules};
pub use rules::{NodeRules, render_rules};
pub use sync::Synchronizer;
pub(crate) use table::slices_by_service;
pub use table::{PortEntry, Protocol, ServiceEntry, ServiceTable};
