//! The request of a run, built once from the options. Pure but for the files that TLS needs.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::args::RunArgs;
use super::connection::{Protocol, Target};
use super::http::RequestTemplate;
use super::transport::Transport;
use super::url::{Scheme, Url};
use crate::grpc::{self, EchoRequest};

/// What is sent where a protocol needs a text and none was given.
const TEXT: &str = "hello";

/// What the options ask for, at the address that was found.
pub(super) fn target(args: &RunArgs, address: SocketAddr) -> anyhow::Result<Target> {
    let text = if args.body.is_empty() { TEXT.to_owned() } else { args.body.clone() };
    Ok(Target {
        transport: Transport::new(args, address)?,
        protocol: Protocol::of(args),
        template: template(args, &text),
        text,
    })
}

fn template(args: &RunArgs, text: &str) -> RequestTemplate {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("meshproof-probe"));
    let grpc = args.url.scheme == Scheme::Grpc;
    if grpc {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let mut given = HeaderMap::new();
    for (name, value) in &args.headers {
        given.append(name.clone(), value.clone());
    }
    headers.extend(given);
    let host = headers.get(header::HOST).cloned();
    if host.is_none()
        && let Ok(host) = HeaderValue::from_str(args.url.authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let (method, path, body) = if grpc {
        let call = if args.stream { grpc::STREAM } else { grpc::ECHO };
        (Method::POST, call, grpc::frame(&EchoRequest { message: text.to_owned(), status: 0 }))
    } else {
        (args.method.clone(), args.url.path.as_str(), Bytes::from(args.body.clone()))
    };
    RequestTemplate { method, uri: uri(&args.url, path, host.as_ref()), headers, body, grpc }
}

/// The whole URI, in which a host that was given as a header takes the URL's place.
fn uri(url: &Url, path: &str, host: Option<&HeaderValue>) -> Uri {
    let authority = host.and_then(|host| host.to_str().ok()).unwrap_or(url.authority.as_str());
    let scheme = match url.scheme {
        Scheme::Ws => "ws",
        Scheme::Https => "https",
        _ => "http",
    };
    let whole = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    whole.unwrap_or_else(|_| Uri::from_static("/"))
}
