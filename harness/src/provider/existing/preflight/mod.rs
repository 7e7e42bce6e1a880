//! What is looked at on a cluster of somebody else before anything is touched: its version, our rights, its room, and what is
//! there already. Everything that stands in the way is told at once.

mod capacity;
mod gateways;
mod rights;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use serde_json::Value;

use super::contexts::Refusal;
use crate::cluster::ledger::{Entry, is_of};
use crate::cluster::{Cluster, Error};
use crate::topology::GatewayKind;

/// What was found on one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Name in the topology.
    pub cluster: String,
    /// Identity of the cluster: two contexts may lead to one.
    pub identity: String,
    /// Version of its API server.
    pub version: String,
    /// What will be made: how many of each kind.
    pub made: BTreeMap<String, usize>,
    /// Namespaces among that, by name.
    pub namespaces: Vec<String>,
    /// The same, one by one.
    pub absent: BTreeSet<Entry>,
    /// Those among them that are still there, and being deleted.
    pub ending: BTreeSet<Entry>,
    /// How many objects an earlier run of this environment made.
    pub own: usize,
    /// What is there already and stays as it is.
    pub left: Vec<String>,
    /// A line on each gateway of a mesh that is there.
    pub gateways: Vec<String>,
    /// What stands in the way.
    pub problems: Vec<Refusal>,
}

impl Findings {
    /// What will happen on the cluster, as lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{} (Kubernetes {}):\n", self.cluster, self.version);
        if self.made.is_empty() {
            text.push_str("  nothing is made\n");
        } else {
            let kinds: Vec<String> = self.made.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            text.push_str(&format!("  makes {}\n", kinds.join(", ")));
        }
        if !self.namespaces.is_empty() {
            text.push_str(&format!("  in new namespaces {}\n", self.namespaces.join(", ")));
        }
        if self.own > 0 {
            text.push_str(&format!("  has {} objects of this environment\n", self.own));
        }
        if !self.left.is_empty() {
            text.push_str(&format!("  leaves as it is {}\n", shortened(&self.left)));
        }
        for gateway in &self.gateways {
            text.push_str(&format!("  has the {gateway}\n"));
        }
        text
    }

    /// Looks at the gateways of the mesh that is on the cluster, as far as a topology has them. `crossed` says that calls between its
    /// clusters pass them, so that they have to be there.
    ///
    /// # Errors
    /// Where the cluster cannot be asked.
    pub async fn look_at_gateways(
        &mut self,
        cluster: &Cluster,
        gateways: &[GatewayKind],
        crossed: bool,
    ) -> Result<(), Error> {
        let (lines, problems) = gateways::look(cluster, gateways, crossed).await?;
        self.gateways = lines;
        self.problems.extend(problems);
        Ok(())
    }
}

/// The first few, and how many more.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// Looks at one cluster. `wanted` is all that an installation would apply there, `run_id` that of the run it belongs to.
///
/// # Errors
/// Where the cluster cannot be asked at all.
pub async fn look(cluster: &Cluster, wanted: &[Value], run_id: &str) -> Result<Findings, Error> {
    let version = version::of(cluster).await?;
    let mut findings =
        Findings { cluster: cluster.name().to_owned(), version: version.text.clone(), ..Findings::default() };
    findings.problems.extend(version.too_old(cluster.name()));
    findings.identity = identity(cluster).await?;
    let missing = compare(cluster, wanted, run_id, &mut findings).await?;
    findings.problems.extend(rights::lacking(cluster, wanted).await?);
    findings.problems.extend(capacity::lacking(cluster, &missing).await?);
    Ok(findings)
}

/// The uid of the namespace that every cluster has.
async fn identity(cluster: &Cluster) -> Result<String, Error> {
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let found = namespaces.get("kube-system").await;
    let found = found.map_err(|source| cluster.api_error("get Namespace kube-system".to_owned(), source))?;
    Ok(found.metadata.uid.unwrap_or_default())
}

