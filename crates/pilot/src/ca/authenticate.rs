//! Who calls: by the client certificate of the connection, or by a service account token that the caller's own cluster
//! vouches for. Used by the certificate service and by xDS alike.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use mesh_types::SpiffeId;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::transport::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Audience that tokens for the control plane must have.
pub const AUDIENCE: &str = "istio-ca";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Clients of the clusters whose tokens are accepted.
pub trait ClusterClients: Send + Sync + 'static {
    /// The client of a cluster by its id; an empty id means the own cluster.
    fn client(&self, cluster_id: &str) -> Option<Client>;
}

/// Accepts tokens of one cluster only.
pub struct LocalCluster {
    /// Its id.
    pub id: String,
    /// Its client.
    pub client: Client,
}

impl ClusterClients for LocalCluster {
    fn client(&self, cluster_id: &str) -> Option<Client> {
        (cluster_id.is_empty() || cluster_id == self.id).then(|| self.client.clone())
    }
}

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A certificate of the mesh.
    Certificate,
    /// A service account token.
    Token,
}

/// A caller whose identity is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub identity: SpiffeId,
    /// How that is known.
    pub means: Means,
}

/// Finds out who calls.
#[derive(Clone)]
pub struct Authenticator {
    clusters: Arc<dyn ClusterClients>,
    trust_domain: String,
}

impl Authenticator {
    /// Accepts certificates of `trust_domain` and tokens of `clusters`.
    #[must_use]
    pub fn new(clusters: Arc<dyn ClusterClients>, trust_domain: impl Into<String>) -> Self {
        Self { clusters, trust_domain: trust_domain.into() }
    }

    /// Authenticates a call by its connection's certificate, which TLS has verified, or else by its token.
    ///
    /// # Errors
    /// `Unauthenticated` without valid credentials, `PermissionDenied` for an identity that is no workload's,
    /// `Unavailable` where the cluster cannot be asked.
    pub async fn authenticate(
        &self,
        metadata: &MetadataMap,
        certificates: Option<Arc<Vec<CertificateDer<'static>>>>,
    ) -> Result<Caller, Status> {
        if let Some(leaf) = certificates.as_ref().and_then(|certificates| certificates.first()) {
            let identity = self.certified(leaf)?;
            return Ok(Caller { identity, means: Means::Certificate });
        }
        let identity = self.vouched(bearer(metadata)?, text(metadata, "clusterid")).await?;
        Ok(Caller { identity, means: Means::Token })
    }

    fn certified(&self, leaf: &CertificateDer<'_>) -> Result<SpiffeId, Status> {
        let id = spiffe_id(leaf)
            .ok_or_else(|| Status::permission_denied("the client certificate holds no SPIFFE id of a workload"))?;
        if id.trust_domain != self.trust_domain {
            return Err(Status::permission_denied(format!(
                "the trust domain {} is not accepted here",
                id.trust_domain
            )));
        }
        Ok(id)
    }

    async fn vouched(&self, token: &str, cluster_id: &str) -> Result<SpiffeId, Status> {
        let client = self
            .clusters
            .client(cluster_id)
            .ok_or_else(|| Status::unauthenticated(format!("the cluster {cluster_id:?} is not known here")))?;
        let review = TokenReview {
            spec: TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: token.to_owned() },
            ..TokenReview::default()
        };
        let reviewed = Api::<TokenReview>::all(client)
            .create(&PostParams::default(), &review)
            .await
            .map_err(|error| Status::unavailable(format!("the token cannot be reviewed: {error}")))?;
        identity(reviewed.status.as_ref(), &self.trust_domain)
    }
}

