//! Checked traffic: what is sent, from where, and what must hold of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::{Converge, Expectation};
use crate::scenario::keys::serialize_duration;
use crate::topology::Workload;
use crate::traffic::probe::Protocol;

/// Requests to send and what to expect of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The workloads whose pods send, all at once; at least one.
    pub from: Vec<Workload>,
    /// Pods of their own that send in place of those of `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// Absolute URL as that pod resolves it, with the scheme of the scenario file.
    pub url: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Service whose hop inside the answer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// Method of HTTP requests; `None` is `GET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Body of a request, or text of a message or line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Additional headers.
    pub headers: BTreeMap<String, String>,
    /// How many requests each source sends: what the expectations need, or more if the file says so. The most where it may
    /// stop early.
    pub requests: u64,
    /// Whether it ends as soon as every split is decided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub early_stop: bool,
    /// How many connections of each source at a time, closed loop.
    pub connections: u32,
    /// Whether each request opens its own connection.
    pub new_connection_per_request: bool,
    /// Requests of each source a second, whether or not earlier ones were answered; `None` sends the next after an answer.
    pub rate: Option<u32>,
    /// Longest time for one answer.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// What must hold; at least one.
    pub expectations: Vec<Expectation>,
}

/// Pods that are made for a step to send in place of its sources' own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// How many for each source, in the order of the sources; at least one.
    pub of_each: Vec<u32>,
    /// What is waited for before they send: that their proxies hold what the others hold.
    pub converge: Converge,
}

impl Workers {
    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.of_each.iter().sum()
    }
}

impl Traffic {
    /// How many requests all sources send.
    #[must_use]
    pub fn all_requests(&self) -> u64 {
        self.requests * self.from.len() as u64
    }

    /// The host that is asked, as the URL names it.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = authority(&self.url);
        authority.rsplit_once(':').map_or(authority, |(host, _)| host)
    }

    /// The port that is asked, as the URL names it; empty where it does not.
    #[must_use]
    pub fn port(&self) -> &str {
        authority(&self.url).rsplit_once(':').map_or("", |(_, port)| port)
    }
}

fn authority(url: &str) -> &str {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    place.split(['/', '?']).next().unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_those_of_the_url() {
        assert_eq!([authority("tcp://echo:9000"), authority("tls://echo.a:9443/x?y=1")], ["echo:9000", "echo.a:9443"]);
        assert_eq!([authority("http://echo/"), authority("http://echo?x=a/b:1")], ["echo", "echo"]);
    }
}
