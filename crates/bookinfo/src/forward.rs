//! Which request headers a service passes on to the services it calls, so that traces join and routing rules see the
//! user: the same set as Istio's own bookinfo.

use http::{HeaderMap, HeaderName};

/// Headers that are passed on unchanged. The proxies' own, such as `x-forwarded-client-cert`, must not be among them.
const FORWARDED: [&str; 18] = [
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-ot-span-context",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "sw8",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

/// The part of a request's headers that is passed on.
pub fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in FORWARDED.map(HeaderName::from_static) {
        for value in headers.get_all(&name) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn trace_user_and_cookies_pass_and_the_proxys_word_does_not() {
        let mut headers = HeaderMap::new();
        for name in ["x-request-id", "traceparent", "b3", "end-user", "cookie", "user-agent"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("kept"));
        }
        headers.append("cookie", HeaderValue::from_static("second"));
        for name in ["x-forwarded-client-cert", "host", "content-length", "connection"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("dropped"));
        }
        let passed = forwarded(&headers);
        assert_eq!(passed.len(), 7);
        assert!(passed.values().all(|value| value != "dropped"));
    }
}
