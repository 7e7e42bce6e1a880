//! `meshproof logs`: what a container wrote, or what the environment itself did.

use futures::AsyncBufReadExt as _;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};

use super::{complain, complain_kept, kept};
use crate::cli::args::LogsArgs;
use crate::cluster::Cluster;
use crate::diagnostic::suggest;
use crate::report::RunOutcome;
use crate::run::Kept;

pub(super) async fn run(args: &LogsArgs) -> RunOutcome {
    let kept = match kept(args.name.as_deref()) {
        Ok(kept) => kept,
        Err(outcome) => return outcome,
    };
    match &args.cluster {
        None => of_environment(&kept),
        Some(name) => of_cluster(kept, name, args).await,
    }
}

fn of_environment(kept: &Kept) -> RunOutcome {
    let path = kept.directory.path().join("supervisor.log");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            crate::cli::print(&text);
            RunOutcome::Passed
        }
        Err(error) => {
            eprintln!("error: cannot read {path}: {error}");
            RunOutcome::EnvironmentFailed
        }
    }
}

async fn of_cluster(kept: Kept, name: &str, args: &LogsArgs) -> RunOutcome {
    let environment = kept.name.clone();
    let fleet = match kept.into_fleet() {
        Ok(fleet) => fleet,
        Err(error) => return complain_kept(&error),
    };
    let clusters = match fleet.clusters().await {
        Ok(clusters) => clusters,
        Err(error) => return complain(&error, RunOutcome::EnvironmentFailed),
    };
    let Some(cluster) = clusters.iter().find(|cluster| cluster.name() == name) else {
        let help = suggest::help(name, clusters.iter().map(Cluster::name));
        eprintln!("error: environment {environment} has no cluster `{name}`\n  help: {help}");
        return RunOutcome::WrongUsage;
    };
    let api: Api<Pod> = Api::namespaced(cluster.client(), &args.namespace);
    let pods = match api.list(&ListParams::default()).await {
        Ok(pods) => pods.items,
        Err(error) => return complain(&error, RunOutcome::EnvironmentFailed),
    };
    let wanted = args.pod.as_deref().unwrap_or("");
    let Some(pod) = pods.iter().find(|pod| is_named(&pod.name_any(), wanted)) else {
        let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
        let help = if names.is_empty() {
            "it has no pods; see -n".to_owned()
        } else {
            format!("its pods are {}", names.join(", "))
        };
        eprintln!("error: namespace {} of {name} has no pod `{wanted}`\n  help: {help}", args.namespace);
        return RunOutcome::WrongUsage;
    };
    match print_log(&api, pod, args).await {
        Ok(()) => RunOutcome::Passed,
        Err(error) => complain(error.as_ref(), RunOutcome::EnvironmentFailed),
    }
}

async fn print_log(api: &Api<Pod>, pod: &Pod, args: &LogsArgs) -> Result<(), Box<dyn std::error::Error>> {
    let first = pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|container| container.name.clone());
    let parameters = LogParams {
        container: args.container.clone().or(first),
        follow: args.follow,
        previous: args.previous,
        ..LogParams::default()
    };
    let mut lines = api.log_stream(&pod.name_any(), &parameters).await?.lines();
    while let Some(line) = lines.next().await {
        crate::cli::print(&format!("{}\n", line?));
    }
    Ok(())
}

/// The name itself, or that of the Deployment whose hash and suffix follow.
fn is_named(pod: &str, wanted: &str) -> bool {
    let rest = pod.strip_prefix(wanted);
    rest == Some("") || rest.and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| rest.split('-').count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_names_its_pods() {
        assert!(is_named("reviews-v3-7d9f-x2x", "reviews-v3"));
        assert!(is_named("reviews-v3-7d9f-x2x", "reviews-v3-7d9f-x2x"));
        assert!(!is_named("reviews-v3-7d9f-x2x", "reviews"));
        assert!(!is_named("reviews-v30-7d9f-x2x", "reviews-v3"));
        assert!(!is_named("reviews-v3-7d9f-x2x", ""));
    }
}
