//! The probes of one running container: when they run, and what their results mean.
//!
//! One deliberate difference from Kubernetes: until a startup or readiness probe has succeeded for the first time,
//! it runs every [`EAGER_PERIOD`] instead of every `periodSeconds`. A pod becomes Ready some hundred milliseconds
//! after it could, not some seconds; and since readiness failures before the first success have no effect, and
//! startup failures are still counted once a period, nothing else changes.

mod check;
mod spec;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

pub(super) use check::{Place, carry_out, http as http_check};
pub(super) use spec::{Check, ProbeSpec, http as read_http};

/// The time between two runs of a probe that has not succeeded yet.
const EAGER_PERIOD: Duration = Duration::from_millis(100);
/// The same for commands, which cost more.
const EAGER_EXEC_PERIOD: Duration = Duration::from_millis(400);
/// How long a probe stays eager; what has not come up by then is waited for at the usual pace.
const EAGER_FOR: Duration = Duration::from_secs(30);

/// The three probes of a container.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    pub(super) startup: Option<ProbeSpec>,
    pub(super) readiness: Option<ProbeSpec>,
    pub(super) liveness: Option<ProbeSpec>,
}

/// What a probe has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The container has started.
    Started,
    /// The container is ready, or is not.
    Ready(bool),
    /// A probe failed, for an event. `Startup probe failed: ...`
    Unhealthy(String),
}

/// A startup or liveness probe wants the container to be ended: why, and with what grace period of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condemned {
    pub(super) message: String,
    pub(super) grace: Option<Duration>,
}

impl Probes {
    /// Runs the probes of a container until one of them condemns it. Dropping the future stops them.
    pub(super) async fn run(&self, container: &str, place: &Place, report: impl Fn(Verdict)) -> Condemned {
        if let Some(startup) = &self.startup {
            let mut course = Course::new(startup, true);
            if let Some(condemned) = course.until_success(container, "Startup", place, &report).await {
                return condemned;
            }
        }
        report(Verdict::Started);
        let readiness = async {
            match &self.readiness {
                None => report(Verdict::Ready(true)),
                Some(spec) => readiness(spec, place, &report).await,
            }
            std::future::pending::<Condemned>().await
        };
        let liveness = async {
            match &self.liveness {
                None => std::future::pending().await,
                Some(spec) => liveness(spec, container, place, &report).await,
            }
        };
        tokio::select! {
            condemned = readiness => condemned,
            condemned = liveness => condemned,
        }
    }
}

/// The runs of one probe.
struct Course<'a> {
    spec: &'a ProbeSpec,
    ticks: tokio::time::Interval,
    eager_until: Option<Instant>,
    failures: u32,
    successes: u32,
    counted_at: Option<Instant>,
    /// Until then a failure is what everybody expects, and no event is worth it.
    quiet_until: Instant,
}

impl<'a> Course<'a> {
    fn new(spec: &'a ProbeSpec, eager: bool) -> Self {
        let first = Instant::now() + spec.initial_delay;
        let eager_period = if matches!(spec.check, Check::Exec { .. }) { EAGER_EXEC_PERIOD } else { EAGER_PERIOD };
        let period = if eager { eager_period.min(spec.period) } else { spec.period };
        let mut ticks = tokio::time::interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let eager_until = eager.then(|| first + EAGER_FOR);
        let quiet_until = if eager { first + spec.period } else { first };
        Self { spec, ticks, eager_until, failures: 0, successes: 0, counted_at: None, quiet_until }
    }

    /// Waits for the next run and carries it out.
    async fn next(&mut self, place: &Place) -> Result<(), String> {
        if self.eager_until.is_some_and(|until| Instant::now() > until) {
            self.calm_down();
        }
        self.ticks.tick().await;
        let result = carry_out(&self.spec.check, place, self.spec.timeout).await;
        match &result {
            Ok(()) => (self.successes, self.failures) = (self.successes + 1, 0),
            Err(_) => self.successes = 0,
        }
        result
    }

    /// Goes over to the usual period.
    fn calm_down(&mut self) {
        if self.eager_until.take().is_some() {
            self.ticks = tokio::time::interval_at(Instant::now() + self.spec.period, self.spec.period);
            self.ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
    }

    /// Counts a failure, at most one a period: eager runs must not use up the patience of the probe.
    fn count_failure(&mut self) -> bool {
        let now = Instant::now();
        // Half a period of tolerance, because the runs do not happen at exact intervals.
        if self.counted_at.is_some_and(|at| now.duration_since(at) < self.spec.period / 2 + self.spec.period / 4) {
            return false;
        }
        self.counted_at = Some(now);
        self.failures += 1;
        true
    }

    fn is_worth_an_event(&self) -> bool {
        Instant::now() >= self.quiet_until
    }

    async fn until_success(
        &mut self,
        container: &str,
        kind: &str,
        place: &Place,
        report: &impl Fn(Verdict),
    ) -> Option<Condemned> {
        loop {
            match self.next(place).await {
                Ok(()) if self.successes >= self.spec.success_threshold => return None,
                Ok(()) => {}
                Err(reason) => {
                    if self.count_failure() && self.is_worth_an_event() {
                        report(Verdict::Unhealthy(format!("{kind} probe failed: {reason}")));
                    }
                    if self.failures >= self.spec.failure_threshold {
                        return Some(self.condemn(container, kind));
                    }
                }
            }
        }
    }

    fn condemn(&self, container: &str, kind: &str) -> Condemned {
        let message = format!("Container {container} failed {} probe, will be restarted", kind.to_lowercase());
        Condemned { message, grace: self.spec.grace }
    }
}

/// Runs for ever.
async fn readiness(spec: &ProbeSpec, place: &Place, report: &impl Fn(Verdict)) {
    let mut course = Course::new(spec, true);
    let mut ready = false;
    loop {
        match course.next(place).await {
            Ok(()) => {
                if !ready && course.successes >= spec.success_threshold {
                    ready = true;
                    report(Verdict::Ready(true));
                    course.calm_down();
                }
            }
            Err(reason) => {
                if course.count_failure() && (ready || course.is_worth_an_event()) {
                    report(Verdict::Unhealthy(format!("Readiness probe failed: {reason}")));
                }
                if ready && course.failures >= spec.failure_threshold {
                    ready = false;
                    report(Verdict::Ready(false));
                }
            }
        }
    }
}

/// Runs until it has failed too often.
async fn liveness(spec: &ProbeSpec, container: &str, place: &Place, report: &impl Fn(Verdict)) -> Condemned {
    let mut course = Course::new(spec, false);
    loop {
        if let Err(reason) = course.next(place).await {
            course.failures += 1;
            report(Verdict::Unhealthy(format!("Liveness probe failed: {reason}")));
            if course.failures >= spec.failure_threshold {
                return course.condemn(container, "Liveness");
            }
        }
    }
}
