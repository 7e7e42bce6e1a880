//! What proxies counted while requests were asked again that had got no good answer: signs of what stood in their way.
//! Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use verdict::text::thousands;

use crate::report::figures::{Sign, SignKind};

/// What a proxy is to the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is that of the client.
    Client,
    /// It passes connections of other networks on.
    Gateway,
    /// It is that of a pod that was asked.
    Server,
}

/// A proxy on the way.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// What it is to the requests.
    pub role: Role,
    /// Its cluster.
    pub cluster: String,
    /// Its pod.
    pub pod: String,
    /// How much its counters grew meanwhile.
    pub growth: BTreeMap<String, u64>,
}

/// What the client's proxy sends to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sends {
    /// Plain text: it holds no TLS for the service, or there is no proxy.
    PlainText,
    /// TLS to this server name, which is not the one that it knows the service by.
    AnotherName(String),
    /// TLS to the name that it knows the service by.
    OwnName,
    /// That could not be found out.
    Unknown,
}

impl Sends {
    /// From the client's `config_dump?resource=dynamic_active_clusters`: what its clusters for a service are set to.
    #[must_use]
    pub fn read(dump: &Value, host: &str, port: &str) -> Self {
        let clusters = dump["configs"].as_array().into_iter().flatten().map(|config| &config["cluster"]);
        let of_service = clusters.filter_map(|cluster| {
            let name = cluster["name"].as_str()?;
            let parts: Vec<&str> = name.split('|').collect();
            let own = parts.len() == 4 && parts[0] == "outbound" && parts[1] == port && parts[3].starts_with(host);
            own.then(|| (parts.join("_."), names(cluster)))
        });
        let of_service: Vec<(String, Vec<String>)> = of_service.collect();
        let other = of_service.iter().find_map(|(own, names)| names.iter().find(|name| *name != own));
        match other {
            _ if of_service.is_empty() => Self::Unknown,
            Some(name) => Self::AnotherName(name.clone()),
            None if of_service.iter().any(|(_, names)| names.is_empty()) => Self::PlainText,
            None => Self::OwnName,
        }
    }
}

/// The server names that a cluster's TLS asks for; none where it has no TLS.
fn names(cluster: &Value) -> Vec<String> {
    let matches = cluster["transport_socket_matches"].as_array().into_iter().flatten();
    let sockets = matches.map(|one| &one["transport_socket"]).chain([&cluster["transport_socket"]]);
    let settings = sockets.map(|socket| &socket["typed_config"]);
    let tls = settings.filter(|one| one["@type"].as_str().is_some_and(|kind| kind.ends_with("UpstreamTlsContext")));
    tls.map(|one| one["sni"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Counters about certificates, and what each says.
const CERTIFICATES: [(&str, &str); 4] = [
    ("ssl.fail_verify_san", "has none of the names that it expects"),
    ("ssl.fail_verify_error", "is signed by no authority that it trusts, or is not valid now"),
    ("ssl.fail_verify_no_cert", "is missing"),
    ("ssl.fail_verify_cert_hash", "is another than it expects"),
];
const NO_CHAIN: &str = "no_filter_chain_match";
const BROKEN: &str = "ssl.connection_error";

/// A regular expression for the counters that are read here.
pub const COUNTERS: &str = "no_filter_chain_match|ssl.connection_error|ssl.fail_verify";

/// Signs in the growth of counters, what says most first.
#[must_use]
pub fn signs(proxies: &[Proxy], sends: &Sends) -> Vec<Sign> {
    let of_certificates = proxies.iter().flat_map(certificates_refused);
    let of_chains = proxies.iter().filter_map(|proxy| no_filter_chain(proxy, sends));
    let clear: Vec<Sign> = of_certificates.chain(of_chains).collect();
    if !clear.is_empty() {
        return clear;
    }
    // That a handshake broke off says least: it is also how the other side sees what is told above.
    proxies.iter().filter_map(handshake_broken).collect()
}

/// Growth of the counters with an end. A client's counters of other listeners are those of its own callers.
fn grown(proxy: &Proxy, end: &str) -> u64 {
    let begin = if proxy.role == Role::Client { "cluster." } else { "listener." };
    let its = proxy.growth.iter().filter(|(name, _)| name.starts_with(begin) && name.ends_with(end));
    its.map(|(_, count)| count).sum()
}

fn sign(proxy: &Proxy, kind: SignKind, what: String) -> Sign {
    Sign { kind, cluster: Some(proxy.cluster.clone()), of: proxy.pod.clone(), what }
}

fn place(proxy: &Proxy) -> String {
    format!("the proxy of {} of {}", proxy.pod, proxy.cluster)
}

fn certificates_refused(proxy: &Proxy) -> Vec<Sign> {
    let whose = if proxy.role == Role::Client { "the server's" } else { "the client's" };
    let counted = CERTIFICATES.into_iter().map(|(end, why)| (end, why, grown(proxy, end)));
    let refused = counted.filter(|(_, _, count)| *count > 0).map(|(end, why, count)| {
        let what =
            format!("{} ended {} TLS handshakes: {whose} certificate {why} ({end})", place(proxy), thousands(count));
        sign(proxy, SignKind::CertificateRefused, what)
    });
    refused.collect()
}

/// A connection that no filter chain wanted: it was no mutual TLS where that is demanded, or to a name nobody serves.
fn no_filter_chain(proxy: &Proxy, sends: &Sends) -> Option<Sign> {
    let count = Some(grown(proxy, NO_CHAIN)).filter(|count| *count > 0 && proxy.role != Role::Client)?;
    let refused = format!("{} has no filter chain for {} connections ({NO_CHAIN})", place(proxy), thousands(count));
    let (kind, why) = match (sends, proxy.role) {
        (Sends::PlainText, _) => (SignKind::PlaintextRefused, "what the client sends is plain text".to_owned()),
        (Sends::AnotherName(name), _) if name.is_empty() => {
            (SignKind::ServerNameWrong, "the client asks for no server name".to_owned())
        }
        (Sends::AnotherName(name), _) => (SignKind::ServerNameWrong, format!("the client asks for server name {name}")),
        (Sends::OwnName, Role::Gateway) => {
            (SignKind::ServerNameUnknown, "the client asks for the name of the service".to_owned())
        }
        // A pod's proxy takes every name; and what was sent to a gateway is not known.
        (Sends::OwnName | Sends::Unknown, _) => return None,
    };
    Some(sign(proxy, kind, format!("{refused}: {why}")))
}

fn handshake_broken(proxy: &Proxy) -> Option<Sign> {
    let count = Some(grown(proxy, BROKEN)).filter(|count| *count > 0)?;
    let what = format!("{} TLS handshakes of {} broke off ({BROKEN})", thousands(count), place(proxy));
    Some(sign(proxy, SignKind::HandshakeBroken, what))
}

#[cfg(test)]
mod tests;
