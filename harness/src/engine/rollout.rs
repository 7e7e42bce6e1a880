//! Steps that change the pods of a workload: more or fewer, others in their place, a command in one of them.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use verdict::Outcome;

use super::context::Error;
use super::runner::{Done, Runner};
use super::{machines, watch};
use crate::check::convergence::Endpoints;
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::scenario::plan::{Deployment, Exec, Replace, Scale};
use crate::traffic::place::Place;

/// Between two looks at the pods of a workload.
const STEP: Duration = Duration::from_millis(50);

impl Runner<'_> {
    pub(super) async fn scale(&self, scale: &Scale) -> Result<Done, Error> {
        if let Some(vm) = &scale.workload.vm {
            return self.power(vm, scale.replicas > 0, scale.timeout).await;
        }
        let cluster = self.environment.cluster(&scale.workload.cluster)?;
        let wanted = i64::from(scale.replicas);
        self.patch_deployment(&scale.workload, json!({ "spec": { "replicas": wanted } })).await?;
        self.rolled_out(&scale.workload, wanted, scale.timeout).await?;
        // A pod that is going still answers, so it counts until it is gone.
        let pods = pods_to_be(cluster, &scale.workload, scale.timeout, |pods| {
            let there = pods.len();
            if there as i64 == wanted { Ok(()) } else { Err(format!("{there} pods")) }
        });
        pods.await?;
        Ok(Done::passed(format!("{} has {wanted} pods", scale.workload)))
    }

    pub(super) async fn replace(&self, replace: &Replace) -> Result<Done, Error> {
        if let Some(vm) = &replace.workload.vm {
            return self.start_again(vm, replace.by_force, replace.timeout).await;
        }
        let cluster = self.environment.cluster(&replace.workload.cluster)?;
        let api: Api<Pod> = Api::namespaced(cluster.client(), &replace.workload.namespace);
        let pods = all_pods(cluster, &replace.workload).await?;
        let before: BTreeSet<String> = names(&pods);
        // Those that are about to go, as after another restart, get nobody in their place.
        let count = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
        if count == 0 {
            return Err(no_pod(&replace.workload));
        }
        if replace.by_force {
            for name in &before {
                api.delete(name, &DeleteParams::default().grace_period(0))
                    .await
                    .map_err(|source| cluster.api_error(format!("delete Pod {name}"), source))?;
            }
        } else {
            let now = jiff::Timestamp::now().to_string();
            let annotations = json!({ "kubectl.kubernetes.io/restartedAt": now });
            let template = json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } });
            self.patch_deployment(&replace.workload, template).await?;
        }
        self.rolled_out(&replace.workload, count as i64, replace.timeout).await?;
        let pods = pods_to_be(cluster, &replace.workload, replace.timeout, |pods| {
            let old: Vec<String> = names(pods).intersection(&before).cloned().collect();
            if !old.is_empty() {
                return Err(format!("still there: {}", old.join(", ")));
            }
            match pods.iter().find(|pod| !is_ready(pod)) {
                Some(pod) => Err(format!("{} is not ready", pod.name_any())),
                None if pods.len() < count => Err(format!("{} pods", pods.len())),
                None => Ok(()),
            }
        });
        let after = names(&pods.await?);
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        Ok(Done::passed(format!("{} in place of {}", list(&after), list(&before))))
    }

    pub(super) async fn patch_deployment(&self, workload: &Deployment, change: Value) -> Result<(), Error> {
        let cluster = self.environment.cluster(&workload.cluster)?;
        let (api, what) = deployments(cluster, workload).await?;
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&workload.name, &parameters, &Patch::Merge(change))
            .await
            .map_err(|source| cluster.api_error(format!("patch {what}"), source))?;
        Ok(())
    }

    /// Watches the Deployment until its controller has done all that was asked of it.
    pub(super) async fn rolled_out(
        &self,
        workload: &Deployment,
        replicas: i64,
        timeout: Duration,
    ) -> Result<(), Error> {
        let cluster = self.environment.cluster(&workload.cluster)?;
        let (api, what) = deployments(cluster, workload).await?;
        match watch::until(api, &workload.name, timeout, |object| rollout_done(object, replicas)).await {
            Ok(_) => Ok(()),
            Err(watch::Error::TimedOut { waited, last }) => {
                Err(Error::NotRolledOut { workload: workload.to_string(), waited: seconds(waited), last })
            }
            Err(watch::Error::Watch(source)) => Err(cluster.api_error(format!("watch {what}"), source).into()),
        }
    }

    pub(super) async fn exec(&self, exec: &Exec) -> Result<Done, Error> {
        let place = self.place(&exec.within, &exec.container).await?;
        let command: Vec<&str> = exec.command.iter().map(String::as_str).collect();
        let output = place.run_any(&command, exec.timeout).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let missing = exec.contains.iter().find(|wanted| !text.contains(wanted.as_str()));
        let mut evidence = Vec::new();
        if output.code != exec.exit_code {
            evidence.push(format!(
                "exit code {}, expected is {}: {}",
                output.code,
                exec.exit_code,
                output.last_words()
            ));
        }
        if let Some(missing) = missing {
            evidence.push(format!("its output does not contain `{missing}`: {}", shortened(&text)));
        }
        if !evidence.is_empty() {
            return Ok(Done { outcome: Outcome::Fail, evidence });
        }
        Ok(Done::passed(format!("exit code {} in {place}", output.code)))
    }

    async fn place(&self, of: &Deployment, container: &str) -> Result<Place, Error> {
        if let Some(vm) = &of.vm {
            return Ok(Place::Machine { machine: self.environment.machine(&vm.name)?, program: container.to_owned() });
        }
        let cluster = self.environment.cluster(&of.cluster)?.clone();
        let pods = cluster.pods(&of.namespace, &of.selector).await?;
        let pod = pods.first().ok_or_else(|| no_pod(of))?.name_any();
        Ok(Place::Pod { cluster, namespace: of.namespace.clone(), pod, container: container.to_owned() })
    }

    /// What the proxies of a control plane must hold as endpoints of these workloads.
    pub(super) async fn endpoints(&self, workloads: &[Deployment], reader: &Cluster) -> Result<Vec<Endpoints>, Error> {
        let mut all = Vec::new();
        for workload in workloads.iter().filter(|workload| workload.served) {
            if let Some(vm) = &workload.vm {
                all.push(machines::endpoint(self.environment, vm, reader).await?);
                continue;
            }
            let cluster = self.environment.cluster(&workload.cluster)?;
            let ready = all_pods(cluster, workload).await?.into_iter().filter(is_ready);
            all.push(Endpoints {
                cluster: workload.cluster.clone(),
                namespace: workload.namespace.clone(),
                workload: workload.name.clone(),
                pods: ready.map(|pod| pod.name_any()).collect(),
            });
        }
        Ok(all)
    }
}

