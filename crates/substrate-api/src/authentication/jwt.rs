//! Signed tokens (JWT, ES256): signing, verifying, and the key set that others verify with. Knows no accounts.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// The issuer of every cluster's tokens, which is also the audience of the API server itself.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Why a token does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is malformed")]
    Malformed,
    #[error("the signature does not verify")]
    Signature,
    #[error("the token was issued by {0:?}")]
    Issuer(String),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("token audiences {given:?} is invalid for the target audiences {wanted:?}")]
    Audience { given: Vec<String>, wanted: Vec<String> },
    #[error("{0}")]
    Revoked(String),
}

/// The key of one cluster.
pub(crate) struct TokenKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    key_id: String,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// A fresh key.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(crate) fn generate() -> Result<TokenKey, ring::error::Unspecified> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(|_| ring::error::Unspecified)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, pair.public_key().as_ref());
        Ok(TokenKey { key_id: URL_SAFE_NO_PAD.encode(digest.as_ref()), pair, random })
    }

    pub(crate) fn issuer(&self) -> &'static str {
        ISSUER
    }

    /// The token that carries `claims`.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, ring::error::Unspecified> {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// The claims of a token that this key signed and that is valid at `now` (seconds since 1970).
    pub(crate) fn verify(&self, token: &str, now: i64) -> Result<Value, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header = decode(header)?;
        if header["alg"] != "ES256" || header["kid"] != self.key_id {
            return Err(TokenError::Signature);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| TokenError::Signature)?;
        let claims = decode(claims)?;
        check_claims(&claims, now)?;
        Ok(claims)
    }

    /// `/openid/v1/jwks`.
    pub(crate) fn key_set(&self) -> Value {
        // An uncompressed point: one byte of form, then both coordinates.
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }

    /// `/.well-known/openid-configuration`.
    pub(crate) fn openid_configuration(&self) -> Value {
        json!({
            "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn decode(part: &str) -> Result<Value, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

fn check_claims(claims: &Value, now: i64) -> Result<(), TokenError> {
    let issuer = claims["iss"].as_str().unwrap_or_default();
    if issuer != ISSUER {
        return Err(TokenError::Issuer(issuer.to_owned()));
    }
    // Tokens of Secrets carry no expiry, as in Kubernetes.
    if claims["exp"].as_i64().is_some_and(|expiry| now >= expiry) {
        return Err(TokenError::Expired);
    }
    if claims["nbf"].as_i64().is_some_and(|start| now < start) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(expiry: i64) -> Value {
        json!({"iss": ISSUER, "sub": "x", "nbf": 100, "exp": expiry})
    }

    #[test]
    fn a_token_holds_within_its_time_only() {
        let key = TokenKey::generate().unwrap();
        let token = key.sign(&claims(200)).unwrap();
        assert_eq!(key.verify(&token, 150).unwrap()["sub"], "x");
        assert_eq!(key.verify(&token, 200), Err(TokenError::Expired));
        assert_eq!(key.verify(&token, 99), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_changed_or_foreign_token_is_refused() {
        let key = TokenKey::generate().unwrap();
        let token = key.sign(&claims(200)).unwrap();
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[1] = encode(&claims(900));
        assert_eq!(key.verify(&parts.join("."), 150), Err(TokenError::Signature));
        assert_eq!(TokenKey::generate().unwrap().verify(&token, 150), Err(TokenError::Signature));
        assert_eq!(key.verify("a.b", 150), Err(TokenError::Malformed));
    }
}
