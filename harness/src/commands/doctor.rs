//! `meshproof doctor`: what this machine can run, and what to fix.

use serde_json::json;

use crate::cli::args::Format;
use crate::cli::doctor::DoctorArgs;
use crate::cli::{files, plan};
use crate::environment::MeshSource;
use crate::provider::kind::doctor::{self as checks, Check, State};
use crate::provider::kind::lock::Lock;
use crate::provider::programs::Programs;
use crate::report::RunOutcome;
use crate::run::{Lack, lacks};
use crate::topology::Provider;

pub(super) async fn run(args: &DoctorArgs) -> RunOutcome {
    let format = if args.json { Format::Json } else { args.format };
    match args.provider {
        Provider::Embedded => embedded(format).await,
        Provider::Kind => kind(args, format).await,
        Provider::Existing => {
            eprintln!("error: clusters that are there need nothing of this machine");
            eprintln!("  help: `meshproof up --provider existing` looks at them before it touches anything");
            RunOutcome::WrongUsage
        }
    }
}

/// What kind clusters would not find here.
async fn kind(args: &DoctorArgs, format: Format) -> RunOutcome {
    let path = match &args.topology {
        Some(path) => Ok(path.clone()),
        None => files::root(args.root.as_deref()).map(|root| root.join(files::DEFAULT_TOPOLOGY)),
    };
    let topology = match path.and_then(|path| files::topology(&path)) {
        Ok(topology) => topology.seen_by(Provider::Kind),
        Err(error) => return plan::refuse(&error),
    };
    let lock = Lock::read();
    let node_image = args.node_image.as_deref().unwrap_or(lock.node_image());
    let release = (args.mesh != Some(MeshSource::Embedded)).then(|| lock.istio.release(args.istio_version.as_deref()));
    let istio = match release.transpose() {
        Ok(release) => release,
        Err(error) => return super::complain(&error, RunOutcome::WrongUsage),
    };
    let needs = checks::Needs::of(&topology, node_image, istio);
    let needs = checks::Needs { load_balancers: args.load_balancers, ..needs };
    let checks = checks::check(&checks::observe::observe(node_image).await, &needs, &lock);
    let able = checks.iter().all(|check| check.state != State::Lacking);
    match format {
        Format::Json => crate::cli::print(&format!("{:#}\n", json!({ "kind": able, "checks": checks }))),
        Format::Text => crate::cli::print(&table(&checks, &topology.name)),
    }
    if able { RunOutcome::Passed } else { RunOutcome::MachineCannot }
}

fn table(checks: &[Check], topology: &str) -> String {
    let able = checks.iter().all(|check| check.state != State::Lacking);
    let mut text =
        format!("provider kind, for {topology}: this machine {} run it\n", if able { "can" } else { "cannot" });
    for check in checks {
        let state = match check.state {
            State::Fine => "fine",
            State::Doubtful => "doubtful",
            State::Lacking => "LACKING",
        };
        text.push_str(&format!("  {state:<8}  {}: {}\n", check.name, check.found));
        if let Some(cure) = &check.cure {
            text.push_str(&format!("            because {}\n            help: {cure}\n", check.why));
        }
    }
    text
}

async fn embedded(format: Format) -> RunOutcome {
    let lacks = missing().await;
    match format {
        Format::Json => crate::cli::print(&format!("{:#}\n", json!({ "embedded": lacks.is_empty(), "lacks": lacks }))),
        Format::Text => crate::cli::print(&text(&lacks)),
    }
    if lacks.is_empty() { RunOutcome::Passed } else { RunOutcome::MachineCannot }
}

/// What the embedded provider would not find here.
async fn missing() -> Vec<Lack> {
    let lack = |what: &str, found: String| Lack {
        what: what.to_owned(),
        found,
        cure: "`cargo xtask doctor` looks at the machine, builds what is missing and fetches Envoy".to_owned(),
    };
    match Programs::find() {
        Err(error) => vec![lack("a program", error.to_string())],
        Ok(programs) => {
            let mut lacking = lacks(&programs)
                .await
                .unwrap_or_else(|error| vec![lack("an answer of the preflight", error.to_string())]);
            lacking.extend(programs.check().await.err().map(|error| lack("a program", error.to_string())));
            lacking
        }
    }
}

fn text(lacks: &[Lack]) -> String {
    if lacks.is_empty() {
        return "provider embedded: this machine can run it\n".to_owned();
    }
    let mut text = "provider embedded: this machine cannot run it\n".to_owned();
    for lack in lacks {
        text.push_str(&format!("  it lacks {}: {}\n", lack.what, lack.found));
        text.push_str(&format!("    help: {}\n", lack.cure));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_comes_with_its_cure() {
        assert_eq!(text(&[]), "provider embedded: this machine can run it\n");
        let lack =
            Lack { what: "user namespaces".to_owned(), found: "EPERM".to_owned(), cure: "sysctl -w x=1".to_owned() };
        assert_eq!(
            text(&[lack]),
            "provider embedded: this machine cannot run it\n  it lacks user namespaces: EPERM\n    help: sysctl -w x=1\n"
        );
    }
}
