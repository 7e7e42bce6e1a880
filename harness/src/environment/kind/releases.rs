//! Helm's releases on kind clusters, as parts of layers: recorded, looked for, and uninstalled once nobody wants them any more. They are no
//! objects of Kubernetes, though helm keeps what it knows of one in Secrets.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::run::run;
use crate::cluster::Cluster;
use crate::cluster::ledger::Entry;
use crate::environment::bring_up::Error as BringUpError;
use crate::install::mesh;
use crate::provider::kind::commands::{RELEASES, helm_uninstall};

/// What stands for the group of a release.
const HELM: &str = "helm";

/// What stands for a release among the objects of a layer.
pub(super) fn release(name: &str) -> Value {
    json!({ "apiVersion": HELM, "kind": "Release", "metadata": { "name": name, "namespace": RELEASES } })
}

/// Whether that is what something among the objects of a layer is.
pub(super) fn is_release(object: &Value) -> bool {
    object["apiVersion"] == HELM
}

/// Whether helm knows a release, in one of these states; in any where none is named.
pub(super) async fn is_there(cluster: &Cluster, name: &str, states: &[&str]) -> Result<bool, BringUpError> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), RELEASES);
    let state = if states.is_empty() { String::new() } else { format!(",status in ({})", states.join(",")) };
    let listed = secrets.list(&ListParams::default().labels(&format!("owner=helm,name={name}{state}"))).await;
    let failed = |source| mesh::Error::from(cluster.api_error(format!("look for the release {name}"), source));
    Ok(!listed.map_err(failed)?.items.is_empty())
}

/// Uninstalls those of a cluster among what is no longer wanted. One that helm does not know is gone.
pub(super) async fn uninstall(cluster: &Cluster, obsolete: &[&Entry]) -> Result<(), BringUpError> {
    for entry in obsolete.iter().filter(|entry| entry.api_version == HELM) {
        if is_there(cluster, &entry.name, &[]).await? {
            run(cluster.name(), &helm_uninstall(&entry.name, &cluster.access().kubeconfig)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::environment::layers::progress::Progress;
    use crate::environment::layers::record::Record;
    use crate::environment::layers::{Layer, Part, plan};

    fn gateways(releases: &[&str]) -> BTreeMap<(Layer, String), Part> {
        let part = Part { objects: releases.iter().map(|name| release(name)).collect(), settings: Vec::new() };
        [((Layer::Gateways, "one".to_owned()), part)].into()
    }

    #[tokio::test]
    async fn a_release_that_was_recorded_and_is_no_longer_wanted_is_told_and_forgotten_once_it_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = camino::Utf8Path::from_path(folder.path()).expect("UTF-8");
        let progress = |releases: &[&str]| {
            let record = Record::open(folder).expect("read");
            Progress::recorded(plan(gateways(releases), true), record, BTreeMap::new(), false)
        };
        let both = progress(&["istio-eastwestgateway", "istio-ingressgateway"]);
        let installed = both.perform(Layer::Gateways, "one", async { Ok(String::new()) });
        installed.await.expect("done");

        let one = progress(&["istio-eastwestgateway"]);
        assert_eq!(one.text("one"), "  removes Release istio-system/istio-ingressgateway\n");
        let obsolete = one.obsolete();
        assert!(obsolete.iter().all(|entry| is_release(&entry.manifest())), "{obsolete:?}");
        one.obsolete_goes().expect("written");
        one.forget_obsolete().expect("written");
        assert!(progress(&["istio-eastwestgateway"]).obsolete().is_empty());
    }
}