/// Reads a review's answer.
fn identity(status: Option<&TokenReviewStatus>, trust_domain: &str) -> Result<SpiffeId, Status> {
    let refused = |reason: &str| Status::unauthenticated(format!("the token is not accepted: {reason}"));
    let status = status.ok_or_else(|| refused("the review has no answer"))?;
    if status.authenticated != Some(true) {
        return Err(refused(status.error.as_deref().unwrap_or("it is not valid")));
    }
    if !status.audiences.as_ref().is_some_and(|audiences| audiences.iter().any(|audience| audience == AUDIENCE)) {
        return Err(refused("it is not meant for the audience istio-ca"));
    }
    let user = status.user.as_ref().and_then(|user| user.username.as_deref()).unwrap_or_default();
    match user.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) if !namespace.is_empty() && !account.is_empty() => {
            Ok(SpiffeId::new(trust_domain, namespace, account))
        }
        _ => Err(Status::permission_denied(format!("{user:?} is not a service account"))),
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> &'a str {
    metadata.get(key).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn bearer(metadata: &MetadataMap) -> Result<&str, Status> {
    let (scheme, token) = text(metadata, "authorization").split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() {
        Ok(token.trim())
    } else {
        Err(Status::unauthenticated("neither a client certificate nor a bearer token was given"))
    }
}

fn spiffe_id(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    // Exactly one URI, as SPIFFE demands; a second one would make the identity a matter of choice.
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let id = uris.next()?.parse().ok()?;
    uris.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;
    use tonic::Code;

    use super::*;

    fn status(user: &str, audience: &str) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![audience.to_owned()]),
            user: Some(UserInfo { username: Some(user.to_owned()), ..UserInfo::default() }),
            ..TokenReviewStatus::default()
        }
    }

    #[test]
    fn a_service_account_becomes_a_spiffe_id() {
        let id = identity(Some(&status("system:serviceaccount:bookinfo:reviews", AUDIENCE)), "td").unwrap();
        assert_eq!(id.to_string(), "spiffe://td/ns/bookinfo/sa/reviews");
    }

    #[test]
    fn bad_tokens_are_refused_with_the_right_code() {
        let code = |status: Option<TokenReviewStatus>| identity(status.as_ref(), "td").unwrap_err().code();
        assert_eq!(code(None), Code::Unauthenticated);
        assert_eq!(code(Some(TokenReviewStatus::default())), Code::Unauthenticated);
        let good = "system:serviceaccount:a:b";
        assert_eq!(
            code(Some(TokenReviewStatus { authenticated: Some(false), ..status(good, AUDIENCE) })),
            Code::Unauthenticated
        );
        assert_eq!(code(Some(status(good, "https://kubernetes.default.svc"))), Code::Unauthenticated);
        assert_eq!(code(Some(TokenReviewStatus { audiences: None, ..status(good, AUDIENCE) })), Code::Unauthenticated);
        for user in ["admin", "system:serviceaccount:a", "system:serviceaccount::b", "system:node:n1"] {
            assert_eq!(code(Some(status(user, AUDIENCE))), Code::PermissionDenied, "{user}");
        }
    }

    #[test]
    fn headers_without_a_token_are_refused() {
        for header in [None, Some("Basic x"), Some("Bearer "), Some("token")] {
            let mut metadata = MetadataMap::new();
            if let Some(header) = header {
                metadata.insert("authorization", header.parse().unwrap());
            }
            assert_eq!(bearer(&metadata).unwrap_err().code(), Code::Unauthenticated, "{header:?}");
        }
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", "bearer abc".parse().unwrap());
        assert_eq!(bearer(&metadata).unwrap(), "abc");
    }

    #[test]
    fn only_a_single_uri_is_an_identity() {
        let certificate = |uris: &[&str]| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.subject_alt_names =
                uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap())).collect();
            parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let (a, b) = ("spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/c");
        assert_eq!(spiffe_id(&certificate(&[a])).unwrap().to_string(), a);
        assert_eq!(spiffe_id(&certificate(&[a, b])), None);
        assert_eq!(spiffe_id(&certificate(&[])), None);
        assert_eq!(spiffe_id(&certificate(&["https://example.org"])), None);
    }
}
