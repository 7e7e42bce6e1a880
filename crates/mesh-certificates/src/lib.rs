//! Certificates of the authorities that meshes sign with: made, asked for, signed and checked. Pure: times are given, and only keys
//! and serial numbers come from chance.
//!
//! * [`pem`] reads and writes lists of certificates,
//! * [`der`] reads private keys in their older forms,
//! * [`authority`] makes roots and signs the authorities of meshes,
//! * [`request`] makes and checks signing requests,
//! * [`chain`] checks what was signed before it is used.

pub mod authority;
pub mod chain;
pub mod der;
pub mod pem;
pub mod request;

pub use authority::{Authority, AuthorityError, Terms};
pub use chain::{ChainError, Installed, Wanted};
pub use request::{RequestError, Requested};
