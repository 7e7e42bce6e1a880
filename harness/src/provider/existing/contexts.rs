//! Which context of a kubeconfig each cluster of a topology is. Reads no file but those that the kubeconfig names.

use std::collections::BTreeMap;

use kube::config::Kubeconfig;
use serde_json::Value;

use crate::diagnostic::suggest;
use crate::install::credential::Endpoint;
use crate::topology::{Provider, Topology};

/// A cluster of the topology and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Name in the topology.
    pub cluster: String,
    /// Its network there.
    pub network: String,
    /// Context of the kubeconfig.
    pub context: String,
    /// A kubeconfig with this context alone.
    pub kubeconfig: Value,
    /// URL of the API server from inside other clusters.
    pub server_for_other_clusters: String,
}

/// What the user said does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub cure: String,
}

impl Refusal {
    /// From both.
    #[must_use]
    pub fn new(message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { message: message.into(), cure: cure.into() }
    }
}

/// `NAME=VALUE` on the command line, for a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Name of the cluster.
    pub cluster: String,
    /// What it is given.
    pub value: String,
}

impl std::str::FromStr for Assigned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((cluster, value)) if !cluster.is_empty() && !value.is_empty() => {
                Ok(Self { cluster: cluster.to_owned(), value: value.to_owned() })
            }
            _ => Err("expected CLUSTER=VALUE, such as cluster1=prod-eu".to_owned()),
        }
    }
}

/// Chooses a context for every cluster that is there: the one that is assigned, or the one of the same name. `servers` are addresses of API
/// servers for the other clusters, where they are not those of the kubeconfig.
///
/// # Errors
/// [`Refusal`].
pub fn choose(
    topology: &Topology,
    config: &Kubeconfig,
    contexts: &[Assigned],
    servers: &[Assigned],
) -> Result<Vec<Chosen>, Refusal> {
    let contexts = by_cluster(topology, contexts, "--context")?;
    let servers = by_cluster(topology, servers, "--api-server")?;
    let known: Vec<&str> = config.contexts.iter().map(|context| context.name.as_str()).collect();
    let mut chosen: Vec<Chosen> = Vec::with_capacity(topology.clusters.len());
    for cluster in topology.clusters_of(Provider::Existing) {
        let name = cluster.name.as_str();
        let context = contexts.get(name).copied().or_else(|| known.contains(&name).then_some(name));
        let context = context.ok_or_else(|| {
            Refusal::new(
                format!("no context is given for cluster {name}, and the kubeconfig has none of that name"),
                format!("say `--context {name}=CONTEXT`; {}", listed(&known)),
            )
        })?;
        if let Some(other) = chosen.iter().find(|other| other.context == context) {
            let message = format!("context {context} is given for {} and for {name}", other.cluster);
            return Err(Refusal::new(message, "give each cluster of the topology a cluster of its own"));
        }
        let endpoint = Endpoint::of(config, Some(context))
            .map_err(|problem| Refusal::new(format!("the kubeconfig: {problem}"), listed(&known)))?;
        chosen.push(Chosen {
            cluster: name.to_owned(),
            network: cluster.network.clone(),
            context: context.to_owned(),
            kubeconfig: alone(config, context),
            server_for_other_clusters: servers.get(name).map_or(endpoint.server, |server| (*server).to_owned()),
        });
    }
    Ok(chosen)
}

fn listed(contexts: &[&str]) -> String {
    if contexts.is_empty() {
        return "the kubeconfig has no contexts; name another by --kubeconfig".to_owned();
    }
    format!("the kubeconfig has {}", contexts.join(", "))
}

fn by_cluster<'given>(
    topology: &Topology,
    given: &'given [Assigned],
    option: &str,
) -> Result<BTreeMap<&'given str, &'given str>, Refusal> {
    let mut assigned = BTreeMap::new();
    for one in given {
        let names = topology.clusters.iter().map(|cluster| cluster.name.as_str());
        if !names.clone().any(|name| name == one.cluster) {
            let message = format!("{option}: topology {} has no cluster `{}`", topology.name, one.cluster);
            return Err(Refusal::new(message, suggest::help(&one.cluster, names)));
        }
        if !topology.clusters_of(Provider::Existing).any(|cluster| cluster.name == one.cluster) {
            let message = format!("{option} is given for cluster {}, which is made", one.cluster);
            return Err(Refusal::new(message, format!("leave it out, or give {} `provider: existing`", one.cluster)));
        }
        if assigned.insert(one.cluster.as_str(), one.value.as_str()).is_some() {
            let message = format!("{option} is given twice for cluster {}", one.cluster);
            return Err(Refusal::new(message, "leave one out"));
        }
    }
    Ok(assigned)
}

