//! Storms: errors on request, which end with whoever asked for them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Started, bookinfo, get};

struct Holder {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn begin(server: &Started, more: &[&str]) -> Self {
        let port = format!("--port={}", server.address.port());
        let args: Vec<&str> = ["storm", &port].iter().chain(more).copied().collect();
        let mut child = bookinfo(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains("startedAt"), "{line}");
        Self { child, output }
    }

    fn damage(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&text).unwrap()
    }
}

async fn statuses(server: &Started, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        statuses.push(get(server.address, "/details/0", &[]).await.status().as_u16());
    }
    statuses
}

/// Waits until requests are answered again: somebody ended the storm at a moment of its own.
async fn over(server: &Started) {
    let look = async || match statuses(server, 1).await.as_slice() {
        [200] => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually::poll("the storm to end", Duration::from_secs(10), Duration::from_millis(10), look).await.unwrap();
}

#[tokio::test]
async fn a_storm_strikes_its_share_and_spares_health() {
    let server = Started::new("details");
    let storm = Holder::begin(&server, &["--percent=50", "--status=503"]);
    assert_eq!(statuses(&server, 4).await, [200, 503, 200, 503]);
    assert_eq!(get(server.address, "/health", &[]).await.status(), 200);
    let answer = get(server.address, "/details/0", &[]).await;
    assert!(answer.headers().contains_key("x-served-by"), "{:?}", answer.headers());
    assert_eq!(storm.damage(), json!({ "requests": 5, "struck": 2, "expired": false }));
    assert_eq!(statuses(&server, 2).await, [200, 200]);
}

#[tokio::test]
async fn a_storm_ends_with_whoever_asked_for_it() {
    let server = Started::new("details");
    let mut storm = Holder::begin(&server, &[]);
    assert_eq!(statuses(&server, 2).await, [500, 500]);
    storm.child.kill().unwrap();
    storm.child.wait().unwrap();
    over(&server).await;
}

#[tokio::test]
async fn a_storm_ends_when_its_time_is_up() {
    let server = Started::new("details");
    let storm = Holder::begin(&server, &["--lasting=300ms"]);
    over(&server).await;
    assert_eq!(storm.damage()["expired"], true);
}

#[tokio::test]
async fn who_asks_in_vain_is_told() {
    let server = Started::new("details");
    let _storm = Holder::begin(&server, &[]);
    let port = format!("--port={}", server.address.port());
    let second = bookinfo(&["storm", &port]).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("a storm rages already"), "{second:?}");
}