/// Sorts what is wanted into what is missing, which is returned, and what is there.
async fn compare<'wanted>(
    cluster: &Cluster,
    wanted: &'wanted [Value],
    run_id: &str,
    findings: &mut Findings,
) -> Result<Vec<&'wanted Value>, Error> {
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for object in wanted {
        // A namespace is named once for each application in it.
        if !seen.insert((
            object["kind"].as_str(),
            object["metadata"]["namespace"].as_str(),
            object["metadata"]["name"].as_str(),
        )) {
            continue;
        }
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let (kind, name) = (kind.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
        // Of a kind that is yet to be defined there is no object.
        let there = match cluster.get(object).await {
            Err(Error::UnknownKind { .. }) => None,
            there => there?,
        };
        let entry = Entry::of(cluster.name(), object);
        match there {
            // What is about to go is waited for, and made anew.
            Some(there) if there.metadata.deletion_timestamp.is_some() => {
                findings.ending.insert(entry.clone());
            }
            Some(there) if is_of(&there, run_id) => {
                findings.own += 1;
                continue;
            }
            Some(_) => {
                findings.left.push(entry.named());
                continue;
            }
            None => {}
        }
        findings.absent.insert(entry);
        *findings.made.entry(kind.to_owned()).or_default() += 1;
        if kind == "Namespace" {
            findings.namespaces.push(name.to_owned());
        }
        missing.push(object);
    }
    Ok(missing)
}

/// That no two clusters of the topology are the same one.
#[must_use]
pub fn same(all: &[Findings]) -> Vec<Refusal> {
    let mut problems = Vec::new();
    for (index, one) in all.iter().enumerate() {
        if let Some(other) = all[..index].iter().find(|other| other.identity == one.identity) {
            problems.push(Refusal::new(
                format!("{} and {} are the same cluster, under two contexts", other.cluster, one.cluster),
                "give each cluster of the topology a cluster of its own by --context",
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_will_happen_is_told_in_a_few_lines() {
        let findings = Findings {
            cluster: "cluster1".to_owned(),
            version: "1.34.1".to_owned(),
            made: BTreeMap::from([("Deployment".to_owned(), 2), ("Namespace".to_owned(), 1)]),
            namespaces: vec!["bookinfo".to_owned()],
            left: (1..=10).map(|number| format!("Service a/s{number}")).collect(),
            ..Findings::default()
        };
        assert_eq!(
            findings.text(),
            "cluster1 (Kubernetes 1.34.1):\n  makes 2 Deployment, 1 Namespace\n  in new namespaces bookinfo\n  \
             leaves as it is Service a/s1, Service a/s2, Service a/s3, Service a/s4, Service a/s5, Service a/s6, \
             Service a/s7, Service a/s8 and 2 more\n"
        );
    }

    #[tokio::test]
    async fn what_is_being_deleted_is_no_longer_there() {
        let absent = async |metadata: Value| {
            let cluster = Cluster::answering("cluster1", move |request| {
                let resources = json!([{ "name": "namespaces", "singularName": "", "namespaced": false, "kind": "Namespace", "verbs": [] }]);
                let list = json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": resources });
                let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
                (200, if request.uri().path() == "/api/v1" { list } else { object })
            });
            let wanted = [json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } })];
            let mut findings = Findings::default();
            compare(&cluster, &wanted, "1a2b", &mut findings).await.expect("it answers");
            (findings.absent.len(), findings.ending.len())
        };
        let ours = json!({ "name": "a", "labels": { crate::cluster::ledger::LABEL_RUN: "1a2b" } });
        assert_eq!(absent(ours.clone()).await, (0, 0));
        let mut ending = ours;
        ending["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(absent(ending).await, (1, 1), "it has to be gone before it is made anew");
    }

    #[test]
    fn two_contexts_of_one_cluster_are_noticed() {
        let cluster = |name: &str, identity: &str| Findings {
            cluster: name.to_owned(),
            identity: identity.to_owned(),
            ..Findings::default()
        };
        assert!(same(&[cluster("a", "1"), cluster("b", "2")]).is_empty());
        let problems = same(&[cluster("a", "1"), cluster("b", "2"), cluster("c", "1")]);
        assert_eq!(problems[0].message, "a and c are the same cluster, under two contexts");
    }
}
