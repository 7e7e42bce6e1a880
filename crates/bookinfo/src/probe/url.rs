//! The URL of a run: what to speak, with whom, and where.

use std::fmt;

use http::Uri;
use http::uri::Authority;

/// What the probe speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP without TLS.
    Http,
    /// HTTP over the probe's own TLS.
    Https,
    /// gRPC over HTTP/2 without TLS: calls of `echo`.
    Grpc,
    /// Messages over a WebSocket without TLS.
    Ws,
    /// Lines over TCP.
    Tcp,
    /// Lines over the probe's own TLS.
    Tls,
}

impl Scheme {
    /// All, with their names and ports.
    const ALL: [(Self, &str, u16); 6] = [
        (Self::Http, "http", 80),
        (Self::Https, "https", 443),
        (Self::Grpc, "grpc", 80),
        (Self::Ws, "ws", 80),
        (Self::Tcp, "tcp", 9000),
        (Self::Tls, "tls", 443),
    ];

    /// Whether the probe brings TLS of its own.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    fn parse(name: &str) -> Option<(Self, u16)> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(scheme, _, port)| (scheme, port))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(scheme, _, _)| scheme == self).map_or("", |(_, name, _)| name);
        f.write_str(name)
    }
}

/// A URL in the parts that a client needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The URL as it was given.
    pub text: String,
    /// What to speak.
    pub scheme: Scheme,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port; the scheme's own when the URL has none.
    pub port: u16,
    /// `host[:port]` as it stands in the URL: the host header.
    pub authority: Authority,
    /// Path and query.
    pub path: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let names = Scheme::ALL.map(|(_, name, _)| name).join(", ");
        let scheme =
            uri.scheme_str().ok_or_else(|| format!("write it as http://host:port/path; schemes are {names}"))?;
        let (scheme, port) = Scheme::parse(scheme).ok_or_else(|| format!("the probe speaks {names}, not {scheme}"))?;
        let authority = uri.authority().cloned().ok_or("the host is missing")?;
        if authority.as_str().contains('@') {
            return Err("user and password have no place in it".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self { text: text.to_owned(), scheme, host, port: authority.port_u16().unwrap_or(port), authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_apart() {
        let url = Url::parse("http://reviews:9080/reviews/0?a=b").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.authority.as_str()), ("reviews", 9080, "reviews:9080"));
        assert_eq!((url.path.as_str(), url.scheme), ("/reviews/0?a=b", Scheme::Http));
        let url = Url::parse("http://[::1]").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 80, "/"));
    }

    #[test]
    fn the_scheme_says_what_is_spoken() {
        for (text, scheme, port) in [
            ("https://echo", Scheme::Https, 443),
            ("grpc://echo:7070", Scheme::Grpc, 7070),
            ("ws://echo:8080/ws", Scheme::Ws, 8080),
            ("tcp://echo:9000", Scheme::Tcp, 9000),
            ("tls://echo:9443", Scheme::Tls, 9443),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.scheme, url.port), (scheme, port), "{text}");
            assert!(text.starts_with(&format!("{scheme}://")));
        }
    }

    #[test]
    fn urls_that_the_probe_cannot_request_are_refused() {
        for url in ["ftp://reviews/", "reviews:9080", "/reviews", "http://a:b@c/", "http:///x", ""] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }
}
