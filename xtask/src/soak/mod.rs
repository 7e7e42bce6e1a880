//! `cargo xtask soak`: the scenario many times on a kept environment and on fresh ones, then runs that are killed at
//! random moments; counts verdicts and what is left behind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::{envoy, exit, paths, start, wait};

mod audit;
mod chance;

use audit::{Leftovers, Snapshot};
use chance::Chance;

/// How long what is left may take to go after a kill.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a runner may take to notice that its world was killed.
const NOTICE: Duration = Duration::from_secs(60);

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
}

/// What is started, and with what.
struct Soak {
    program: PathBuf,
    programs: PathBuf,
    envoy: PathBuf,
    out: PathBuf,
    verdicts: BTreeMap<&'static str, u32>,
    problems: Vec<String>,
}

/// Runs all parts; prints one JSON document. Ends with 0 where all passed and nothing was left.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let envoy = match start::prepare()? {
        Ok(envoy) => envoy,
        Err(findings) => return Ok(start::refuse(&findings)),
    };
    let out = match &args.out {
        Some(folder) => folder.clone(),
        None => paths::scratch()?.join(format!("soak-{}", std::process::id())),
    };
    let (program, programs) = (paths::program("meshproof")?, paths::programs()?);
    let mut soak = Soak { program, programs, envoy, out, verdicts: BTreeMap::new(), problems: Vec::new() };
    let mut chance = args.seed.map_or_else(Chance::new, Chance::of);
    let seed = chance.seed();
    let before = soak.look();
    soak.kept(args.kept)?;
    let longest = soak.fresh(args.fresh)?;
    let kills = soak.kills(args.kills, longest, &mut chance)?;
    let left = soak.settle(&before);
    soak.note_leftovers("at the end", &left);
    let document = json!({
        "verdicts": soak.verdicts,
        "kills": kills,
        "seed": seed,
        "problems": soak.problems,
    });
    println!("{}", serde_json::to_string_pretty(&document)?);
    let good = soak.problems.is_empty() && soak.verdicts.keys().all(|verdict| *verdict == "pass");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}

impl Soak {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env(envoy::VARIABLE, &self.envoy).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs to the end and counts the verdict that the exit code stands for.
    fn count(&mut self, what: &str, words: &[&str]) -> anyhow::Result<()> {
        let output = self.command(words).stderr(Stdio::piped()).output().context("cannot start meshproof")?;
        let verdict = verdict(output.status.code());
        *self.verdicts.entry(verdict).or_default() += 1;
        if verdict != "pass" {
            let said = String::from_utf8_lossy(&output.stderr);
            let tail: Vec<_> = said.lines().rev().take(5).collect();
            self.problems.push(format!(
                "{what}: {verdict} ({}): {}",
                output.status,
                tail.into_iter().rev().collect::<Vec<_>>().join(" | ")
            ));
        }
        eprintln!("{what}: {verdict}");
        Ok(())
    }

    fn kept(&mut self, runs: u32) -> anyhow::Result<()> {
        if runs == 0 {
            return Ok(());
        }
        let name = format!("soak-{}", std::process::id());
        let out = self.out.join("up");
        let words = ["up", "--name", &name, "--out", &out.to_string_lossy()];
        let up = self.command(&words).status().context("cannot start meshproof")?;
        if !up.success() {
            self.problems.push(format!("`meshproof up` ended with {up}"));
            return Ok(());
        }
        for run in 1..=runs {
            let out = self.out.join(format!("kept-{run}"));
            let words = ["run", "--name", &name, "--out", &out.to_string_lossy()];
            self.count(&format!("kept {run} of {runs}"), &words)?;
        }
        let down = self.command(&["down", "--name", &name]).status().context("cannot start meshproof")?;
        if !down.success() {
            self.problems.push(format!("`meshproof down` ended with {down}"));
        }
        Ok(())
    }

    /// Gives the longest time that a run took, for choosing moments within a run.
    fn fresh(&mut self, runs: u32) -> anyhow::Result<Duration> {
        let mut longest = Duration::from_secs(10);
        for run in 1..=runs {
            let out = self.out.join(format!("fresh-{run}"));
            let (before, begun) = (self.look(), Instant::now());
            self.count(&format!("fresh {run} of {runs}"), &["e2e", "--out", &out.to_string_lossy()])?;
            longest = longest.max(begun.elapsed());
            let left = self.settle(&before);
            self.note_leftovers(&format!("fresh {run}"), &left);
        }
        Ok(longest)
    }

    /// Kills a runner or its supervisor at a random moment, round after round, and looks at what is left.
    fn kills(&mut self, rounds: u32, longest: Duration, chance: &mut Chance) -> anyhow::Result<BTreeMap<String, u32>> {
        let mut counts = BTreeMap::new();
        for round in 1..=rounds {
            let before = self.look();
            let out = self.out.join(format!("kill-{round}"));
            let mut command = self.command(&["e2e", "--out", &out.to_string_lossy()]);
            let mut runner = command.stderr(Stdio::null()).spawn().context("cannot start meshproof")?;
            let moment = chance.below(longest);
            wait::pass(moment);
            let victim = self.kill(&mut runner, chance.coin())?;
            let ended = wait::until(NOTICE, Duration::from_millis(20), || match runner.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("it still runs".to_owned()),
                Err(error) => Err(error.to_string()),
            });
            let place = format!("kill {round}: {victim} after {:.2} s", moment.as_secs_f64());
            match ended {
                Ok(status) => eprintln!("{place}: the runner ended with {status}"),
                Err(why) => {
                    self.problems.push(format!("{place}: the runner did not end in {NOTICE:?}: {why}"));
                    runner.kill().context("cannot end the runner")?;
                    runner.wait().context("cannot wait for the runner")?;
                }
            }
            let left = self.settle(&before);
            self.note_leftovers(&place, &left);
            *counts.entry(victim).or_default() += 1;
        }
        if rounds > 0 {
            let out = self.out.join("after-kills");
            self.count("the run after the kills", &["e2e", "--out", &out.to_string_lossy()])?;
        }
        Ok(counts)
    }

    /// Kills the supervisor where it is to be that one and there is one already; the runner otherwise.
    fn kill(&self, runner: &mut Child, supervisor: bool) -> anyhow::Result<String> {
        if let Some(status) = runner.try_wait().context("cannot look at the runner")? {
            return Ok(format!("nobody, for the runner had ended with {status}"));
        }
        let pid = supervisor.then(|| audit::child_with_name(runner.id(), "meshproof-substrate")).flatten();
        if let Some(pid) = pid {
            let pid = nix::unistd::Pid::from_raw(pid);
            // It may have ended by itself between the look and the kill.
            if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok() {
                return Ok("supervisor".to_owned());
            }
        }
        runner.kill().context("cannot kill the runner")?;
        Ok("runner".to_owned())
    }

    fn look(&self) -> Snapshot {
        Snapshot::look(&[&self.programs, &self.envoy])
    }

    /// Waits until nothing is left, and gives what still is at the end of the time.
    fn settle(&self, before: &Snapshot) -> Leftovers {
        let gone = wait::until(SETTLE, Duration::from_millis(50), || {
            let left = self.look().beyond(before);
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
