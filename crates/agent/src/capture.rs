//! The rules that lead a pod's traffic through its proxy, as text for `nft`. Pure: [`apply`] alone acts.
//!
//! They mean what Istio's rules mean, except that the proxy's own connections are known by their socket mark and not
//! by a user id: a user namespace may hold a single user, and an application without capabilities cannot set a mark.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use crate::settings::PROXY_MARK;

/// Table that holds the rules.
pub const TABLE: &str = "istio-proxy-nat";
/// Inter-proxy tunnels are never captured.
const TUNNEL_PORT: u16 = 15008;
/// Source of connections that the inbound proxy makes to the application.
const INBOUND_SOURCE: &str = "127.0.0.6";

/// Port of the agent that takes the application's DNS queries.
pub const DNS_PORT: u16 = 15053;
/// The zone of connection tracking for what the proxy and the agent begin. A source port of theirs may be the application's
/// soon after, and the other way round, while the kernel remembers where it led the packets from there. In the same zone it
/// would lead an application around the proxy, and the agent's queries to the agent itself.
const PROXY_ZONE: u16 = 1;

/// A list of ports or ranges that can mean "all".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// `*`.
    All,
    /// These; possibly none.
    Only(Vec<String>),
}

/// What to capture; field names follow `istio-iptables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Port that takes outbound connections.
    pub outbound_port: u16,
    /// Port that takes inbound connections.
    pub inbound_port: u16,
    /// Destination ranges captured on the way out.
    pub include_outbound_cidrs: Selection,
    /// Destination ranges exempt.
    pub exclude_outbound_cidrs: Vec<String>,
    /// Destination ports captured on the way out, whatever the range.
    pub include_outbound_ports: Selection,
    /// Destination ports exempt.
    pub exclude_outbound_ports: Vec<String>,
    /// Ports captured on the way in.
    pub include_inbound_ports: Selection,
    /// Ports exempt on the way in, where all are captured.
    pub exclude_inbound_ports: Vec<String>,
    /// Whose DNS queries are captured: those to these resolvers, or to any.
    pub dns_servers: Selection,
}

/// A flag that does not hold what it should.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CaptureError {
    /// Not a port or range of ports.
    #[error("{0:?} is not a port (1-65535)")]
    Port(String),
    /// Not an IPv4 range.
    #[error("{0:?} is not an IPv4 range such as 10.0.0.0/8")]
    Cidr(String),
}

/// Parses a comma-separated list of ports, `*` for all.
///
/// # Errors
/// [`CaptureError::Port`].
pub fn parse_ports(text: &str) -> Result<Selection, CaptureError> {
    parse(text, |item| item.parse::<u16>().is_ok_and(|port| port > 0), CaptureError::Port)
}

/// Parses a comma-separated list of IPv4 ranges, `*` for all.
///
/// # Errors
/// [`CaptureError::Cidr`].
pub fn parse_cidrs(text: &str) -> Result<Selection, CaptureError> {
    parse(text, is_cidr, CaptureError::Cidr)
}

fn parse(
    text: &str,
    valid: impl Fn(&str) -> bool,
    error: impl Fn(String) -> CaptureError,
) -> Result<Selection, CaptureError> {
    if text.trim() == "*" {
        return Ok(Selection::All);
    }
    let items: Vec<String> =
        text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect();
    match items.iter().find(|item| !valid(item)) {
        Some(bad) => Err(error(bad.clone())),
        None => Ok(Selection::Only(items)),
    }
}

fn is_cidr(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    address.parse::<std::net::Ipv4Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= 32)
}

/// The rule set as an atomic replacement of whatever the table held.
#[must_use]
pub fn ruleset(capture: &Capture) -> String {
    let mut text = format!("{}table ip {TABLE} {{\n", cleanup());
    let mut chain = |name: &str, rules: &[String]| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "  chain {name} {{\n    {}\n  }}", rules.join("\n    "));
    };
    chain("istio-redirect", &[format!("meta l4proto tcp redirect to :{}", capture.outbound_port)]);
    chain("istio-in-redirect", &[format!("meta l4proto tcp redirect to :{}", capture.inbound_port)]);
    chain("istio-inbound", &inbound(capture));
    chain("istio-output", &outbound(capture));
    chain(
        "prerouting",
        &[
            "type nat hook prerouting priority dstnat; policy accept;".to_owned(),
            "meta l4proto tcp jump istio-inbound".to_owned(),
        ],
    );
    chain(
        "output",
        &[
            "type nat hook output priority -100; policy accept;".to_owned(),
            "meta l4proto tcp jump istio-output".to_owned(),
        ],
    );
    // Replies go by their own addresses, which differ; so they need no zone, and can be told by none.
    chain(
        "raw-output",
        &[
            "type filter hook output priority raw; policy accept;".to_owned(),
            format!("meta mark {PROXY_MARK} ct original zone set {PROXY_ZONE}"),
        ],
    );
    let servers = dns_servers(capture);
    if !servers.is_empty() {
        chain("istio-output-dns", &dns_output(&servers));
        let udp_output =
            ["type nat hook output priority -100; policy accept;", "meta l4proto udp jump istio-output-dns"];
        chain("output-dns", &udp_output.map(str::to_owned));
    }
    text.push_str("}\n");
    text
}

/// What a rule begins with that is about a resolver: each alone, or nothing for all.
fn dns_servers(capture: &Capture) -> Vec<Option<&str>> {
    match &capture.dns_servers {
        Selection::All => vec![None],
        Selection::Only(servers) => servers.iter().map(|server| Some(server.as_str())).collect(),
    }
}

