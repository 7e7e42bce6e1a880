//! Tokens of ServiceAccounts: what they claim, and whether what they are bound to still exists.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::User;
use super::jwt::TokenError;
use crate::object;
use crate::server::ApiServer;
use crate::store::Key;

/// A verified token.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: User,
    /// Those of the wanted audiences that the token is for.
    pub(crate) audiences: Vec<String>,
}

/// What a token is bound to, by its kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// `pod`, `secret` or `node`, as in the claims.
    pub(crate) claim: &'static str,
    pub(crate) object: &'a Value,
}

/// The claims of a token for `account`, valid from `now` for `lifetime` seconds (for ever where there is none).
pub(crate) fn claims(
    account: &Value,
    audiences: &[String],
    bound: Option<Bound<'_>>,
    now: Timestamp,
    lifetime: Option<i64>,
) -> Value {
    let (namespace, name) = (object::namespace(account), object::name(account));
    let seconds = now.as_second();
    let mut private = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": object::uid(account)}});
    if let Some(bound) = bound {
        private[bound.claim] = json!({"name": object::name(bound.object), "uid": object::uid(bound.object)});
    }
    let mut claims = json!({
        "iss": super::jwt::ISSUER, "sub": format!("system:serviceaccount:{namespace}:{name}"), "aud": audiences,
        "iat": seconds, "nbf": seconds, "jti": uuid::Uuid::new_v4().to_string(), "kubernetes.io": private,
    });
    if let Some(lifetime) = lifetime {
        claims["exp"] = json!(seconds + lifetime);
    }
    claims
}

/// Verifies a token for any of `audiences` and looks up what it is bound to.
pub(crate) fn authenticate(server: &ApiServer, token: &str, audiences: &[&str]) -> Result<Identity, TokenError> {
    let claims = server.tokens.verify(token, Timestamp::now().as_second())?;
    let given: Vec<&str> = match &claims["aud"] {
        Value::String(one) => vec![one],
        many => many.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let matching: Vec<String> =
        audiences.iter().filter(|wanted| given.contains(wanted)).map(|wanted| (*wanted).to_owned()).collect();
    if matching.is_empty() {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        return Err(TokenError::Audience { given: owned(&given), wanted: owned(audiences) });
    }
    let private = &claims["kubernetes.io"];
    let namespace = private["namespace"].as_str().ok_or(TokenError::Malformed)?;
    let name = private["serviceaccount"]["name"].as_str().ok_or(TokenError::Malformed)?;
    let account = Reference { table: "serviceaccounts", namespace, claim: &private["serviceaccount"] };
    account.check(server)?;
    for (claim, table) in [("pod", "pods"), ("secret", "secrets")] {
        if private[claim].is_object() {
            Reference { table, namespace, claim: &private[claim] }.check(server)?;
        }
    }
    Ok(Identity { user: user(namespace, name, &claims), audiences: matching })
}

/// An object that a token names.
struct Reference<'a> {
    table: &'static str,
    namespace: &'a str,
    claim: &'a Value,
}

impl Reference<'_> {
    fn check(&self, server: &ApiServer) -> Result<(), TokenError> {
        let name = self.claim["name"].as_str().ok_or(TokenError::Malformed)?;
        let revoked = |why: &str| TokenError::Revoked(format!("{} {}/{name} {why}", self.table, self.namespace));
        let stored = server.store.get(self.table, &Key::new(self.namespace, name)).ok_or_else(|| revoked("is gone"))?;
        if self.claim["uid"] != *object::uid(&stored.value) {
            return Err(revoked("was replaced by another of that name"));
        }
        Ok(())
    }
}

fn user(namespace: &str, name: &str, claims: &Value) -> User {
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut user = User::authenticated(&format!("system:serviceaccount:{namespace}:{name}"), &groups);
    let private = &claims["kubernetes.io"];
    user.uid = private["serviceaccount"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut extra = |key: &str, value: &Value| {
        if let Some(text) = value.as_str() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![text.to_owned()]);
        }
    };
    extra("pod-name", &private["pod"]["name"]);
    extra("pod-uid", &private["pod"]["uid"]);
    let id = claims["jti"].as_str().map(|id| Value::from(format!("JTI={id}"))).unwrap_or_default();
    extra("credential-id", &id);
    user
}