/// The same kubeconfig with one context, which is the current one.
fn alone(config: &Kubeconfig, context: &str) -> Value {
    let mut config = config.clone();
    config.contexts.retain(|one| one.name == context);
    let entry = config.contexts.first().and_then(|one| one.context.clone());
    let cluster = entry.as_ref().map(|entry| entry.cluster.clone());
    let user = entry.and_then(|entry| entry.user);
    config.clusters.retain(|one| Some(&one.name) == cluster.as_ref());
    config.auth_infos.retain(|one| Some(&one.name) == user.as_ref());
    config.current_context = Some(context.to_owned());
    serde_json::to_value(config).expect("invariant: a kubeconfig that was read can be written")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Kubeconfig {
        let cluster = |name: &str| json!({ "name": name, "cluster": { "server": format!("https://{name}:6443") } });
        let context =
            |name: &str, cluster: &str| json!({ "name": name, "context": { "cluster": cluster, "user": "me" } });
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "prod-eu",
            "clusters": [cluster("eu"), cluster("us")],
            "contexts": [context("prod-eu", "eu"), context("cluster2", "us")],
            "users": [{ "name": "me", "user": { "token": "secret" } }, { "name": "other", "user": { "token": "other" } }],
        }))
        .expect("a kubeconfig")
    }

    fn topology() -> Topology {
        let text = include_str!("../../../../scenarios/topologies/two-clusters.yaml");
        let mut topology = crate::topology::validate::read("two-clusters.yaml", text).expect("a topology");
        topology.let_all_come_from(Provider::Existing);
        topology
    }

    fn assigned(words: &[&str]) -> Vec<Assigned> {
        words.iter().map(|word| word.parse().expect("an assignment")).collect()
    }

    #[test]
    fn a_context_is_assigned_or_has_the_name_of_the_cluster() {
        let servers = assigned(&["cluster2=https://10.0.0.2"]);
        let chosen = choose(&topology(), &config(), &assigned(&["cluster1=prod-eu"]), &servers).expect("they fit");
        let contexts: Vec<&str> = chosen.iter().map(|one| one.context.as_str()).collect();
        assert_eq!(contexts, ["prod-eu", "cluster2"]);
        let servers: Vec<&str> = chosen.iter().map(|one| one.server_for_other_clusters.as_str()).collect();
        assert_eq!(servers, ["https://eu:6443", "https://10.0.0.2"]);
    }

    #[test]
    fn a_cluster_gets_no_credentials_but_its_own() {
        let chosen = choose(&topology(), &config(), &assigned(&["cluster1=prod-eu"]), &[]).expect("they fit");
        let own = &chosen[0].kubeconfig;
        assert_eq!(own["current-context"], "prod-eu");
        assert_eq!(own["users"], json!([{ "name": "me", "user": { "token": "secret" } }]));
        assert_eq!(own["clusters"].as_array().expect("a list").len(), 1);
    }

    #[test]
    fn only_clusters_that_are_there_have_a_context() {
        let mut topology = topology();
        topology.clusters[0].provider = Some(Provider::Kind);
        let chosen = choose(&topology, &config(), &[], &[]).expect("cluster1 needs none");
        assert_eq!(chosen.iter().map(|one| one.cluster.as_str()).collect::<Vec<_>>(), ["cluster2"]);
        let refused = choose(&topology, &config(), &assigned(&["cluster1=prod-eu"]), &[]).expect_err("it is made");
        assert_eq!(refused.message, "--context is given for cluster cluster1, which is made");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused =
            |contexts: &[&str]| choose(&topology(), &config(), &assigned(contexts), &[]).expect_err("refused");
        let none = refused(&[]);
        assert!(none.message.contains("no context is given for cluster cluster1"), "{none:?}");
        assert!(none.cure.contains("prod-eu, cluster2"), "{none:?}");
        assert!(refused(&["cluster9=prod-eu"]).message.contains("has no cluster `cluster9`"));
        assert!(refused(&["cluster1=prod"]).message.contains("no context `prod`"));
        assert!(refused(&["cluster1=cluster2"]).message.contains("given for cluster1 and for cluster2"));
        assert!(refused(&["cluster1=a", "cluster1=b"]).message.contains("twice"));
        assert!("cluster1".parse::<Assigned>().is_err());
    }
}
