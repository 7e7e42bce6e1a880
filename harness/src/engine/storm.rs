//! Storms: servers that answer a share of their requests with errors, one lease for each pod.

use std::time::Duration;

use futures::future::try_join_all;
use kube::ResourceExt as _;
use serde::Deserialize;
use tokio::time::Instant;

use super::context::{Environment, Error};
use super::rollout::{no_pod, seconds};
use crate::scenario::plan::Storm;
use crate::traffic::controlled::Controlled;
use crate::traffic::place::Place;

/// How long a pod may take to say what its storm did.
const REPORT: Duration = Duration::from_secs(10);

/// A storm in every pod of a workload. It ends with this value, with this process and with its limit.
pub(super) struct Raging {
    leases: Vec<Controlled>,
    since: Instant,
}

/// What the storm of one pod did.
#[derive(Deserialize)]
struct Damage {
    requests: u64,
    struck: u64,
    expired: bool,
}

pub(super) async fn begin(environment: &Environment, storm: &Storm, limit: Duration) -> Result<Raging, Error> {
    let workload = &storm.workload;
    let cluster = environment.cluster(&workload.cluster)?;
    let pods = cluster.pods(&workload.namespace, &workload.selector).await?;
    if pods.is_empty() {
        return Err(no_pod(workload));
    }
    let since = Instant::now();
    let started = pods.iter().map(async |pod| {
        let command = vec![
            "bookinfo".to_owned(),
            "storm".to_owned(),
            format!("--port={}", storm.port),
            format!("--status={}", storm.status),
            format!("--percent={}", storm.percent),
            format!("--lasting={}ms", limit.as_millis()),
        ];
        let place = Place::Pod {
            cluster: cluster.clone(),
            namespace: workload.namespace.clone(),
            pod: pod.name_any(),
            container: workload.container.clone(),
        };
        Controlled::start(place, &command).await
    });
    Ok(Raging { leases: try_join_all(started).await?, since })
}

impl Raging {
    /// How many pods it is in.
    pub(super) fn pods(&self) -> usize {
        self.leases.len()
    }

    /// Ends it everywhere. A pod answers when its storm is over, so that it has healed when this returns.
    pub(super) async fn end(mut self) -> Result<String, Error> {
        let (mut requests, mut struck, mut expired) = (0, 0, false);
        for lease in &mut self.leases {
            lease.stop().await;
        }
        for lease in &mut self.leases {
            let damage: Damage = lease.report(REPORT).await?;
            requests += damage.requests;
            struck += damage.struck;
            expired |= damage.expired;
        }
        let lasted = seconds(self.since.elapsed());
        let by_itself = if expired { "; it had ended before it was to" } else { "" };
        Ok(format!("the storm struck {struck} of {requests} requests; it lasted {lasted}{by_itself}"))
    }
}
