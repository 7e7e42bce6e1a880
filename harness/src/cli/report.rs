//! Options of `report`. Comments here are what `-h` shows.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};

/// The forms of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A summary for people.
    #[default]
    Text,
    /// report.json.
    Json,
    /// junit.xml.
    Junit,
    /// report.html.
    Html,
}

/// Options of `report`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ReportArgs {
    /// Work with several runs.
    #[command(subcommand)]
    pub several: Option<Several>,
    /// The run: its id or how that begins, its name in the list, or its folder; by default the newest
    pub run: Option<String>,
    /// List the recorded runs, newest first
    #[arg(long, conflicts_with_all = ["run", "open"])]
    pub list: bool,
    /// Open the page with the program that this desktop has for it
    #[arg(long)]
    pub open: bool,
    /// How to print; made anew from the recorded events
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

/// Work with several runs.
#[derive(Debug, Subcommand)]
pub enum Several {
    /// Make one report of all shards; the exit code is that of the worst
    #[command(
        after_help = "Where GITHUB_STEP_SUMMARY is set, the summary of the job is appended to that file.\n\nExamples:\n  meshproof report merge shard-1 shard-2 --out merged\n  meshproof report merge shards --out merged"
    )]
    Merge(MergeArgs),
    /// Write down how long scenarios and bring-ups took, for --shard
    #[command(
        after_help = "Examples:\n  meshproof report durations reports --out scenarios/durations.json\n  meshproof report durations shards"
    )]
    Durations(DurationsArgs),
}

/// Options of `report merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Folders that shards wrote with --out, or folders of these
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<Utf8PathBuf>,
    /// Folder for report.html, junit.xml and report.json
    #[arg(long, value_name = "DIR")]
    pub out: Utf8PathBuf,
}

/// Options of `report durations`.
#[derive(Debug, Args)]
pub struct DurationsArgs {
    /// Folders that runs wrote with --out, or folders of these
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<Utf8PathBuf>,
    /// File to write; what it has of others stays, but for scenarios of the catalogue that are gone. By default it is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<Utf8PathBuf>,
    /// Folder that holds `scenarios/`; by default this one or the nearest above it
    #[arg(long, value_name = "DIR", env = "MESHPROOF_ROOT")]
    pub root: Option<Utf8PathBuf>,
}
