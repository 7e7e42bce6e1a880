//! Signs the authorities of meshes, and changes roots without a moment at which two members do not trust each other.
//!
//! [`plan`] decides, [`stored`] is what is remembered in a Secret of the management cluster, [`run`] watches and writes, and
//! [`progress`] is what people are told.
//!
//! A root changes in three phases, each of which waits until every member is done with the one before: the new root is trusted beside
//! the old one; members sign under the new one; the old one is dropped. A member is done when its agent says so, and the agent
//! says so once no pod runs that may have older roots.

pub mod plan;
pub mod progress;
pub mod run;
pub mod stored;
mod tables;
