//! `cargo xtask bench load`: how fast and how punctual the probe is, beside `wrk` and `h2load` against the same servers.
//!
//! Three ways: to the sample application directly, to it through one Envoy, and to an Envoy that answers by itself, which
//! is the fastest server here and leaves the client no excuse. The clients take turns, round by round, and are compared
//! within a round: on a shared machine ratios hold where figures do not.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::finding::{self, Finding};
use crate::{bench, build, envoy, exit, numbers, paths, wait};

mod clients;
mod servers;

use clients::{Client, Load};
use servers::Servers;

/// Throughput of a closed loop, as a part of `wrk`'s.
const THROUGHPUT: f64 = 0.8;
/// Part of an open loop's requests that may leave more than a millisecond after their time.
const LATE: f64 = 0.001;

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many rounds; each measures every client on every way
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds that one client sends
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Connections of a closed loop
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Requests a second of the open loop
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
}

/// Measures; prints one JSON document. A target that is missed is told and fails nothing: machines are shared and noisy.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let missing: Vec<Finding> = [Client::Wrk, Client::H2load].into_iter().filter_map(Client::missing).collect();
    if !missing.is_empty() {
        finding::print("there is nothing to compare with:", &missing);
        return Ok(ExitCode::from(exit::MACHINE));
    }
    let envoy = match envoy::plan() {
        Ok(plan) => envoy::carry_out(plan)?,
        Err(finding) => {
            finding::print("this machine cannot do that:", &[finding]);
            return Ok(ExitCode::from(exit::MACHINE));
        }
    };
    build::program("bookinfo")?;
    let bookinfo = paths::program("bookinfo")?;
    let servers = Servers::start(&bookinfo, &envoy)?;
    let measured = measure(args, &servers, &bookinfo)?;
    println!("{}", serde_json::to_string_pretty(&document(args, &measured))?);
    Ok(ExitCode::SUCCESS)
}

/// Requests a second of each client on each way, and the open loops' late parts, round by round.
#[derive(Debug, Default)]
struct Measured {
    closed: Vec<(&'static str, Vec<[f64; 3]>)>,
    open: Vec<(&'static str, Vec<clients::Punctuality>)>,
    /// Part of a bare thread's wake-ups that were late, round by round: what no client can be better than.
    bare: Vec<f64>,
}

fn measure(args: &Args, servers: &Servers, bookinfo: &PathBuf) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let all = Client::ALL;
    for (way, url) in servers.ways() {
        let load = Load { url: &url, seconds: args.seconds, connections: args.connections, bookinfo };
        let (mut closed, mut open) = (Vec::new(), Vec::new());
        for round in 0..usize::from(args.rounds) {
            let mut rates = [0.0; 3];
            // Who goes first has the machine to itself a little more: everybody does so in turn.
            for place in 0..all.len() {
                let index = (place + round) % all.len();
                rates[index] = all[index].throughput(&load).with_context(|| format!("round {round} on {way}"))?;
            }
            measured.bare.push(wait::late_part(args.rate, Duration::from_secs(1)));
            let punctuality = clients::punctuality(&load, args.rate)?;
            eprintln!("{way}, round {}: {}", round + 1, told(&rates, &punctuality));
            closed.push(rates);
            open.push(punctuality);
        }
        measured.closed.push((way, closed));
        measured.open.push((way, open));
    }
    Ok(measured)
}

fn told(rates: &[f64; 3], punctuality: &clients::Punctuality) -> String {
    let rates: Vec<_> =
        Client::ALL.iter().zip(rates).map(|(client, rate)| format!("{} {rate:.0}/s", client.name())).collect();
    format!("{}; open loop {} of {} late", rates.join(", "), punctuality.late, punctuality.requests)
}

fn document(args: &Args, measured: &Measured) -> Value {
    let closed = measured.closed.iter().map(|(way, rounds)| ((*way).to_owned(), closed_loop(rounds)));
    let open = measured.open.iter().map(|(way, rounds)| ((*way).to_owned(), open_loop(rounds)));
    json!({
        "measured": "load",
        "rounds": args.rounds,
        "seconds": args.seconds,
        "connections": args.connections,
        "rate": args.rate,
        "machine": bench::machine(),
        "closedLoop": closed.collect::<Map<_, _>>(),
        "bareThreadMoreThanAMillisecondLate": numbers::summarise(&measured.bare),
        "openLoop": open.collect::<Map<_, _>>(),
    })
}

/// Rates, and the probe's in relation to the others' of the same round.
fn closed_loop(rounds: &[[f64; 3]]) -> Value {
    let of = |index: usize| rounds.iter().map(|rates| rates[index]).collect::<Vec<_>>();
    let ratio = |index: usize| {
        let ratios = rounds.iter().filter(|rates| rates[index] > 0.0).map(|rates| rates[0] / rates[index]);
        numbers::summarise(&ratios.collect::<Vec<_>>())
    };
    let to_wrk = ratio(1);
    let met = to_wrk.as_ref().map(|ratio| ratio.median >= THROUGHPUT);
    json!({
        "requestsPerSecond": {
            "probe": numbers::summarise(&of(0)),
            "wrk": numbers::summarise(&of(1)),
            "h2load": numbers::summarise(&of(2)),
        },
        "probeToWrk": { "measured": to_wrk, "target": THROUGHPUT, "medianMeetsTarget": met },
        "probeToH2load": ratio(2),
    })
}

fn open_loop(rounds: &[clients::Punctuality]) -> Value {
    let parts: Vec<f64> = rounds.iter().map(clients::Punctuality::late_part).collect();
    let delays: Vec<f64> = rounds.iter().map(|round| round.p999_ms).collect();
    let late = numbers::summarise(&parts);
    let met = late.as_ref().map(|late| late.median <= LATE);
    json!({
        "partMoreThanAMillisecondLate": { "measured": late, "target": LATE, "medianMeetsTarget": met },
        "startDelayP999Ms": numbers::summarise(&delays),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_compared_within_a_round() {
        // The machine was twice as slow in the second round; the ratio is the same.
        let value = closed_loop(&[[80.0, 100.0, 160.0], [40.0, 50.0, 80.0]]);
        assert_eq!(value["probeToWrk"]["measured"]["median"], 0.8);
        assert_eq!(value["probeToWrk"]["medianMeetsTarget"], true);
        assert_eq!(value["probeToH2load"]["max"], 0.5);
        assert_eq!(closed_loop(&[[79.0, 100.0, 1.0]])["probeToWrk"]["medianMeetsTarget"], false);
    }

    #[test]
    fn an_open_loop_is_punctual_or_not() {
        let round = |late| clients::Punctuality { requests: 10_000, late, p999_ms: 0.4 };
        assert_eq!(open_loop(&[round(10)])["partMoreThanAMillisecondLate"]["medianMeetsTarget"], true);
        assert_eq!(open_loop(&[round(11)])["partMoreThanAMillisecondLate"]["medianMeetsTarget"], false);
    }
}
