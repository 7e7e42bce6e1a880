//! What a machine lacks for kind clusters: [`observe`] looks at it, [`check()`](checks::check) judges what was seen.

pub mod checks;
pub mod machine;
pub mod observe;

pub use checks::{Check, State, check};
pub use machine::{Machine, Needs, Unusable};
