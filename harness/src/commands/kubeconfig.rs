//! `meshproof kubeconfig`: credentials for kubectl and others.

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use super::{complain, complain_kept, kept};
use crate::cli::args::KubeconfigArgs;
use crate::diagnostic::suggest;
use crate::report::RunOutcome;

pub(super) fn run(args: &KubeconfigArgs) -> RunOutcome {
    let kept = match kept(args.name.as_deref()) {
        Ok(kept) => kept,
        Err(outcome) => return outcome,
    };
    let name = kept.name.clone();
    let fleet = match kept.into_fleet() {
        Ok(fleet) => fleet,
        Err(error) => return complain_kept(&error),
    };
    let clusters = fleet.kubeconfigs();
    let wanted = |name: &String| args.cluster.as_ref().is_none_or(|wanted| wanted == name);
    let chosen: Vec<&Utf8PathBuf> = clusters.iter().filter(|(name, _)| wanted(name)).map(|(_, path)| path).collect();
    if chosen.is_empty() {
        let wanted = args.cluster.as_deref().unwrap_or("");
        let help = suggest::help(wanted, clusters.iter().map(|(name, _)| name.as_str()));
        eprintln!("error: environment {name} has no cluster `{wanted}`\n  help: {help}");
        return RunOutcome::WrongUsage;
    }
    let printed = if args.path { Ok(paths(&chosen)) } else { content(&chosen) };
    match printed {
        Ok(text) => {
            crate::cli::print(&text);
            RunOutcome::Passed
        }
        Err(error) => complain(&error, RunOutcome::EnvironmentFailed),
    }
}

/// Joined as `KUBECONFIG` wants several.
fn paths(kubeconfigs: &[&Utf8PathBuf]) -> String {
    let paths: Vec<&str> = kubeconfigs.iter().map(|path| path.as_str()).collect();
    format!("{}\n", paths.join(":"))
}

fn content(kubeconfigs: &[&Utf8PathBuf]) -> std::io::Result<String> {
    let mut configs = Vec::new();
    for path in kubeconfigs {
        let text = std::fs::read_to_string(path)?;
        let config: Value = serde_saphyr::from_str(&text).map_err(std::io::Error::other)?;
        configs.push(config);
    }
    serde_saphyr::to_string(&merged(&configs)).map_err(std::io::Error::other)
}

/// One configuration with a context for each cluster; the first is the current one.
fn merged(configs: &[Value]) -> Value {
    let all = |key: &str| -> Vec<Value> {
        configs.iter().flat_map(|config| config[key].as_array().cloned().unwrap_or_default()).collect()
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": configs.first().map_or(Value::Null, |config| config["current-context"].clone()),
        "clusters": all("clusters"),
        "contexts": all("contexts"),
        "users": all("users"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_joined() {
        let config = |name: &str| {
            json!({
                "current-context": name,
                "clusters": [{ "name": name }], "contexts": [{ "name": name }], "users": [{ "name": name }],
            })
        };
        let joined = merged(&[config("cluster1"), config("cluster2")]);
        assert_eq!(joined["current-context"], "cluster1");
        assert_eq!(joined["contexts"], json!([{ "name": "cluster1" }, { "name": "cluster2" }]));
    }
}
