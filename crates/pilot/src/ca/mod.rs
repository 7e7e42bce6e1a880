//! The mesh's certificate authority: who signs, who may ask, and the certificates istiod itself serves with.
//!
//! [`keys`] and [`sign`] are pure; [`authority`] follows the secrets that hold the keys; [`authenticate`] finds out who
//! calls; [`service`] is the gRPC service; [`serving`] gives TLS to istiod's own ports; [`publish`] hands the root to
//! every namespace.

pub mod authenticate;
pub mod authority;
pub mod keys;
pub mod proto;
pub mod publish;
pub mod service;
pub mod serving;
pub mod sign;

pub use authenticate::{Authenticator, Caller, ClusterClients, LocalCluster, Means};
pub use authority::{Authority, AuthorityError};
pub use keys::SigningKeys;
pub use service::CertificateService;
pub use serving::ServingTls;
