//! Measures who reaches whom: every source asks every service, several at a time, and says who answered.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::context::{Environment, Error};
use crate::check::observation::{Observation, ReachabilityObservation};
use crate::scenario::plan::{Reachability, Target};
use crate::topology::Workload;
use crate::traffic::probe::{self, Request, Samples};

/// So many sources send at a time: more only wait for each other.
const AT_ONCE: usize = 8;
/// Connections of each.
const CONNECTIONS: u32 = 4;

pub(super) async fn measure(environment: &Environment, step: &Reachability) -> Result<Observation, Error> {
    let pairs = step.from.iter().flat_map(|from| step.to.iter().map(move |to| (from, to)));
    let asked = stream::iter(pairs).map(|(from, to)| ask(environment, step, from, to)).buffered(AT_ONCE);
    let samples: Vec<Samples> = asked.try_collect().await?;
    let answers = samples.chunks(step.to.len().max(1)).map(<[Samples]>::to_vec).collect();
    Ok(Observation::Reachability(Box::new(ReachabilityObservation { matrix: step.clone(), answers })))
}

async fn ask(environment: &Environment, step: &Reachability, from: &Workload, to: &Target) -> Result<Samples, Error> {
    let request = Request {
        protocol: to.protocol,
        requests: Some(to.requests),
        connections: CONNECTIONS,
        timeout: step.timeout,
        // A connection that is kept may keep its destination.
        new_connection_per_request: true,
        ..Request::to(to.url())
    };
    Ok(probe::send(&environment.source(from)?, &request).await?)
}
