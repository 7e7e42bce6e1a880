//! The small vocabulary of scenario files: what splits are keyed by, how connections end, why requests fail.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// Category of requests that were not answered with status 200.
pub const FAILED: &str = "failed";

/// One property of the workload that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPart {
    /// Its version label.
    Version,
    /// Its cluster.
    Cluster,
    /// Its network.
    Network,
    /// Its pod.
    Pod,
}

impl KeyPart {
    const ALL: [Self; 4] = [Self::Version, Self::Cluster, Self::Network, Self::Pod];

    fn word(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Cluster => "cluster",
            Self::Network => "network",
            Self::Pod => "pod",
        }
    }
}

/// What tells the categories of a split apart: one property, or several joined by `@` as in `version@cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SplitKey(Vec<KeyPart>);

impl SplitKey {
    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[KeyPart] {
        &self.0
    }

    /// The category of an answer, given a look-up for its properties: `v3@cluster2`.
    pub fn category(&self, property: impl Fn(KeyPart) -> String) -> String {
        let values: Vec<String> = self.0.iter().map(|part| property(*part)).collect();
        values.join("@")
    }
}

/// A token of a service account, as a virtual machine is given it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TokenKind {
    /// For the control plane, signed by the cluster, and not yet expired.
    #[default]
    Good,
    /// Signed by the cluster, for the control plane, and expired.
    Expired,
    /// Signed by somebody else.
    Forged,
    /// Signed by the cluster, for another audience.
    WrongAudience,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Good => "a good token",
            Self::Expired => "an expired token",
            Self::Forged => "a forged token",
            Self::WrongAudience => "a token for another audience",
        })
    }
}

/// A certificate of a virtual machine's identity, by the authority of its cluster, that it did not buy by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CertificateKind {
    /// Valid now.
    Good,
    /// Valid until an hour ago.
    Expired,
    /// Valid from in an hour on.
    NotYetValid,
}

impl fmt::Display for CertificateKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Good => "a certificate that is valid",
            Self::Expired => "a certificate that has expired",
            Self::NotYetValid => "a certificate that is not valid yet",
        })
    }
}

/// The text is no split key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no property of an answer")]
pub struct UnknownKey(pub String);

impl FromStr for SplitKey {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |word: &str| {
            let known = KeyPart::ALL.into_iter().find(|part| part.word() == word);
            known.ok_or_else(|| UnknownKey(word.to_owned()))
        };
        text.split('@').map(part).collect::<Result<Vec<_>, _>>().map(Self)
    }
}

impl fmt::Display for SplitKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|part| part.word()).collect();
        formatter.write_str(&words.join("@"))
    }
}

impl Serialize for SplitKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How a connection attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionOutcome {
    /// The connection opens, and an answer comes where one was asked for.
    Answered,
    /// The connection opens; nothing was asked.
    Connected,
    /// The other side refuses the connection.
    Refused,
    /// The other side opens the connection and closes it without an answer.
    Reset,
    /// Nothing happens in time.
    Timeout,
    /// A router says that there is no way.
    Unreachable,
}

impl ConnectionOutcome {
    /// The word used in files and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Why requests fail, as a proxy's own counters tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureReason {
    /// The gateway knows no such service or subset: `no_filter_chain_match` on its TLS listener.
    NoFilterChainMatch,
    /// The TLS handshake fails.
    TlsHandshake,
    /// No healthy endpoint is left.
    NoHealthyUpstream,
    /// The route does not exist.
    NoRoute,
}

impl FailureReason {
    /// The word used in files and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoFilterChainMatch => "no-filter-chain-match",
            Self::TlsHandshake => "tls-handshake",
            Self::NoHealthyUpstream => "no-healthy-upstream",
            Self::NoRoute => "no-route",
        }
    }
}

/// Why a proxy refuses, as its own counters tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DenialReason {
    /// A policy: status 403 with `RBAC: access denied`, or a connection closed by the same filter.
    Rbac,
    /// A TLS handshake that fails, or plain text where TLS is demanded.
    TlsHandshake,
    /// No route for the host or path: status 404.
    NoRoute,
    /// No healthy endpoint: status 503.
    NoHealthyUpstream,
    /// No such service or subset, on a gateway that passes TLS on.
    NoFilterChainMatch,
}

