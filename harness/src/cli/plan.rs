//! `meshproof plan`: what would be done, without an environment.

use std::error::Error as _;

use clap::Args;
use serde_json::json;

use super::args::{Format, Selection};
use super::beside;
use super::existing::IstioArgs;
use super::files::{self, Error, Selected};
use super::pretty;
use super::shards::{self, Chosen, ShardArgs};
use crate::environment::MeshSource;
use crate::provider::kind;
use crate::provider::kind::istio::{Installer, Way};
use crate::provider::kind::load_balancers::LoadBalancers;
use crate::provider::kind::lock::{Lock, UnknownRelease};
use crate::provider::kind::plan::Wanted;
use crate::report::RunOutcome;
use crate::scenario::{Plan, explain};
use crate::shard::Shard;
use crate::topology::{Provider, Topology, draw, support};

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which scenarios.
    #[command(flatten)]
    pub selection: Selection,
    /// Which part of them.
    #[command(flatten)]
    pub shard: ShardArgs,
    /// Show how clusters of this provider would be made, in place of scenarios
    #[arg(long, value_enum, conflicts_with = "shard")]
    pub provider: Option<Provider>,
    /// For kind: the mesh that is to be installed, Istio by default
    #[arg(long, value_enum, requires = "provider")]
    pub mesh: Option<MeshSource>,
    /// For kind: image of the nodes
    #[arg(long, value_name = "IMAGE", requires = "provider")]
    pub node_image: Option<String>,
    /// For kind: who gives LoadBalancer Services their addresses
    #[arg(long, value_enum, default_value_t, requires = "provider")]
    pub load_balancers: LoadBalancers,
    /// Which Istio kind clusters get.
    #[command(flatten)]
    pub istio: IstioArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

pub(super) fn run(args: &PlanArgs) -> RunOutcome {
    match args.provider {
        Some(Provider::Kind) => return clusters(args),
        Some(Provider::Embedded | Provider::Existing) => {
            eprintln!("error: only clusters of the provider `kind` are made by commands that can be shown");
            eprintln!("  help: leave --provider out to see what scenarios will do");
            return RunOutcome::WrongUsage;
        }
        None if args.istio.istio_version.is_some() || args.istio.istio_installer.is_some() => {
            eprintln!("error: --istio-version and --istio-installer are about kind clusters");
            eprintln!("  help: say `--provider kind` to see how Istio would be installed");
            return RunOutcome::WrongUsage;
        }
        None => {}
    }
    let selected = match files::select(&args.selection) {
        Ok(selected) => selected,
        Err(error) => return refuse(&error),
    };
    eprint!("{}", selected.warnings.render(pretty()));
    if selected.plans.is_empty() {
        return nothing_selected(&selected);
    }
    let chosen = match shards::choose(&selected.plans, &args.shard, args.selection.root.as_deref()) {
        Ok(chosen) => chosen,
        Err(error) => return refuse_shard(&error),
    };
    show(args.format, &selected.plans, chosen.as_ref());
    RunOutcome::Passed
}

/// All that is selected, or the part of it that a shard has.
fn show(format: Format, selected: &[Plan], chosen: Option<&Chosen>) {
    let plans = chosen.map_or(selected, |chosen| &chosen.plans);
    match format {
        Format::Text => {
            let head = chosen.map(|chosen| format!("{}\n\n", chosen.sentence())).unwrap_or_default();
            super::print(&(head + &text(plans)));
        }
        Format::Json => {
            let mut document = document(plans);
            if let Some(chosen) = chosen {
                let Shard { number, of } = chosen.facts.shard;
                document["shard"] = json!({ "number": number, "of": of, "estimatedMs": chosen.loads });
            }
            super::print(&format!("{document:#}\n"));
        }
    }
}

