//! One start of a machine after the other, each as if it were the first: it joins by its token, and is asked all the while.

use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8Path;
use jiff::{SignedDuration, Timestamp};
use mesh_types::names;
use meshproof::cluster::Cluster;
use meshproof::environment::state_root;
use meshproof::scenario::keys::TokenKind;
use meshproof::topology::{Topology, Vm, validate};
use meshproof::traffic::background;
use meshproof::traffic::probe::{self, Group, Request, Samples, Source};
use meshproof::vm::{Machine, join};
use serde::Serialize;
use serde_json::{Value, json};

/// Who asks: a workload of the machine's cluster.
const CLIENT: &str = "probe";
/// The port of the machine's service.
const PORT: u16 = 8080;
/// Requests a second: the figures are as exact as that.
const RATE: u32 = 100;
/// More requests than are ever sent for one start.
const MOST_SAMPLES: u32 = 100_000;
/// Longest time for a machine to come, or for what is known of it to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what is not measured.
const STEP: Duration = Duration::from_millis(50);

/// One start, in milliseconds since it was asked for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    /// Until it was said to be on.
    on: f64,
    /// Until the control plane had registered it: its first certificate was issued and its proxy was connected.
    registered: f64,
    /// Until the control plane had heard that its application is healthy.
    healthy: f64,
    /// Until its first answer over the mesh was there, to a request from a pod.
    proven: f64,
}

/// Where it is measured.
struct Desk {
    cluster: Cluster,
    client: Source,
    client_identity: String,
    vm: Vm,
    machine: Machine,
}

/// Milliseconds of each start.
pub(crate) async fn measure(environment: &str, machine: &str, times: u32) -> anyhow::Result<Value> {
    let desk = Desk::open(environment, machine).await?;
    let mut samples = Vec::new();
    for _ in 0..times {
        samples.push(desk.start().await?);
    }
    Ok(json!({ "machine": machine, "runtime": desk.vm.runtime.word(), "samples": samples }))
}

impl Desk {
    async fn open(environment: &str, machine: &str) -> anyhow::Result<Self> {
        let root = state_root().map_err(anyhow::Error::msg)?;
        let kept = meshproof::run::find(&root, Some(environment))?;
        let topology = topology(kept.directory.topology().as_ref())?;
        let mut vm = topology.vm(machine).with_context(|| format!("there is no machine {machine}"))?.clone();
        let fleet = kept.into_fleet()?;
        vm.runtime = fleet.vm_runtime(machine).unwrap_or(vm.runtime);
        let links = fleet.links().context("the environment plays no machines")?;
        let of_cluster = |cluster: &Cluster| cluster.name() == vm.cluster;
        let cluster = fleet.clusters().await?.into_iter().find(of_cluster).context("its cluster is not there")?;
        let workloads = topology.workloads();
        let client = workloads.iter().find(|one| one.name == CLIENT && one.cluster == vm.cluster && one.sidecar);
        let client = client.with_context(|| format!("{} has no workload {CLIENT}", vm.cluster))?;
        let source = Source::Pod {
            cluster: cluster.clone(),
            namespace: client.namespace.clone(),
            selector: client.selector(),
            container: client.container.clone(),
        };
        cluster.apply(&service(&vm)).await?;
        Ok(Self {
            cluster,
            client: source,
            client_identity: client.identity.clone(),
            machine: links.machine(machine),
            vm,
        })
    }

    /// Stops the machine, lets everybody forget it, and lets it join anew.
    async fn start(&self) -> anyhow::Result<Sample> {
        if self.machine.status().await?.running {
            self.machine.stop().await?;
        }
        self.is_forgotten().await?;
        join::give(&self.vm, &self.cluster, &self.machine, TokenKind::Good, None).await?;
        let request = Request {
            rate: Some(f64::from(RATE)),
            max_connections: Some(RATE),
            samples: MOST_SAMPLES,
            ..self.request()
        };
        let traffic = background::start(&self.client, &request).await?;
        let began = Timestamp::now();
        self.machine.start().await?;
        let on = since(began, Timestamp::now());
        join::in_rotation(&self.vm, &self.cluster, &self.machine, None, PATIENCE).await?;
        let (registered, healthy) = self.told().await?;
        self.is_answered().await?;
        let proven = self.first_answer(&traffic.stop().await?)?;
        Ok(Sample {
            on,
            registered: since(began, registered),
            healthy: since(began, healthy),
            proven: since(began, proven),
        })
    }

