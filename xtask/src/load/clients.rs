//! The load generators: how each is started, and what its words mean.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::finding::Finding;

/// A load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// `bookinfo probe run`.
    Probe,
    /// `wrk` with one thread.
    Wrk,
    /// nghttp2's `h2load` over HTTP/1.1 with one thread.
    H2load,
}

/// What to send.
#[derive(Debug)]
pub(super) struct Load<'a> {
    pub(super) url: &'a str,
    pub(super) seconds: u16,
    pub(super) connections: u16,
    pub(super) bookinfo: &'a Path,
}

/// How punctually an open loop sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Punctuality {
    pub(super) requests: u64,
    /// More than a millisecond after their time.
    pub(super) late: u64,
    /// 99.9 % left at most so long after their time.
    pub(super) p999_ms: f64,
}

impl Punctuality {
    pub(super) fn late_part(&self) -> f64 {
        self.late as f64 / self.requests.max(1) as f64
    }
}

impl Client {
    pub(super) const ALL: [Self; 3] = [Self::Probe, Self::Wrk, Self::H2load];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }

    /// What to do where it is not on PATH.
    pub(super) fn missing(self) -> Option<Finding> {
        let found = Command::new(self.name()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let error = found.err()?;
        let package = if self == Self::H2load { "nghttp2-client" } else { self.name() };
        Some(Finding {
            what: format!("there is no {}", self.name()),
            cause: error.to_string(),
            cure: format!("apt-get install {package}"),
        })
    }

    /// Requests a second that were answered well.
    pub(super) fn throughput(self, load: &Load<'_>) -> anyhow::Result<f64> {
        let (seconds, connections) = (load.seconds.to_string(), load.connections.to_string());
        let mut command = Command::new(self.name());
        match self {
            Self::Probe => {
                command = Command::new(load.bookinfo);
                command.args(["probe", "run", "--url", load.url, "--connections", &connections]);
                command.arg(format!("--duration={seconds}s"));
            }
            Self::Wrk => {
                command.args(["-t1", "-c", &connections, "-d", &format!("{seconds}s"), load.url]);
            }
            Self::H2load => {
                command.args(["--h1", "-t1", "-c", &connections, "-D", &seconds, load.url]);
            }
        }
        let text = words(&run(&mut command)?);
        let rate = match self {
            Self::Probe => probe_rate(&text),
            Self::Wrk => wrk_rate(&text),
            Self::H2load => h2load_rate(&text),
        };
        rate.with_context(|| format!("{} said what cannot be read:\n{text}", self.name()))
    }
}

/// Runs the probe's open loop.
pub(super) fn punctuality(load: &Load<'_>, rate: u32) -> anyhow::Result<Punctuality> {
    let mut command = Command::new(load.bookinfo);
    command.args(["probe", "run", "--url", load.url, "--connections", &load.connections.to_string()]);
    command.args([format!("--rate={rate}"), format!("--duration={}s", load.seconds)]);
    let text = words(&run(&mut command)?);
    read_punctuality(&text).with_context(|| format!("the probe said what cannot be read:\n{text}"))
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(output)
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn probe_rate(text: &str) -> Option<f64> {
    let report: Value = serde_json::from_str(text).ok()?;
    let good = report["byStatus"]["200"].as_f64().unwrap_or(0.0);
    let requests = report["requests"].as_f64()?;
    let seconds = report["durationMs"].as_f64()? / 1e3;
    // A rate of failures would be a rate of something else.
    (good > 0.0 && good / requests > 0.99).then_some(good / seconds)
}

fn wrk_rate(text: &str) -> Option<f64> {
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return None;
    }
    text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"))?.trim().parse().ok()
}

fn h2load_rate(text: &str) -> Option<f64> {
    let codes = text.lines().find_map(|line| line.strip_prefix("status codes:"))?;
    let good = codes.split(',').find_map(|code| code.trim().strip_suffix("2xx"))?.trim();
    // "finished in 2.00s, 12345.67 req/s, 3.21MB/s"
    let line = text.lines().find(|line| line.starts_with("finished in"))?;
    let rate = line.split(',').find_map(|part| part.trim().strip_suffix("req/s"))?.trim().parse().ok()?;
    (good != "0").then_some(rate)
}

fn read_punctuality(text: &str) -> Option<Punctuality> {
    let report: Value = serde_json::from_str(text).ok()?;
    Some(Punctuality {
        requests: report["requests"].as_u64()?,
        late: report["lateSends"].as_u64()?,
        p999_ms: report["startDelayMs"]["p999"].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  84211 requests in 2.00s\n\
        Requests/sec:  42087.31\nTransfer/sec:     12.28MB\n";
    const H2LOAD: &str = "finished in 2.01s, 51234.50 req/s, 14.30MB/s\n\
        requests: 102469 total, 102485 started, 102469 done, 102469 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 102469 2xx, 0 3xx, 0 4xx, 0 5xx\n";

    #[test]
    fn the_words_of_each_client_are_read() {
        assert_eq!(wrk_rate(WRK), Some(42_087.31));
        assert_eq!(h2load_rate(H2LOAD), Some(51_234.5));
        let report = r#"{"byStatus":{"200":5000},"requests":5000,"durationMs":2000.0}"#;
        assert_eq!(probe_rate(report), Some(2_500.0));
    }

    #[test]
    fn a_rate_of_failures_is_none() {
        assert_eq!(wrk_rate(&format!("{WRK}  Non-2xx or 3xx responses: 84211\n")), None);
        assert_eq!(h2load_rate(&H2LOAD.replace("102469 2xx", "0 2xx")), None);
        assert_eq!(probe_rate(r#"{"byStatus":{"503":5000},"requests":5000,"durationMs":2000.0}"#), None);
    }

    #[test]
    fn punctuality_is_read_from_the_probes_report() {
        let report = r#"{"requests":10000,"lateSends":7,"startDelayMs":{"p50":0.03,"p999":0.61}}"#;
        let read = read_punctuality(report);
        assert_eq!(read, Some(Punctuality { requests: 10_000, late: 7, p999_ms: 0.61 }));
        assert!(read.is_some_and(|read| (read.late_part() - 0.0007).abs() < 1e-9));
    }
}
