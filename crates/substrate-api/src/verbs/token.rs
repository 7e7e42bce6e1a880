//! Tokens of ServiceAccounts: TokenRequest, and Secrets of type `kubernetes.io/service-account-token`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::authentication::jwt::ISSUER;
use crate::authentication::service_account::{Bound, claims};
use crate::http::{Reply, body};
use crate::object::{self, child, metadata_mut};
use crate::registry::Resource;
use crate::server::ApiServer;
use crate::status::{ApiError, Subject};
use crate::store::Key;
use crate::validation::Errors;

const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;
const DEFAULT: i64 = 3600;

/// `create` on `serviceaccounts/token`.
pub(crate) fn request_token(ctx: &Context, bytes: &Bytes) -> Result<Reply, ApiError> {
    let mut review = body::decode_object(&ctx.request.headers, bytes)?;
    let account = ctx.stored()?;
    let spec = child(&mut review, "spec");
    let mut audiences: Vec<String> = spec
        .get("audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let lifetime = spec.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(DEFAULT);
    check_lifetime(&ctx.name, lifetime)?;
    spec.insert("audiences".to_owned(), json!(audiences));
    spec.insert("expirationSeconds".to_owned(), json!(lifetime));
    let reference = review["spec"]["boundObjectRef"].clone();
    let bound_object = bound_object(ctx, &reference)?;
    let bound = bound_object.as_ref().map(|(claim, object)| Bound { claim, object });
    let now = Timestamp::now();
    let claims = claims(&account.value, &audiences, bound, now, Some(lifetime));
    let token = ctx.server.tokens.sign(&claims).map_err(|_| ApiError::internal("no random numbers for a signature"))?;
    let expiry = now + SignedDuration::from_secs(lifetime);
    review["apiVersion"] = json!("authentication.k8s.io/v1");
    review["kind"] = json!("TokenRequest");
    let metadata = metadata_mut(&mut review);
    metadata.insert("name".to_owned(), json!(ctx.name));
    metadata.insert("namespace".to_owned(), json!(ctx.namespace));
    metadata.insert("creationTimestamp".to_owned(), json!(object::time_text(now)));
    review["status"] = json!({"token": token, "expirationTimestamp": object::time_text(expiry)});
    Ok(Reply::created(&review))
}

impl ApiServer {
    /// A token of an account for an audience as `request_token` gave it for the shortest time, so long ago that it has
    /// expired; `None` where there is no such account. For whoever tests what becomes of such a one.
    #[must_use]
    pub fn expired_token(&self, namespace: &str, account: &str, audience: &str) -> Option<String> {
        let account = self.store.get("serviceaccounts", &Key::new(namespace, account))?;
        let given = Timestamp::now() - SignedDuration::from_secs(2 * SHORTEST);
        self.tokens.sign(&claims(&account.value, &[audience.to_owned()], None, given, Some(SHORTEST))).ok()
    }
}

fn check_lifetime(name: &str, lifetime: i64) -> Result<(), ApiError> {
    let detail = match lifetime {
        seconds if seconds < SHORTEST => "may not specify a duration less than 10 minutes",
        seconds if seconds > LONGEST => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let mut errors = Errors::default();
    errors.invalid("spec.expirationSeconds", &json!(lifetime), detail);
    let subject = Subject { group: "authentication.k8s.io", resource: "tokenrequests", kind: "TokenRequest" };
    Err(ApiError::invalid(subject, name, &errors.0))
}

type BoundObject = (&'static str, Value);

fn bound_object(ctx: &Context, reference: &Value) -> Result<Option<BoundObject>, ApiError> {
    let (claim, table) = match reference["kind"].as_str() {
        None => return Ok(None),
        Some("Pod") => ("pod", "pods"),
        Some("Secret") => ("secret", "secrets"),
        Some(other) => {
            let message = format!("cannot bind token for serviceaccount to object of type {other}");
            return Err(ApiError::bad_request(message));
        }
    };
    let name = reference["name"].as_str().unwrap_or_default();
    let subject = Subject { group: "", resource: table, kind: "" };
    let stored = ctx.server.store.get(table, &Key::new(ctx.namespace.clone(), name));
    let stored = stored.ok_or_else(|| ApiError::not_found(subject, name))?;
    let wanted = reference["uid"].as_str().unwrap_or_default();
    let uid = object::uid(&stored.value);
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict(subject, name, &why));
    }
    if table == "pods" && stored.value["spec"]["serviceAccountName"] != ctx.name.as_str() {
        let message = format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
            ctx.name
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(Some((claim, stored.value.clone())))
}

/// Puts a token, the authority and the namespace into a Secret that is made for them, where its account exists.
pub(super) fn fill_secret(server: &ApiServer, resource: &Resource, secret: &mut Value) {
    if resource.table != "secrets" || secret["type"] != "kubernetes.io/service-account-token" {
        return;
    }
    if let Some(data) = token_secret(server, secret) {
        let map = child(secret, "data");
        data.into_iter().for_each(|(key, value)| drop(map.insert(key.to_owned(), Value::from(value))));
    }
}

/// The data of such a Secret; `None` while the account is missing.
fn token_secret(server: &ApiServer, secret: &Value) -> Option<[(&'static str, String); 3]> {
    let name = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"].as_str()?;
    let namespace = object::namespace(secret);
    let account = server.store.get("serviceaccounts", &Key::new(namespace, name))?;
    let bound = Bound { claim: "secret", object: secret };
    let claims = claims(&account.value, &[ISSUER.to_owned()], Some(bound), Timestamp::now(), None);
    let token = server.tokens.sign(&claims).ok()?;
    Some([
        ("ca.crt", STANDARD.encode(server.ca_certificate_pem())),
        ("namespace", STANDARD.encode(namespace)),
        ("token", STANDARD.encode(token)),
    ])
}
