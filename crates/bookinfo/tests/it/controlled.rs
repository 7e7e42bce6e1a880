//! Single requests in the report, and runs that another program begins and ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bookinfo::services;
use serde_json::{Value, json};

use crate::support::{Server, World, bookinfo, closed_port, get, probe, serve};

async fn ratings() -> (Server, String) {
    let server = serve(services::ratings::router(World::default().app("ratings", "v1", "cluster1"))).await;
    let url = format!("http://{}/ratings/0", server.address);
    (server, url)
}

#[tokio::test]
async fn each_request_is_reported_with_its_times() {
    let (_server, url) = ratings().await;
    let args = ["run", "--url", &url, "--rate", "100", "--requests", "20", "--samples", "15", "--histogram"];
    let report = probe(&args).await;
    let samples = &report["samples"];
    assert_eq!(samples["columns"], json!(["intended", "sent", "firstByte", "done", "target", "connection"]));
    let rows: Vec<Vec<u64>> = serde_json::from_value(samples["rows"].clone()).unwrap();
    assert_eq!((rows.len(), &samples["dropped"]), (15, &json!(5)));
    for (index, row) in rows.iter().enumerate() {
        // The schedule, exactly: ten milliseconds apart.
        assert_eq!(row[0], index as u64 * 10_000);
        assert!(row[1] <= row[2] && row[2] <= row[3], "sent, first byte and end are in this order: {row:?}");
        let target = &samples["targets"][usize::try_from(row[4]).unwrap()];
        assert_eq!((&target["version"], &target["cluster"]), (&json!("v1"), &json!("cluster1")));
        assert_eq!(row[5], 0, "one connection");
    }
    let counted: u64 =
        report["histogram"]["buckets"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
    assert_eq!(counted, 20);
    let started = report["startUnixMicros"].as_i64().unwrap();
    let text: jiff::Timestamp = report["startedAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(text.as_microsecond(), started);
}

#[tokio::test]
async fn requests_without_an_answer_name_their_error() {
    let url = format!("http://{}/", closed_port().await);
    let report = probe(&["run", "--url", &url, "--requests", "2", "--samples", "10"]).await;
    let row = &report["samples"]["rows"][1];
    let target = usize::try_from(row[4].as_u64().unwrap()).unwrap();
    assert_eq!(report["samples"]["targets"][target], json!({ "error": "connect-refused" }));
    assert_eq!((&row[2], &row[5]), (&Value::Null, &Value::Null));
}

struct Controlled {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Controlled {
    fn begin(url: &str) -> Self {
        let args = ["probe", "run", "--url", url, "--rate", "200", "--controlled", "--samples", "100000"];
        let mut child = bookinfo(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let begun: Value = serde_json::from_str(&line).unwrap();
        assert!(begun["startedAt"].is_string(), "{begun}");
        Self { child, output }
    }

    fn report(mut self) -> Value {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&text).unwrap()
    }
}

async fn begin(url: String) -> Controlled {
    tokio::task::spawn_blocking(move || Controlled::begin(&url)).await.unwrap()
}

/// How many good answers the server has given.
async fn answers(server: &Server) -> u64 {
    let counters = get(server.address, "/metrics", &[]).await.into_body();
    let counters = String::from_utf8_lossy(&counters).into_owned();
    counters.lines().find_map(|line| line.rsplit_once("code=\"200\"} ")?.1.parse().ok()).unwrap_or(0)
}

/// Waits until the server has given some answers.
async fn under_way(server: &Server) {
    let look = async || {
        let answers = answers(server).await;
        if answers > 10 { Ok(()) } else { Err(format!("{answers} answers")) }
    };
    eventually::poll("ten answers", Duration::from_secs(10), Duration::from_millis(10), look).await.unwrap();
}

fn is_whole(report: &Value) {
    let requests = report["requests"].as_u64().unwrap();
    assert!(requests > 0 && report["answered"] == requests, "{report}");
    assert_eq!(report["samples"]["rows"].as_array().unwrap().len() as u64, requests);
    assert_eq!((&report["interrupted"], &report["planned"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_controlled_run_ends_when_it_is_told_to() {
    let (server, url) = ratings().await;
    let mut run = begin(url).await;
    under_way(&server).await;
    let report = tokio::task::spawn_blocking(move || {
        run.child.stdin.as_mut().unwrap().write_all(b"stop\n").unwrap();
        run.report()
    });
    is_whole(&report.await.unwrap());
}

#[tokio::test]
async fn a_controlled_run_ends_with_whoever_controls_it() {
    let (server, url) = ratings().await;
    let mut run = begin(url).await;
    under_way(&server).await;
    let report = tokio::task::spawn_blocking(move || {
        drop(run.child.stdin.take());
        run.report()
    });
    is_whole(&report.await.unwrap());
}

#[tokio::test]
async fn a_controlled_run_that_is_over_does_not_wait_for_its_input() {
    let (_server, url) = ratings().await;
    let elapsed = tokio::task::spawn_blocking(move || {
        let args = ["probe", "run", "--url", &url, "--requests", "3", "--controlled"];
        let begun = Instant::now();
        let mut child = bookinfo(&args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // Standard input is still open here.
        assert!(child.wait().unwrap().success());
        begun.elapsed()
    });
    assert!(elapsed.await.unwrap() < Duration::from_secs(5));
}

/// A run that waits for `start`, with the line by which it says so.
async fn held(url: String) -> Controlled {
    let hold = move || {
        let args = ["probe", "run", "--url", &url, "--rate", "100", "--requests", "3", "--offset", "2500us"];
        let mut command = bookinfo(&[&args[..], &["--samples", "9", "--controlled", "--held"]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let held: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&held["held"], &held["startedAt"]), (&json!(true), &Value::Null));
        Controlled { child, output }
    };
    tokio::task::spawn_blocking(hold).await.unwrap()
}

#[tokio::test]
async fn a_held_run_sends_nothing_before_it_is_told_to_start() {
    let (server, url) = ratings().await;
    let mut run = held(url).await;
    assert_eq!(answers(&server).await, 0);
    let (told, told_at) = (jiff::Timestamp::now(), Instant::now());
    let report = tokio::task::spawn_blocking(move || {
        run.child.stdin.as_mut().unwrap().write_all(b"start\n").unwrap();
        let mut line = String::new();
        run.output.read_line(&mut line).unwrap();
        let begun: Value = serde_json::from_str(&line).unwrap();
        (begun["startedAt"].clone(), run.report())
    });
    let (started_at, report) = report.await.unwrap();
    assert_eq!((&report["requests"], &report["interrupted"]), (&json!(3), &json!(false)));
    assert_eq!(report["startedAt"], started_at);
    // Its clock begins with the first request, which is due so long after the word.
    let began = started_at.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(began >= told + Duration::from_micros(2_500), "{report}");
    let intended: Vec<&Value> = report["samples"]["rows"].as_array().unwrap().iter().map(|row| &row[0]).collect();
    assert_eq!(intended, [0, 10_000, 20_000]);
    let milliseconds = told_at.elapsed().as_secs_f64() * 1_000.0;
    assert!(report["durationMs"].as_f64().unwrap() < milliseconds, "what was before is no part of it: {report}");
}

#[tokio::test]
async fn a_held_run_that_nobody_starts_sends_nothing() {
    let (server, url) = ratings().await;
    let mut run = held(url).await;
    let report = tokio::task::spawn_blocking(move || {
        drop(run.child.stdin.take());
        let mut line = String::new();
        run.output.read_line(&mut line).unwrap();
        run.report()
    });
    let report = report.await.unwrap();
    assert_eq!((&report["requests"], &report["interrupted"]), (&json!(0), &json!(true)));
    assert_eq!(answers(&server).await, 0);
}