/// How kind clusters for a topology would be made. Networks are shown with the addresses that they get where Docker has no other.
fn clusters(args: &PlanArgs) -> RunOutcome {
    let path = match &args.selection.topology {
        Some(path) => Ok(path.clone()),
        None => files::root(args.selection.root.as_deref()).map(|root| root.join(files::DEFAULT_TOPOLOGY)),
    };
    let topology = match path.and_then(|path| files::topology(&path)) {
        Ok(topology) => topology.seen_by(Provider::Kind),
        Err(error) => return refuse(&error),
    };
    if let Some(lack) = support::lack(&topology) {
        eprintln!("error: {}\n  help: {}", lack.message, lack.cure);
        return RunOutcome::WrongUsage;
    }
    let lock = Lock::read();
    let networks = match kind::addresses::networks(&topology, &topology.name, &[]) {
        Ok(networks) => networks,
        Err(error) => {
            eprintln!("error: {error}\n  help: give clusters pod and Service subnets outside of 172.29.0.0/16");
            return RunOutcome::WrongUsage;
        }
    };
    let istio = match istio(args, &lock) {
        Ok(istio) => istio,
        Err(error) => {
            eprintln!("error: {error}");
            return RunOutcome::WrongUsage;
        }
    };
    let wanted = Wanted {
        environment: &topology.name,
        directory: "$STATE".into(),
        node_image: args.node_image.as_deref().unwrap_or(lock.node_image()),
        istio: istio.as_ref(),
        archives: &[],
        networks: &networks,
        load_balancers: args.load_balancers,
    };
    match kind::plan::plan(&topology, &wanted) {
        Ok(plan) => {
            super::print(&draw::draw(&topology));
            super::print(&plan.text());
            RunOutcome::Passed
        }
        Err(error) => {
            eprintln!("error: {error}");
            RunOutcome::WrongUsage
        }
    }
}

/// How Istio would be installed, where it would be. The machine is not looked at: it is Helm that is shown where nobody says another.
fn istio(args: &PlanArgs, lock: &Lock) -> Result<Option<Way>, UnknownRelease> {
    if args.mesh == Some(MeshSource::Embedded) {
        return Ok(None);
    }
    let installer = args.istio.istio_installer.unwrap_or(Installer::Helm);
    Ok(Some(Way::new(lock, &lock.istio.release(args.istio.istio_version.as_deref())?, installer)))
}

/// The plan as people read it: each topology once, then its scenarios.
#[must_use]
pub(crate) fn text(plans: &[Plan]) -> String {
    let mut text = String::new();
    for topology in topologies(plans) {
        text.push_str(&draw::draw(topology));
        for plan in plans.iter().filter(|plan| plan.topology == *topology) {
            text.push('\n');
            text.push_str(&explain::explain(plan));
        }
        let here: Vec<&Plan> = plans.iter().filter(|plan| plan.topology == *topology).collect();
        text.push_str(&beside::text(&here));
    }
    text
}

fn document(plans: &[Plan]) -> serde_json::Value {
    let all: Vec<&Plan> = plans.iter().collect();
    let neighbours = beside::neighbours(&all);
    let scenarios: Vec<serde_json::Value> = plans
        .iter()
        .zip(neighbours)
        .map(|(plan, neighbours)| {
            json!({
                "plan": plan,
                "topology": plan.topology.name,
                "requests": plan.requests(),
                "estimatedSeconds": explain::estimate(plan).as_secs(),
                "alone": neighbours.alone,
                "beside": neighbours.beside,
            })
        })
        .collect();
    json!({ "topologies": topologies(plans), "scenarios": scenarios })
}

fn topologies(plans: &[Plan]) -> Vec<&Topology> {
    let mut topologies: Vec<&Topology> = Vec::new();
    for plan in plans {
        if !topologies.contains(&&plan.topology) {
            topologies.push(&plan.topology);
        }
    }
    topologies
}

/// Says that the selection is empty.
pub(crate) fn nothing_selected(selected: &Selected) -> RunOutcome {
    eprintln!("no scenario is selected: none of {} matches the filter", selected.known);
    RunOutcome::NothingSelected
}

/// Says why files cannot be used.
pub(crate) fn refuse(error: &Error) -> RunOutcome {
    match error {
        Error::Problems(problems) => eprint!("{}", problems.render(pretty())),
        error => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("error: {error}{cause}");
        }
    }
    RunOutcome::WrongUsage
}

/// Says why there is no shard to choose scenarios of.
pub(crate) fn refuse_shard(error: &shards::Error) -> RunOutcome {
    eprintln!("error: {}\n  help: {}", crate::cluster::chain(error), error.cure());
    RunOutcome::WrongUsage
}