fn dns_output(servers: &[Option<&str>]) -> Vec<String> {
    let rule = |server: &Option<&str>| {
        let to = server.map(|server| format!("ip daddr {server} ")).unwrap_or_default();
        format!("{to}meta l4proto {{ tcp, udp }} th dport 53 meta mark != {PROXY_MARK} redirect to :{DNS_PORT}")
    };
    servers.iter().map(rule).collect()
}

fn inbound(capture: &Capture) -> Vec<String> {
    let mut rules = vec![format!("tcp dport {TUNNEL_PORT} return")];
    match &capture.include_inbound_ports {
        Selection::All => {
            rules.extend(one_of("tcp dport", &capture.exclude_inbound_ports, "return"));
            rules.push("goto istio-in-redirect".to_owned());
        }
        Selection::Only(ports) => rules.extend(one_of("tcp dport", ports, "goto istio-in-redirect")),
    }
    rules
}

fn outbound(capture: &Capture) -> Vec<String> {
    let mut rules = vec![format!("oifname \"lo\" ip saddr {INBOUND_SOURCE} return")];
    if !dns_servers(capture).is_empty() {
        rules.push("tcp dport 53 jump istio-output-dns".to_owned());
        // A resolver of this machine is asked over loopback, as no application is.
        rules.push(format!("tcp dport 53 meta mark {PROXY_MARK} return"));
    }
    rules.extend(one_of("tcp dport", &capture.exclude_outbound_ports, "return"));
    rules.push(format!(
        "oifname \"lo\" ip daddr != 127.0.0.1 tcp dport != {TUNNEL_PORT} meta mark {PROXY_MARK} goto istio-in-redirect"
    ));
    rules.push(format!("oifname \"lo\" meta mark != {PROXY_MARK} return"));
    rules.push(format!("meta mark {PROXY_MARK} return"));
    rules.push("ip daddr 127.0.0.1 return".to_owned());
    rules.extend(one_of("ip daddr", &capture.exclude_outbound_cidrs, "return"));
    match &capture.include_outbound_ports {
        Selection::All => rules.push("goto istio-redirect".to_owned()),
        Selection::Only(ports) => rules.extend(one_of("tcp dport", ports, "goto istio-redirect")),
    }
    match &capture.include_outbound_cidrs {
        Selection::All => rules.push("goto istio-redirect".to_owned()),
        Selection::Only(ranges) => rules.extend(one_of("ip daddr", ranges, "goto istio-redirect")),
    }
    rules
}

/// One rule for a list; none for an empty one. Ranges may overlap, which a set would refuse, so each is its own rule.
fn one_of(what: &str, items: &[String], verdict: &str) -> Vec<String> {
    items.iter().map(|item| format!("{what} {item} {verdict}")).collect()
}

/// Gives a rule set to `nft` in the network namespace of this process.
///
/// # Errors
/// Where `nft` is absent or refuses; its own words are in the error.
pub fn apply(rules: &str) -> io::Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start nft: {error}")))?;
    child.stdin.take().expect("invariant: standard input is piped").write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("nft refuses the capture rules: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// The removal of every rule. The table is made first, so that its absence is no error.
#[must_use]
pub fn cleanup() -> String {
    format!("table ip {TABLE} {{\n}}\ndelete table ip {TABLE}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture() -> Capture {
        Capture {
            outbound_port: 15001,
            inbound_port: 15006,
            include_outbound_cidrs: Selection::All,
            exclude_outbound_cidrs: Vec::new(),
            include_outbound_ports: Selection::Only(Vec::new()),
            exclude_outbound_ports: Vec::new(),
            include_inbound_ports: Selection::All,
            exclude_inbound_ports: ["15090", "15021", "15020"].map(str::to_owned).into(),
            dns_servers: Selection::Only(Vec::new()),
        }
    }

    #[test]
    fn rules_that_capture_dns() {
        let servers = Selection::Only(vec!["10.96.0.10".to_owned(), "192.0.2.53".to_owned()]);
        insta::assert_snapshot!(ruleset(&Capture { dns_servers: servers, ..capture() }));
        let any = ruleset(&Capture { dns_servers: Selection::All, ..capture() });
        assert!(
            any.contains("    meta l4proto { tcp, udp } th dport 53 meta mark != 1337 redirect to :15053\n"),
            "{any}"
        );
    }

    #[test]
    fn rules_of_a_usual_pod() {
        insta::assert_snapshot!(ruleset(&capture()));
    }

    #[test]
    fn rules_with_every_choice() {
        insta::assert_snapshot!(ruleset(&Capture {
            include_outbound_cidrs: parse_cidrs("10.0.0.0/8, 192.0.2.1").unwrap(),
            exclude_outbound_cidrs: vec!["10.1.0.0/16".to_owned()],
            include_outbound_ports: parse_ports("443").unwrap(),
            exclude_outbound_ports: vec!["3306".to_owned()],
            include_inbound_ports: parse_ports("8080,8443").unwrap(),
            ..capture()
        }));
    }

    #[test]
    fn nothing_but_ports_and_ranges_reaches_nft() {
        assert_eq!(parse_ports("80; flush ruleset"), Err(CaptureError::Port("80; flush ruleset".to_owned())));
        assert_eq!(parse_ports("0"), Err(CaptureError::Port("0".to_owned())));
        assert_eq!(parse_cidrs("10.0.0.0/33"), Err(CaptureError::Cidr("10.0.0.0/33".to_owned())));
        assert_eq!(parse_cidrs(""), Ok(Selection::Only(Vec::new())));
    }
}
