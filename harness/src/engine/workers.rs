//! Workers: pods that are made for one step, send in place of its sources' own pods, and are removed after it.
//!
//! Every Job is noted before it is made and until it is gone, so that the end of the scenario removes what an interruption
//! left. What a killed run leaves ends by itself, and `down` removes it.

use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams};
use uuid::Uuid;

use super::context::{Environment, Error};
use super::measure;
use super::runner::Runner;
use crate::check::observation::Observation;
use crate::cluster::{Cluster, chain};
use crate::install::diagnosis;
use crate::report::event::{EventKind, StepOutcome};
use crate::scenario::plan::{Expectation, Traffic, Workers as Planned};
use crate::topology::Workload;
use crate::traffic::place::Place;
use crate::traffic::workers::{LABEL, Workers};

/// How long workers may take to be ready: images may have to come from a registry.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// How long a Job that was deleted may take to be gone with its pods.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// What a measurement takes besides what is sent: its witnesses begin before, and are heard afterwards.
const AROUND: Duration = Duration::from_secs(120);
/// Id of the step that stands in the report for workers that could not be removed.
const STEP: &str = "workers";

/// A Job that was made, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    cluster: String,
    namespace: String,
    name: String,
}

/// Pods that send for a source, each ready to.
pub(super) struct Crew {
    /// The workload that they send for.
    pub(super) source: Workload,
    /// Where they are.
    pub(super) places: Vec<Place>,
}

impl Runner<'_> {
    /// Sends the requests of a step from workers, which are there for that long.
    pub(super) async fn traffic_by(
        &self,
        traffic: &Traffic,
        planned: &Planned,
        more: &[Expectation],
    ) -> Result<Observation, Error> {
        let made: Vec<Made> = named(&Uuid::new_v4().simple().to_string(), &traffic.from);
        self.made.borrow_mut().extend(made.iter().cloned());
        let measured = async {
            let crews = self.crews(traffic, planned, &made).await?;
            if !planned.converge.clusters.is_empty() {
                self.converge(&planned.converge).await?;
            }
            measure::traffic(self.environment, traffic, more, &crews).await
        };
        let measured = measured.await;
        for left in self.dismiss(&made).await {
            // They are tried again at the end of the scenario, which says so where they stay.
            self.events.warn(left, None);
        }
        measured
    }

    async fn crews(&self, traffic: &Traffic, planned: &Planned, made: &[Made]) -> Result<Vec<Crew>, Error> {
        let lifetime = READY_WITHIN + planned.converge.timeout + measure::whole(traffic).deadline() + AROUND;
        let each = traffic.from.iter().zip(&planned.of_each).zip(made).map(async |((source, count), made)| {
            let workers = Workers {
                name: &made.name,
                namespace: &made.namespace,
                source: &source.name,
                container: &source.container,
                count: *count,
                lifetime,
            };
            let places = begin(self.environment.cluster(&source.cluster)?, &workers).await?;
            Ok::<_, Error>(Crew { source: source.clone(), places })
        });
        try_join_all(each).await
    }

    /// Removes Jobs with their pods, and waits until they are gone. Returns what is left, as sentences.
    async fn dismiss(&self, made: &[Made]) -> Vec<String> {
        let removed = made.iter().map(|one| remove(self.environment, one));
        let removed = futures::future::join_all(removed).await;
        let mut left = Vec::new();
        for (one, removed) in made.iter().zip(removed) {
            match removed {
                Ok(()) => self.made.borrow_mut().retain(|known| known != one),
                Err(error) => left.push(chain(&error)),
            }
        }
        left
    }

    /// Removes the workers that an interruption or an error left, and tells it where that does not work.
    pub(super) async fn dismiss_left(&self) -> StepOutcome {
        let made = self.made.borrow().clone();
        let left = self.dismiss(&made).await;
        if left.is_empty() {
            return StepOutcome::Passed;
        }
        let (scenario, step) = (self.scenario.to_owned(), STEP.to_owned());
        let name = "no workers are left".to_owned();
        self.events.send(EventKind::StepStarted { scenario: scenario.clone(), step: step.clone(), name });
        let outcome = StepOutcome::Errored { message: "workers could not be removed".to_owned() };
        self.events.send(EventKind::StepFinished { scenario, step, outcome: outcome.clone(), evidence: left });
        outcome
    }
}