impl DenialReason {
    /// The word used in files and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rbac => "rbac",
            Self::TlsHandshake => "tls-handshake",
            Self::NoRoute => "no-route",
            Self::NoHealthyUpstream => "no-healthy-upstream",
            Self::NoFilterChainMatch => "no-filter-chain-match",
        }
    }

    /// The status that a client then sees; several where it depends on the protocol of the hop.
    #[must_use]
    pub fn statuses(self) -> &'static [u16] {
        match self {
            Self::Rbac => &[403],
            Self::NoRoute => &[404],
            Self::TlsHandshake | Self::NoHealthyUpstream | Self::NoFilterChainMatch => &[503],
        }
    }

    /// How a connection attempt then ends; empty where only requests are refused so.
    #[must_use]
    pub fn connections(self) -> &'static [ConnectionOutcome] {
        match self {
            Self::Rbac | Self::TlsHandshake | Self::NoFilterChainMatch => {
                &[ConnectionOutcome::Reset, ConnectionOutcome::Refused]
            }
            Self::NoRoute | Self::NoHealthyUpstream => &[],
        }
    }

    /// How the names of Envoy's counters end that count it.
    #[must_use]
    pub fn counters(self) -> &'static [&'static str] {
        match self {
            Self::Rbac => &["rbac.denied"],
            Self::TlsHandshake => &[
                "ssl.connection_error",
                "ssl.fail_verify_error",
                "ssl.fail_verify_no_cert",
                "ssl.fail_verify_san",
                "no_filter_chain_match",
            ],
            Self::NoRoute => &["no_route"],
            Self::NoHealthyUpstream => &["upstream_cx_none_healthy"],
            Self::NoFilterChainMatch => &["no_filter_chain_match"],
        }
    }
}

/// Which way a link is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkDirection {
    /// Both ways.
    #[default]
    Both,
    /// From the first to the second only.
    Forward,
}

/// Something that an environment may be able to do, and another may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Links between networks can be cut.
    Cut,
    /// Links between networks can be made slow.
    Delay,
    /// Links between networks can be made lossy.
    Loss,
    /// What passes a link can be recorded.
    Tap,
    /// API servers can be paused.
    PauseApiServer,
}

impl Capability {
    /// The same, as the links of an environment know it.
    #[must_use]
    pub fn of_links(self) -> crate::links::Capability {
        match self {
            Self::Cut => crate::links::Capability::Cut,
            Self::Delay => crate::links::Capability::Delay,
            Self::Loss => crate::links::Capability::Loss,
            Self::Tap => crate::links::Capability::Tap,
            Self::PauseApiServer => crate::links::Capability::PauseApiServer,
        }
    }

    /// The word used in files and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Tap => "tap",
            Self::PauseApiServer => "pause-api-server",
        }
    }
}

/// The text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration; write a number and a unit, such as `500ms`, `30s` or `2m`")]
pub struct NoDuration(pub String);

/// Reads `500ms`, `30s`, `2m` or `1h`.
///
/// # Errors
/// [`NoDuration`] for anything else.
pub fn parse_duration(text: &str) -> Result<Duration, NoDuration> {
    let error = || NoDuration(text.to_owned());
    let split = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| error())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(error()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(error)
}

/// Writes a duration as [`parse_duration`] reads it.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds.is_multiple_of(1_000) { format!("{}s", milliseconds / 1_000) } else { format!("{milliseconds}ms") }
}

pub(crate) fn serialize_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&duration_text(*duration))
}

pub(crate) fn serialize_some_duration<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(duration_text).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "5", "s", "5 s", "-5s", "1.5s", "99999999999999999999s", "5d", "18446744073709551615h"] {
            assert_eq!(parse_duration(text), Err(NoDuration(text.to_owned())), "{text}");
        }
        assert_eq!(duration_text(Duration::from_millis(1_500)), "1500ms");
        assert_eq!(duration_text(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn keys_join_properties() {
        let key: SplitKey = "version@cluster".parse().expect("a key");
        let category = key.category(|part| match part {
            KeyPart::Version => "v3".to_owned(),
            _ => "cluster2".to_owned(),
        });
        assert_eq!(category, "v3@cluster2");
        assert_eq!(key.to_string(), "version@cluster");
        assert_eq!("version@colour".parse::<SplitKey>(), Err(UnknownKey("colour".to_owned())));
        assert!("".parse::<SplitKey>().is_err());
    }
}
