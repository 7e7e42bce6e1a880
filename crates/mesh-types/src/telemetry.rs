//! Names of the tags by which proxies tell more in their access logs than Envoy does by itself.

/// `source` or `destination`: which side of the request the proxy is on.
pub const TAG_REPORTER: &str = "reporter";
/// Host of the service that a request is for, as the server's listener knows it.
pub const TAG_SERVICE: &str = "destination_service";
/// SPIFFE id of the client, as its proxy presented it; empty for plain text.
pub const TAG_OWN: &str = "source_principal";
/// SPIFFE id of the server, as the client's proxy verified it; empty for plain text.
pub const TAG_PEER: &str = "destination_principal";
