//! How long a TrafficPolicy takes from the management cluster to every proxy of an environment that runs; started by
//! `cargo xtask bench propagation`, which says what the figures are measured against.
//!
//! Nobody is asked while something is under way, so that measuring is not the load: the control planes tell afterwards when
//! they published what was written and when each proxy acknowledged it, in microseconds of this machine's clock. Watches
//! tell when the management plane wrote.

mod change;
mod figures;
mod mesh;

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use meshproof::cluster::Cluster;
use meshproof::environment::state_root;
use meshproof::topology::{Topology, validate};
use serde_json::json;

use change::Desk;

/// Longest time for one change to arrive everywhere.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures an environment with a management plane; prints one JSON document.
#[derive(Debug, Parser)]
struct Args {
    /// Name of the environment
    #[arg(long)]
    name: String,
    /// Proxies in all its meshes together; more of the workload `probe` are started until there are as many
    #[arg(long, default_value_t = 30)]
    proxies: usize,
    /// Changes
    #[arg(long, default_value_t = 100)]
    changes: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let root = state_root().map_err(anyhow::Error::msg)?;
    let kept = meshproof::run::find(&root, Some(&args.name))?;
    let file = kept.directory.topology();
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let topology = validate::read(file.as_str(), &text).map_err(|_| anyhow::anyhow!("{file} has mistakes"))?;
    let clusters = kept.into_fleet()?.clusters().await?;
    let (management, meshed) = places(&topology, clusters)?;
    let proxies = mesh::grow(&meshed, args.proxies).await?;
    let mut desk = Desk::open(management, &meshed).await?;
    // The first change makes the objects that the others change, and says which these are.
    desk.warm_up().await?;
    let load_before = load();
    let mut samples = Vec::new();
    for _ in 0..args.changes {
        samples.push(desk.measure().await?);
    }
    let document = json!({
        "proxies": proxies,
        "clusters": meshed.iter().map(Cluster::name).collect::<Vec<_>>(),
        "changes": samples.len(),
        "writes": desk.writes(),
        "load": { "before": load_before, "after": load() },
        "milliseconds": figures::summary(&samples),
        "samples": samples,
    });
    desk.close().await?;
    println!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}

/// The management cluster, and those with a mesh.
fn places(topology: &Topology, clusters: Vec<Cluster>) -> anyhow::Result<(Cluster, Vec<Cluster>)> {
    let plane = topology.management.as_ref().context("the environment has no management plane")?;
    let management = clusters.iter().find(|cluster| cluster.name() == plane.cluster).cloned();
    let meshed: Vec<Cluster> =
        clusters.into_iter().filter(|cluster| topology.meshed().any(|meshed| meshed.name == cluster.name())).collect();
    Ok((management.context("the management cluster is not there")?, meshed))
}

/// What the kernel says of the machine's load over the last minute.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
