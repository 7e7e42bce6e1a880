//! Traffic that runs while other steps are done.

use std::time::{Duration, SystemTime};

use super::context::Error;
use super::measure;
use super::runner::{Done, Runner};
use crate::check::observation::{FaultSeen, Observation, OfSource, TrafficObservation};
use crate::check::witness::Witnesses;
use crate::scenario::plan::{Await, Background, Stop, Traffic};
use crate::traffic::background;
use crate::traffic::probe::Request;

/// More connections than this wait for answers only where everything hangs.
const MOST_CONNECTIONS: u32 = 256;
/// So many single requests are recorded at most; beyond that nothing is proved by a timeline.
const MOST_SAMPLES: u32 = 1_000_000;
/// Between two looks whether traffic still runs.
const STEP: Duration = Duration::from_millis(20);

/// Traffic that runs.
pub(super) struct Running {
    run: background::Background,
    traffic: Traffic,
}

impl Runner<'_> {
    pub(super) async fn background(&self, name: &str, step: &Background) -> Result<Done, Error> {
        self.drained().await?;
        let traffic = &step.traffic;
        // The plan's check lets no more than one through.
        let source = traffic.from.first().ok_or_else(|| Error::NoMeasurement(name.to_owned()))?;
        let request = Request {
            max_connections: Some(MOST_CONNECTIONS.max(traffic.connections)),
            samples: MOST_SAMPLES,
            histogram: true,
            ..measure::request(traffic)
        };
        let begun = background::start(&self.environment.source(source)?, &request).await?;
        let evidence = format!("{} requests a second since {}", traffic.rate.unwrap_or(0), begun.started_at());
        self.running.borrow_mut().insert(name.to_owned(), Running { run: begun, traffic: traffic.clone() });
        Ok(Done::passed(evidence))
    }

    /// Lets as much time pass as the requests take at their rate, and sees to it that they are sent.
    pub(super) async fn during(&self, wait: &Await) -> Result<Done, Error> {
        let begin = tokio::time::Instant::now();
        let runs = || self.running.borrow().get(&wait.traffic).map(|traffic| !traffic.run.is_over());
        let what = format!("{} requests more of `{}`", wait.requests, wait.traffic);
        let waited = eventually::poll(what, wait.time + Duration::from_secs(5), STEP, async || match runs() {
            None => Ok(Err(Error::NotBegun(wait.traffic.clone()))),
            Some(false) => Ok(Err(Error::EndedEarly(wait.traffic.clone()))),
            Some(true) if begin.elapsed() >= wait.time => Ok(Ok(())),
            Some(true) => Err("they are being sent"),
        });
        waited.await.map_err(|error| Error::Lacking(error.to_string()))??;
        Ok(Done::passed(format!("{} requests more in {:.1} s", wait.requests, begin.elapsed().as_secs_f64())))
    }

    /// Ends traffic and puts what failed meanwhile on its clock.
    pub(super) async fn stop(&self, stop: &Stop) -> Result<(Traffic, Observation), Error> {
        let running = self.running.borrow_mut().remove(&stop.traffic);
        let Running { run, traffic } = running.ok_or_else(|| Error::NotBegun(stop.traffic.clone()))?;
        // Whoever called over mere bytes is not seen here, which is not the same as nobody.
        let connections = run.protocol().is_opaque().then(Vec::new);
        let samples = run.stop().await?;
        let begin =
            SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(samples.start_unix_micros).unwrap_or(0));
        let end_ms = samples.duration_ms;
        let on_clock = |moment: SystemTime| match moment.duration_since(begin) {
            Ok(after) => after.as_secs_f64() * 1_000.0,
            Err(before) => -before.duration().as_secs_f64() * 1_000.0,
        };
        let faults = self.faults.borrow();
        let seen = faults.history().iter().map(|one| FaultSeen {
            step: one.step.clone(),
            what: one.what.clone(),
            began_ms: on_clock(one.began),
            healed_ms: one.healed.map(on_clock).filter(|healed| *healed <= end_ms),
        });
        let sources = traffic.from.iter().cloned().map(|source| OfSource { source, samples: samples.clone() });
        let observation = Observation::Traffic(Box::new(TrafficObservation {
            rate: stop.rate,
            faults: seen.filter(|fault| fault.began_ms >= 0.0 && fault.began_ms <= end_ms).collect(),
            witnesses: Witnesses { connections, ..Witnesses::default() },
            ..TrafficObservation::of(sources.collect())
        }));
        Ok((traffic, observation))
    }
}
