//! Who makes a request: client certificates, ServiceAccount tokens, or nobody in particular.
//! Does not decide what anybody may do.

pub(crate) mod certificate;
pub(crate) mod jwt;
pub(crate) mod service_account;

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::http::Caller;
use crate::server::ApiServer;
use crate::status::ApiError;

/// A user as Kubernetes' `authentication.k8s.io/v1` UserInfo describes one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A known user; `system:authenticated` is added.
    pub(crate) fn authenticated(name: &str, groups: &[&str]) -> User {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        if !groups.iter().any(|group| group == "system:authenticated") {
            groups.push("system:authenticated".to_owned());
        }
        User { name: name.to_owned(), groups, ..User::default() }
    }

    pub(crate) fn anonymous() -> User {
        let groups = vec!["system:unauthenticated".to_owned()];
        User { name: "system:anonymous".to_owned(), groups, ..User::default() }
    }

    /// The UserInfo object of reviews.
    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            value["uid"] = json!(self.uid);
        }
        if !self.extra.is_empty() {
            value["extra"] = json!(self.extra);
        }
        value
    }
}

/// The user behind a request: that of the connection, of the bearer token, or the anonymous one.
///
/// # Errors
/// 401 where credentials were given that do not hold.
pub(crate) fn authenticate(server: &ApiServer, headers: &HeaderMap, caller: Caller) -> Result<User, ApiError> {
    let connection = match caller {
        Caller::InProcess(user) => return Ok(user),
        Caller::Connection(user) => user,
    };
    if let Some(user) = connection {
        return Ok(user);
    }
    match bearer_token(headers) {
        None => Ok(User::anonymous()),
        Some(token) => match service_account::authenticate(server, token, &[server.tokens.issuer()]) {
            Ok(identity) => Ok(identity.user),
            Err(problem) => {
                tracing::debug!(cluster = %server.cluster_name, %problem, "a bearer token was refused");
                Err(ApiError::unauthorized())
            }
        },
    }
}

/// The bearer token of a request; WebSocket clients that cannot set headers are not catered for.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}
