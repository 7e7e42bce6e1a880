//! Which configuration the proxies of the cluster have acknowledged, told by its control planes. [`account`] is pure; [`follow`]
//! asks every pod of the control plane, which answers when there is something new.

pub mod account;
pub mod follow;

pub use account::{Row, Table, changes, judge};