pub(super) async fn deployments(
    cluster: &Cluster,
    workload: &Deployment,
) -> Result<(Api<DynamicObject>, String), Error> {
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "namespace": workload.namespace, "name": workload.name },
    });
    Ok(cluster.api_of(&manifest).await?)
}

/// Whether a Deployment's controller has seen its last change and carried it out, as `kubectl rollout status` asks.
pub(super) fn rollout_done(object: Option<&Value>, replicas: i64) -> Result<(), String> {
    let object = object.ok_or("it is not there")?;
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Err("its controller has not seen the change".to_owned());
    }
    let counts = ["replicas", "updatedReplicas", "availableReplicas"];
    match counts.into_iter().find(|count| number(&format!("/status/{count}")) != replicas) {
        Some(count) => Err(format!("{count} is {} of {replicas}", number(&format!("/status/{count}")))),
        None => Ok(()),
    }
}

/// Every pod of a workload, those that are going included.
async fn all_pods(cluster: &Cluster, workload: &Deployment) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), &workload.namespace);
    let listed = api
        .list(&kube::api::ListParams::default().labels(&workload.selector))
        .await
        .map_err(|source| cluster.api_error(format!("list pods of {}", workload.name), source))?;
    Ok(listed.items)
}

async fn pods_to_be(
    cluster: &Cluster,
    workload: &Deployment,
    timeout: Duration,
    judge: impl Fn(&[Pod]) -> Result<(), String>,
) -> Result<Vec<Pod>, Error> {
    let what = format!("the pods of {workload} to be replaced");
    let settled = eventually::poll(what, timeout, STEP, async || {
        let pods = all_pods(cluster, workload).await.map_err(|error| crate::cluster::chain(&error))?;
        judge(&pods).map(|()| pods)
    });
    settled.await.map_err(|error| Error::NotRolledOut {
        workload: workload.to_string(),
        waited: seconds(error.waited),
        last: error.last,
    })
}

fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

pub(super) fn no_pod(workload: &Deployment) -> Error {
    Error::NoPod { cluster: workload.cluster.clone(), workload: workload.name.clone() }
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn shortened(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect();
    if line.is_empty() { "it wrote nothing".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_done_when_the_controller_says_so_of_the_last_change() {
        let status = |observed: i64, updated: i64, available: i64| {
            json!({
                "metadata": { "generation": 2 },
                "status": {
                    "observedGeneration": observed, "replicas": 1, "updatedReplicas": updated,
                    "availableReplicas": available,
                },
            })
        };
        assert_eq!(rollout_done(Some(&status(2, 1, 1)), 1), Ok(()));
        for (object, said) in [
            (status(1, 1, 1), "its controller has not seen the change"),
            (status(2, 0, 1), "updatedReplicas is 0 of 1"),
            (status(2, 1, 0), "availableReplicas is 0 of 1"),
        ] {
            assert_eq!(rollout_done(Some(&object), 1), Err(said.to_owned()));
        }
        assert!(rollout_done(None, 1).is_err());
        let none = json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": 2 } });
        assert_eq!(rollout_done(Some(&none), 0), Ok(()));
    }
}
