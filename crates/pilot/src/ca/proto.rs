//! Messages of `istio.v1.auth.IstioCertificateService`, which have no crate.

/// What a workload sends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// Certificate signing request, PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Wanted lifetime in seconds; 0 leaves it to the authority.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
}

/// What it gets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM: the leaf, intermediates where there are any, the roots last.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
