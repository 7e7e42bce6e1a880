//! `cargo xtask soak`: the scenario many times on a kept environment and on fresh ones, then runs that are killed at
//! random moments; counts verdicts and what is left behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::build::Profile;
use crate::{exit, paths, start, wait};

mod audit;
mod chance;
mod stage;

use audit::{Audit, Leftovers, Snapshot};
use chance::Chance;
use stage::Stage;

/// How long what is left may take to go after a kill.
const SETTLE: Duration = Duration::from_secs(10);
/// About how long a run takes, where none was measured.
const SOME_RUN: Duration = Duration::from_secs(15);
/// How long a runner may take to notice that its world was killed, and to write its reports.
const NOTICE: Duration = Duration::from_secs(10);

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs of the scenario on one kept environment
    #[arg(long, default_value_t = 180)]
    kept: u32,
    /// Runs from nothing
    #[arg(long, default_value_t = 20)]
    fresh: u32,
    /// Runs that are killed
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Repeat the moments of an earlier soak
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the reports of the runs
    #[arg(long)]
    out: Option<PathBuf>,
    /// Run scenarios about virtual machines, played by `docker` or `netns`
    #[arg(long, value_parser = ["docker", "netns"])]
    vms: Option<String>,
}

/// What is started, with what, and what came of it.
struct Soak {
    stage: Stage,
    audit: Audit,
    out: PathBuf,
    verdicts: BTreeMap<&'static str, u32>,
    problems: Vec<String>,
}