/// Names for the Jobs of a step, one for each source.
fn named(id: &str, sources: &[Workload]) -> Vec<Made> {
    let one = |(index, source): (usize, &Workload)| Made {
        cluster: source.cluster.clone(),
        namespace: source.namespace.clone(),
        name: format!("workers-{id}-{index}"),
    };
    sources.iter().enumerate().map(one).collect()
}

/// Makes workers and waits until each is ready.
async fn begin(cluster: &Cluster, workers: &Workers<'_>) -> Result<Vec<Place>, Error> {
    let failed = |message: String| crate::cluster::Error::Object { cluster: cluster.name().to_owned(), message };
    let template = template(cluster, workers).await?;
    let job = workers.job(&template).ok_or_else(|| {
        let Workers { source, namespace, container, .. } = workers;
        failed(format!("Deployment {namespace}/{source} has no container {container} to make workers of"))
    })?;
    let manifest = serde_json::to_value(&job).map_err(|error| failed(error.to_string()))?;
    cluster.apply(&manifest).await?;
    let pods = tokio::select! {
        ready = ready(cluster, workers) => ready?,
        () = diagnosis::hopeless(cluster, workers.namespace, workers.name) => {
            return Err(not_ready(cluster, workers, "it is of no use to wait".to_owned()).await);
        }
    };
    let place = |pod: Pod| Place::Pod {
        cluster: cluster.clone(),
        namespace: workers.namespace.to_owned(),
        pod: pod.name_any(),
        container: workers.container.to_owned(),
    };
    Ok(pods.into_iter().map(place).collect())
}

async fn template(cluster: &Cluster, workers: &Workers<'_>) -> Result<PodTemplateSpec, crate::cluster::Error> {
    let Workers { source, namespace, .. } = workers;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client(), namespace);
    let found = deployments.get(source).await;
    let found = found.map_err(|error| cluster.api_error(format!("get Deployment {namespace}/{source}"), error))?;
    Ok(found.spec.template)
}

/// The pods, all of them ready.
async fn ready(cluster: &Cluster, workers: &Workers<'_>) -> Result<Vec<Pod>, Error> {
    let labels = format!("{LABEL}={}", workers.name);
    let what = format!("{} workers for {} to be ready", workers.count, workers.source);
    let waited = eventually::poll(what, READY_WITHIN, LOOK, async || {
        let pods = cluster.pods(workers.namespace, &labels).await.map_err(|error| chain(&error))?;
        match pods.iter().find(|pod| is_over(pod)) {
            Some(pod) => Ok(Err(format!("{} has ended", pod.name_any()))),
            None => all_ready(pods, workers.count).map(Ok),
        }
    });
    match waited.await {
        Ok(Ok(pods)) => Ok(pods),
        Ok(Err(ended)) => Err(not_ready(cluster, workers, ended).await),
        Err(late) => Err(not_ready(cluster, workers, late.to_string()).await),
    }
}