    /// Waits until the control plane has removed its entry: one that comes back is believed what it said before.
    async fn is_forgotten(&self) -> anyhow::Result<()> {
        let what = format!("the control plane to forget {}", self.vm.name);
        let look = async || match join::entry(&self.vm, &self.cluster).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err("its WorkloadEntry is there".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Ok(eventually::poll(what, PATIENCE, STEP, look).await?)
    }

    /// When the control plane registered the machine, and when it heard that it is healthy.
    async fn told(&self) -> anyhow::Result<(Timestamp, Timestamp)> {
        let entry = join::entry(&self.vm, &self.cluster).await?.context("its WorkloadEntry is gone")?;
        let registered = &entry["metadata"]["annotations"][names::ANNOTATION_CONNECTED_AT];
        let mut conditions = entry["status"]["conditions"].as_array().into_iter().flatten();
        let healthy = conditions.find(|one| one["type"] == names::CONDITION_HEALTHY);
        let healthy = healthy.map_or(&Value::Null, |condition| &condition["lastTransitionTime"]);
        let time = |text: &Value| text.as_str().unwrap_or_default().parse::<Timestamp>().context("no time is said");
        Ok((time(registered)?, time(healthy)?))
    }

    /// Waits for an answer of the machine.
    async fn is_answered(&self) -> anyhow::Result<()> {
        let one = Request { requests: Some(1), ..self.request() };
        let look = async || {
            let samples = probe::send(&self.client, &one).await.map_err(|error| error.to_string())?;
            let proven = samples.groups.iter().any(|group| self.is_proof(group));
            if proven { Ok(()) } else { Err(format!("{:?} {:?}", samples.by_status, samples.errors)) }
        };
        Ok(eventually::poll(format!("an answer of {}", self.vm.name), PATIENCE, STEP, look).await?)
    }

    /// When the first answer of the machine was there.
    fn first_answer(&self, samples: &Samples) -> anyhow::Result<Timestamp> {
        let timeline = samples.timeline.as_ref().context("the probe lists no requests")?;
        let proofs = timeline.samples().filter(|one| one.target.error.is_none() && self.is_proof(&one.target.answer));
        let first = proofs.map(|one| one.done).min().context("the machine answered no request")?;
        Ok(Timestamp::from_microsecond(samples.start_unix_micros)? + SignedDuration::try_from(first)?)
    }

    /// Whether it is an answer of the machine over mutual TLS: each side has seen the other's identity.
    fn is_proof(&self, answer: &Group) -> bool {
        answer.status == 200
            && answer.cluster.as_ref() == Some(&self.vm.name)
            && answer.server.as_ref() == Some(&self.vm.identity)
            && answer.peer.as_ref() == Some(&self.client_identity)
    }

    fn request(&self) -> Request {
        Request {
            timeout: Duration::from_secs(1),
            ..Request::to(format!("http://{}.{}:{PORT}/", self.vm.name, self.vm.namespace))
        }
    }
}

fn topology(file: &Utf8Path) -> anyhow::Result<Topology> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    validate::read(file.as_str(), &text).map_err(|_| anyhow::anyhow!("{file} has mistakes"))
}

/// A Service that nobody but the machine is behind.
fn service(vm: &Vm) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": vm.name, "namespace": vm.namespace },
        "spec": { "selector": vm.labels, "ports": [{ "name": "http", "port": PORT, "appProtocol": "http" }] },
    })
}

/// Milliseconds between two moments.
fn since(began: Timestamp, moment: Timestamp) -> f64 {
    moment.duration_since(began).as_secs_f64() * 1e3
}