/// Runs all parts; prints one JSON document. Ends with 0 where all passed and nothing was left.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let envoy = match start::prepare(Profile::Development)? {
        Ok(envoy) => envoy,
        Err(findings) => return Ok(start::refuse(&findings)),
    };
    let folder = paths::scratch()?.join(format!("soak-{}", std::process::id()));
    let stage = Stage::set(&folder, &envoy, args.vms.as_deref())?;
    let audit = Audit::new(&stage.executables()?, stage.passing()).context("cannot look at the programs")?;
    let out = args.out.clone().unwrap_or_else(|| folder.join("out"));
    let mut soak = Soak { stage, audit, out, verdicts: BTreeMap::new(), problems: Vec::new() };
    let mut chance = args.seed.map_or_else(Chance::new, Chance::of);
    let seed = chance.seed();
    if args.vms.is_some() {
        // The image of machines is made once, and stays.
        soak.next_run_works("the beginning")?;
    }
    let before = soak.audit.look();
    soak.kept(args.kept)?;
    let shortest = soak.fresh(args.fresh)?;
    let kills = soak.kills(args.kills, shortest, &mut chance)?;
    let left = soak.settle(&before);
    soak.note_leftovers("at the end", &left);
    let document = json!({
        "verdicts": soak.verdicts,
        "kills": kills,
        "seed": seed,
        "problems": soak.problems,
        "notObservable": soak.audit.blind_spots(),
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    let good = soak.problems.is_empty() && soak.verdicts.keys().all(|verdict| *verdict == "pass");
    if good {
        soak.stage.clear()?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

impl Soak {
    /// Runs to the end; notes a problem where the exit code is not 0. The verdict that the code stands for.
    fn run(&mut self, what: &str, words: &[&str]) -> anyhow::Result<&'static str> {
        let output = self.stage.command(words).stderr(Stdio::piped()).output().context("cannot start meshproof")?;
        let verdict = verdict(output.status.code());
        if verdict != "pass" {
            let said = String::from_utf8_lossy(&output.stderr);
            let mut tail: Vec<_> = said.lines().rev().take(5).collect();
            tail.reverse();
            self.problems.push(format!("{what}: {verdict} ({}): {}", output.status, tail.join(" | ")));
        }
        eprintln!("{what}: {verdict}");
        Ok(verdict)
    }

    /// Runs a scenario and counts the verdict, which it gives.
    fn count(&mut self, what: &str, words: &[&str]) -> anyhow::Result<&'static str> {
        let verdict = self.run(what, words)?;
        *self.verdicts.entry(verdict).or_default() += 1;
        Ok(verdict)
    }

    fn kept(&mut self, runs: u32) -> anyhow::Result<()> {
        if runs == 0 {
            return Ok(());
        }
        let (out, filter) = (self.report("up"), self.stage.filter());
        if self.run("up", &self.stage.up(&["--name", "kept", "--out", &out]))? != "pass" {
            return Ok(());
        }
        for run in 1..=runs {
            let out = self.report(&format!("kept-{run}"));
            self.count(&format!("kept {run} of {runs}"), &["run", "--name", "kept", "-E", filter, "--out", &out])?;
        }
        self.run("down", &["down", "--name", "kept"])?;
        Ok(())
    }

    /// Gives the shortest time that a run took that passed, for choosing moments within a run.
    fn fresh(&mut self, runs: u32) -> anyhow::Result<Duration> {
        let mut shortest = None;
        for run in 1..=runs {
            let (before, begun) = (self.audit.look(), Instant::now());
            let out = self.report(&format!("fresh-{run}"));
            // A run that failed may have ended long before its time.
            let words = ["e2e", "-E", self.stage.filter(), "--out", &out];
            if self.count(&format!("fresh {run} of {runs}"), &words)? == "pass" {
                shortest = Some(shortest.unwrap_or(Duration::MAX).min(begun.elapsed()));
            }
            let left = self.settle(&before);
            self.note_leftovers(&format!("fresh {run}"), &left);
        }
        Ok(shortest.unwrap_or(SOME_RUN))
    }

    /// Kills a runner or its supervisor at a random moment, round after round; looks at what is left, and that the next
    /// run works and removes what a killed runner may leave in the state folder. A run that had ended before its moment
    /// does not count.
    fn kills(
        &mut self,
        rounds: u32,
        run: Duration,
        chance: &mut Chance,
    ) -> anyhow::Result<BTreeMap<&'static str, u32>> {
        let mut counts = BTreeMap::new();
        let (mut done, mut too_late) = (0, 0);
        while done < rounds && too_late <= rounds {
            let before = self.audit.look();
            let moment = chance.below(run);
            let Some(victim) = self.kill_one(done + 1, moment, chance.coin())? else {
                too_late += 1;
                continue;
            };
            done += 1;
            *counts.entry(victim).or_default() += 1;
            let place = format!("kill {done} of {rounds}, {victim} after {:.2} s", moment.as_secs_f64());
            let left = self.settle(&before);
            self.note_leftovers(&place, &left);
            self.next_run_works(&place)?;
        }
        if done < rounds {
            self.problems.push(format!("{too_late} runs ended before their moment, {done} were killed"));
        }
        Ok(counts)
    }

    /// Starts a run and kills it, or its supervisor where that is asked for and there is one already. `None` where the
    /// run had ended by then.
    fn kill_one(&mut self, number: u32, moment: Duration, supervisor: bool) -> anyhow::Result<Option<&'static str>> {
        let out = self.report(&format!("kill-{number}"));
        let mut command = self.stage.command(&["e2e", "-E", self.stage.filter(), "--out", &out]);
        let mut runner = command.stderr(Stdio::null()).spawn().context("cannot start meshproof")?;
        wait::pass(moment);
        let Some(victim) = kill(&mut runner, supervisor)? else { return Ok(None) };
        let ended = wait::until(NOTICE, Duration::from_millis(20), || match runner.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it still runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        match ended {
            Ok(status) => eprintln!("kill {number}: {victim} after {:.2} s: {status}", moment.as_secs_f64()),
            Err(why) => {
                self.problems.push(format!("kill {number}: the runner did not end in {NOTICE:?}: {why}"));
                runner.kill().context("cannot end the runner")?;
                runner.wait().context("cannot wait for the runner")?;
            }
        }
        Ok(Some(victim))
    }

    fn next_run_works(&mut self, place: &str) -> anyhow::Result<()> {
        self.run(&format!("up after {place}"), &self.stage.up(&["--name", "after"]))?;
        self.run(&format!("down after {place}"), &["down", "--name", "after"])?;
        let kept = self.stage.environments();
        if !kept.is_empty() {
            self.problems.push(format!("{place}: the state folder still holds {}", kept.join(", ")));
        }
        Ok(())
    }

    /// Folder for the reports of one run.
    fn report(&self, run: &str) -> String {
        self.out.join(run).to_string_lossy().into_owned()
    }

    /// Waits until nothing is left, and gives what still is at the end of the time.
    fn settle(&self, before: &Snapshot) -> Leftovers {
        let gone = wait::until(SETTLE, Duration::from_millis(50), || {
            let left = self.audit.look().beyond(before);
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        gone.err().unwrap_or_default()
    }

    fn note_leftovers(&mut self, place: &str, left: &Leftovers) {
        if !left.is_empty() {
            eprintln!("{place}: left behind: {left}");
            self.problems.push(format!("{place}: left behind: {left}"));
        }
    }
}

/// Kills the supervisor where it is to be that one and there is one already; the runner otherwise. `None` where the
/// run has ended by itself.
fn kill(runner: &mut Child, supervisor: bool) -> anyhow::Result<Option<&'static str>> {
    let pid = supervisor.then(|| audit::supervisor(runner.id(), "meshproof-substrate")).flatten();
    if let Some(pid) = pid {
        let pid = nix::unistd::Pid::from_raw(pid);
        // It may have ended by itself between the look and the kill.
        if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok() {
            return Ok(Some("supervisor"));
        }
    }
    if runner.try_wait().context("cannot look at the runner")?.is_some() {
        return Ok(None);
    }
    runner.kill().context("cannot kill the runner")?;
    Ok(Some("runner"))
}

/// The verdict that an exit code of meshproof stands for.
fn verdict(code: Option<i32>) -> &'static str {
    match code {
        Some(0) => "pass",
        Some(5) => "inconclusive",
        Some(100) => "fail",
        Some(105) => "environment failed",
        Some(96) => "machine cannot",
        _ => "error",
    }
}
