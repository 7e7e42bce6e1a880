//! Prints how often verdicts err. Ends with 1 where a check errs more often than it promises.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use simulation::{Table, page, simulate};

/// Run every statistical check against known truths, and compare its errors with what it promises
#[derive(Debug, Parser)]
struct Args {
    /// How often each check is run against each truth
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only checks whose description contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Print JSON in place of Markdown
    #[arg(long)]
    json: bool,
    /// Take the figures of a table that was made before, in JSON, in place of running
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "seed", "only"])]
    from: Option<PathBuf>,
    /// Folder to write `statistics.md` and `statistics.json` into
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let table = match &args.from {
        Some(path) => read(path).with_context(|| format!("cannot read {}", path.display()))?,
        None => simulate(args.runs, args.seed, &args.only, |row| eprintln!("{}", page::line(row))),
    };
    let json = serde_json::to_string_pretty(&table)? + "\n";
    print!("{}", if args.json { json.clone() } else { page::markdown(&table) });
    if let Some(folder) = args.out {
        for (name, text) in [("statistics.md", page::page(&table)), ("statistics.json", json)] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let broken = table.broken().count();
    if broken > 0 {
        eprintln!("{broken} promises are broken");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Table> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