fn all_ready(pods: Vec<Pod>, wanted: u32) -> Result<Vec<Pod>, String> {
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    match u32::try_from(ready) == Ok(wanted) && ready == pods.len() {
        true => Ok(pods),
        false => Err(format!("{ready} of {wanted} are ready, and there are {}", pods.len())),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// Why workers cannot send, with what their pods say.
async fn not_ready(cluster: &Cluster, workers: &Workers<'_>, seen: String) -> Error {
    let why = diagnosis::why_not_ready(cluster, workers.namespace, workers.name).await;
    Error::NoWorkers {
        cluster: cluster.name().to_owned(),
        workload: workers.source.to_owned(),
        why: format!("{seen}; {why}"),
    }
}

/// Removes a Job and its pods. One that is not there counts as removed.
async fn remove(environment: &Environment, made: &Made) -> Result<(), Error> {
    let Made { namespace, name, .. } = made;
    let cluster = environment.cluster(&made.cluster)?;
    let jobs: Api<Job> = Api::namespaced(cluster.client(), namespace);
    // Kubernetes leaves the pods of a Job where it is not told otherwise; in the foreground the Job goes after them.
    match jobs.delete(name, &DeleteParams::foreground()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(source) => return Err(cluster.api_error(format!("delete Job {namespace}/{name}"), source).into()),
    }
    let gone = eventually::poll(format!("Job {namespace}/{name} to be gone"), GONE_WITHIN, LOOK, async || {
        match jobs.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("it is still there, with its pods".to_owned()),
            Err(error) => Err(chain(&error)),
        }
    });
    gone.await.map_err(|late| Error::WorkersLeft { cluster: made.cluster.clone(), why: late.to_string() })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, phase: &str, ready: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "echo" },
            "status": { "phase": phase, "conditions": [{ "type": "Ready", "status": ready }] },
        })
    }

    fn deployment() -> Value {
        let containers = json!([{ "name": "sleep", "image": "probe" }]);
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "sleep", "namespace": "echo" },
            "spec": { "selector": {}, "template": { "spec": { "containers": containers } } },
        })
    }

    /// A cluster that makes these pods of every Job, and the requests that it got.
    fn cluster(pods: Value) -> (Cluster, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let cluster = Cluster::answering("cluster1", move |request| {
            let (method, path) = (request.method().as_str(), request.uri().path().to_owned());
            seen.lock().expect("nobody panics").push(format!("{method} {path}"));
            let resource =
                json!({ "name": "jobs", "kind": "Job", "namespaced": true, "verbs": ["patch"], "singularName": "job" });
            match path.as_str() {
                "/apis/batch/v1" => {
                    (200, json!({ "kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [resource] }))
                }
                path if path.contains("/deployments/") => (200, deployment()),
                path if path.ends_with("/pods") => {
                    (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }))
                }
                _ => (200, json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "workers-1-0" } })),
            }
        });
        (cluster, asked)
    }

    fn two(container: &'static str) -> Workers<'static> {
        let lifetime = Duration::from_secs(300);
        Workers { name: "workers-1-0", namespace: "echo", source: "sleep", container, count: 2, lifetime }
    }

    #[tokio::test]
    async fn they_send_once_all_of_them_are_ready() {
        let (one, other) = (pod("workers-1-0-a", "Running", "True"), pod("workers-1-0-b", "Running", "True"));
        let (cluster, asked) = cluster(json!([one, other]));
        let places = begin(&cluster, &two("sleep")).await.expect("both are ready");
        let names: Vec<String> = places.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["cluster1/workers-1-0-a", "cluster1/workers-1-0-b"]);
        let asked = asked.lock().expect("nobody panics").clone();
        assert!(asked.contains(&"PATCH /apis/batch/v1/namespaces/echo/jobs/workers-1-0".to_owned()), "{asked:?}");
    }

    #[tokio::test]
    async fn one_that_ended_is_named_and_nothing_is_sent() {
        let (one, other) = (pod("workers-1-0-a", "Running", "True"), pod("workers-1-0-b", "Failed", "False"));
        let (cluster, _) = cluster(json!([one, other]));
        let error = begin(&cluster, &two("sleep")).await.err().expect("it has ended");
        assert!(error.to_string().contains("workers-1-0-b has ended"), "{error}");
    }

    #[tokio::test]
    async fn a_workload_without_the_container_is_named() {
        let (cluster, _) = cluster(json!([]));
        let error = begin(&cluster, &two("shop")).await.err().expect("there is none");
        assert_eq!(error.to_string(), "cluster1: Deployment echo/sleep has no container shop to make workers of");
    }

    #[test]
    fn fewer_than_were_wanted_are_not_all() {
        let pods = |ready: &[&str]| -> Vec<Pod> {
            let one = |state: &&str| serde_json::from_value(pod("a", "Running", state)).expect("a pod");
            ready.iter().map(one).collect()
        };
        assert_eq!(all_ready(pods(&["True", "True"]), 2).map(|pods| pods.len()), Ok(2));
        assert_eq!(all_ready(pods(&["True"]), 2), Err("1 of 2 are ready, and there are 1".to_owned()));
        assert!(all_ready(pods(&["True", "False"]), 2).is_err());
        assert!(
            all_ready(pods(&["True", "True", "True"]), 2).is_err(),
            "one too many sends nothing, so whose are they?"
        );
    }

    #[tokio::test]
    async fn a_job_that_is_gone_is_removed() {
        let gone = Cluster::answering("cluster1", |_| {
            (
                404,
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 }),
            )
        });
        let environment = Environment::new(vec![gone], None);
        let made = named("1", &[Workload::client("cluster1")]);
        assert_eq!(made[0].name, "workers-1-0");
        remove(&environment, &made[0]).await.expect("there is nothing to remove");
    }
}
