//! What a handler needs to know about the request it answers, taken from its headers.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request};

use crate::forward;
use crate::hop::{Peer, Seen};

/// Name of the cookie that holds the user who logged in. A routing rule may match it: `user=jason`.
pub const USER_COOKIE: &str = "user";

/// The request as the handlers see it.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Identities that the proxy vouched for.
    pub peer: Peer,
    /// What else was seen of the request.
    pub seen: Seen,
    /// User of the cookie, who logged in on productpage.
    pub user: Option<String>,
    /// Headers for calls to other services.
    pub forward: HeaderMap,
}

impl RequestContext {
    /// Reads the head of a request.
    pub fn from_head<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            peer: Peer::from_request(headers),
            seen: Seen {
                protocol: format!("{:?}", request.version()),
                request_id: text("x-request-id"),
                trace: text("traceparent").or_else(|| text("x-b3-traceid")),
                end_user: text("end-user"),
            },
            user: user_of_cookie(headers),
            forward: forward::forwarded(headers),
        }
    }

    /// Headers for calls in the name of the user who logged in. A caller's own `end-user` header goes before the cookie.
    pub fn forward_as_user(&self) -> HeaderMap {
        let mut headers = self.forward.clone();
        if let Some(user) = self.user.as_deref().and_then(|user| HeaderValue::from_str(user).ok()) {
            headers.entry("end-user").or_insert(user);
        }
        headers
    }
}

/// The context for a handler, as the layer around all handlers left it with the request.
#[derive(Clone, Debug)]
pub struct SharedContext(pub Arc<RequestContext>);

impl<S: Sync> FromRequestParts<S> for SharedContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let shared = parts.extensions.get::<Arc<RequestContext>>().cloned();
        Ok(Self(shared.unwrap_or_else(|| Arc::new(RequestContext::from_head(&Request::from_parts(parts.clone(), ()))))))
    }
}

fn user_of_cookie(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
    let mut cookies = lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, value)| *name == USER_COOKIE && !value.is_empty()).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(headers: &[(&str, &str)]) -> RequestContext {
        let mut request = Request::builder().uri("/productpage");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        RequestContext::from_head(&request.body(()).unwrap())
    }

    #[test]
    fn the_cookie_names_the_user_for_calls() {
        let context = context(&[("cookie", "theme=dark; user=jason"), ("x-request-id", "r1")]);
        assert_eq!(context.user.as_deref(), Some("jason"));
        let headers = context.forward_as_user();
        assert_eq!(headers["end-user"], "jason");
        assert_eq!(headers["x-request-id"], "r1");
    }

    #[test]
    fn a_callers_own_header_goes_before_the_cookie() {
        let context = context(&[("cookie", "user=jason"), ("end-user", "maria")]);
        assert_eq!(context.forward_as_user()["end-user"], "maria");
    }

    #[test]
    fn other_cookies_are_nobodys_name() {
        assert_eq!(context(&[("cookie", "superuser=jason; user=")]).user, None);
    }
}
