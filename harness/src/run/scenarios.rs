//! Several scenarios on one environment.

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};

use super::schedule::{Place, Schedule};
use super::{Interruption, Manner, fail};
use crate::engine::{Environment, run_repetition};
use crate::provider::fleet::Fleet;
use crate::report::RunOutcome;
use crate::report::event::StepOutcome;
use crate::report::stream::EventSender;
use crate::scenario::plan::Plan;
use crate::topology::Vm;

/// Runs every plan on one of the environments, as often as asked, and combines the outcomes; an interruption ends the run after the clean-up of the
/// scenarios at hand, a second one at once.
pub(super) async fn run_all(
    environments: &[Environment],
    plans: &[Plan],
    manner: Manner,
    events: &EventSender,
    interruption: &Interruption,
) -> RunOutcome {
    if plans.is_empty() {
        return RunOutcome::NothingSelected;
    }
    for environment in environments {
        heal_left(environment, plans, events).await;
    }
    let mut worst = RunOutcome::Passed;
    for number in 1..=manner.rounds.most() {
        let round = Round { environments, plans, manner, number: manner.rounds.number(number), events, interruption };
        let ended = interruption.insisted().run_until_cancelled(round.run()).await;
        if let Some(interrupted) = interruption.outcome() {
            return interrupted;
        }
        let Some(ended) = ended else { break };
        worst = worst.worse(ended.worst);
        // Where every scenario was skipped, nothing was proved, and no other round proves more.
        if ended.skipped == plans.len() {
            return worst.worse(RunOutcome::Inconclusive);
        }
        if manner.rounds.until_fail && worst != RunOutcome::Passed {
            break;
        }
    }
    worst
}

/// Every scenario once.
struct Round<'run> {
    environments: &'run [Environment],
    plans: &'run [Plan],
    manner: Manner,
    number: Option<u32>,
    events: &'run EventSender,
    interruption: &'run Interruption,
}

/// What came of a round.
struct Ended {
    worst: RunOutcome,
    skipped: usize,
}

impl Round<'_> {
    /// Begins scenarios as soon as those that run let them, until an interruption, or a failure where that is the end.
    async fn run(&self) -> Ended {
        let fits = |plan: &Plan, one: usize| self.environments[one].unfit(plan).is_none();
        let mut schedule = Schedule::new(self.plans, self.manner.jobs, self.environments.len(), fits);
        let mut running = FuturesUnordered::new();
        let mut ended = Ended { worst: RunOutcome::Passed, skipped: 0 };
        loop {
            while self.goes_on(&ended)
                && let Some(place) = schedule.next()
            {
                running.push(async move { (place, self.one(place).await) });
            }
            let Some((place, outcome)) = running.next().await else { return ended };
            schedule.ended(place);
            ended.skipped += usize::from(matches!(outcome, StepOutcome::Skipped { .. }));
            ended.worst = ended.worst.worse(outcome_of(&outcome));
        }
    }

    fn goes_on(&self, ended: &Ended) -> bool {
        let failed = self.manner.rounds.until_fail && ended.worst != RunOutcome::Passed;
        !failed && self.interruption.outcome().is_none()
    }

    async fn one(&self, place: Place) -> StepOutcome {
        let (environment, plan) = (&self.environments[place.environment], &self.plans[place.scenario]);
        run_repetition(environment, plan, self.number, self.events, self.interruption.token()).await
    }
}

/// As [`run_while_alive`] with several: the first that dies ends the run.
pub(super) async fn run_while_all_alive(
    fleets: &[&Fleet],
    run: impl Future<Output = RunOutcome>,
    events: &EventSender,
) -> RunOutcome {
    let mut run = run.boxed_local();
    for fleet in fleets {
        run = run_while_alive(fleet, run, events).boxed_local();
    }
    run.await
}

/// The outcome of a run, or that its clusters ended: then all that it still waits for is given up.
pub(super) async fn run_while_alive(
    fleet: &Fleet,
    run: impl Future<Output = RunOutcome>,
    events: &EventSender,
) -> RunOutcome {
    let died = match fleet.while_alive(run).await {
        // A step may have met their end before it was noticed.
        Ok(RunOutcome::EnvironmentFailed) => fleet.died().await,
        Ok(outcome) => return outcome,
        Err(died) => Some(died),
    };
    if let Some(died) = died {
        fail(events, &died, died.cure(), Vec::new());
    }
    RunOutcome::EnvironmentFailed
}

/// A run that was killed could not undo its faults; nobody may measure through them.
async fn heal_left(environment: &Environment, plans: &[Plan], events: &EventSender) {
    let mut machines: Vec<&Vm> = Vec::new();
    for vm in plans.iter().filter(|plan| environment.unfit(plan).is_none()).flat_map(|plan| &plan.topology.vms) {
        if !machines.contains(&vm) {
            machines.push(vm);
        }
    }
    for vm in machines {
        match crate::engine::start_left(environment, vm).await {
            Ok(true) => events
                .warn(format!("a run that was killed left {} or a program of it off; it is started", vm.name), None),
            Ok(false) => {}
            Err(error) => events.warn(crate::cluster::chain(&error), None),
        }
    }
    for cluster in environment.clusters() {
        match crate::engine::heal_left(cluster).await {
            Ok(healed) => {
                for workload in healed {
                    events.warn(format!("a run that was killed left {workload} without pods; it gets them back"), None);
                }
            }
            Err(error) => events.warn(crate::cluster::chain(&error), None),
        }
    }
}

fn outcome_of(outcome: &StepOutcome) -> RunOutcome {
    match outcome {
        // What this environment cannot do says nothing about the rest; the report names it.
        StepOutcome::Passed | StepOutcome::Skipped { .. } => RunOutcome::Passed,
        StepOutcome::Failed => RunOutcome::MeshFailed,
        StepOutcome::Inconclusive => RunOutcome::Inconclusive,
        StepOutcome::Errored { .. } => RunOutcome::EnvironmentFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rounds;
    use super::*;
    use crate::report::event::EventKind;
    use crate::scenario::samples::plan;

    /// Passes, and cannot be carried out, where there are no clusters.
    fn good_and_bad() -> [Plan; 2] {
        [plan("good", "- note: Nothing."), plan("bad", "- kill: {cluster: cluster1, workload: details-v1}")]
    }

    /// The outcome, and the names of the scenarios that ended.
    async fn run(plans: &[Plan], jobs: usize, rounds: Rounds) -> (RunOutcome, Vec<String>) {
        let (events, mut receiver) = EventSender::channel();
        let environment = Environment::new(Vec::new(), None);
        let manner = Manner { jobs, rounds };
        let outcome = run_all(&[environment], plans, manner, &events, &Interruption::default()).await;
        drop(events);
        let mut ended = Vec::new();
        while let Some(event) = receiver.recv().await {
            if let EventKind::ScenarioFinished { scenario, .. } = event.kind {
                ended.push(scenario);
            }
        }
        (outcome, ended)
    }

    #[tokio::test]
    async fn the_worst_of_all_repetitions_counts() {
        let rounds = Rounds { repeat: Some(2), until_fail: false };
        let (outcome, ended) = run(&good_and_bad(), 1, rounds).await;
        assert_eq!(outcome, RunOutcome::EnvironmentFailed);
        assert_eq!(ended, ["good, repetition 1", "bad, repetition 1", "good, repetition 2", "bad, repetition 2"]);
        let (outcome, ended) = run(&good_and_bad()[..1], 1, rounds).await;
        assert_eq!((outcome, ended.len()), (RunOutcome::Passed, 2));
    }

    #[tokio::test]
    async fn the_first_failure_ends_it_where_that_is_asked_for() {
        let [good, bad] = good_and_bad();
        let rounds = Rounds { repeat: Some(3), until_fail: true };
        let (outcome, ended) = run(&[bad, good.clone()], 1, rounds).await;
        assert_eq!((outcome, ended), (RunOutcome::EnvironmentFailed, vec!["bad, repetition 1".to_owned()]));
        let (outcome, ended) = run(&[good], 1, rounds).await;
        assert_eq!((outcome, ended.len()), (RunOutcome::Passed, 3));
    }

    #[tokio::test]
    async fn each_scenario_says_on_which_of_several_environments_it_ran() {
        let (events, mut receiver) = EventSender::channel();
        let environment = |name: &str, topology: &str| {
            Environment::new(Vec::new(), None).named(Some(name.to_owned())).of_topology(Some(topology.to_owned()))
        };
        let environments = [environment("one", "two-clusters"), environment("other", "another")];
        let mut plans = [plan("here", "- note: Nothing."), plan("there", "- note: Nothing.")];
        plans[1].topology.name = "another".to_owned();
        run_all(
            &environments,
            &plans,
            Manner { jobs: 1, rounds: Rounds::default() },
            &events,
            &Interruption::default(),
        )
        .await;
        drop(events);
        let mut places = std::collections::BTreeMap::new();
        while let Some(event) = receiver.recv().await {
            if let EventKind::ScenarioStarted { scenario, environment, .. } = event.kind {
                places.insert(scenario, environment);
            }
        }
        let place = |scenario: &str, environment: &str| (scenario.to_owned(), Some(environment.to_owned()));
        assert_eq!(places, [place("here", "one"), place("there", "other")].into());
    }

    #[tokio::test]
    async fn every_scenario_runs_once_however_many_run_at_once() {
        let plans: Vec<Plan> = (0..5).map(|number| plan(&format!("s{number}"), "- note: Nothing.")).collect();
        for jobs in [1, 2, 8] {
            let (outcome, mut ended) = run(&plans, jobs, Rounds::default()).await;
            ended.sort();
            assert_eq!(
                (outcome, ended),
                (RunOutcome::Passed, ["s0", "s1", "s2", "s3", "s4"].map(str::to_owned).to_vec())
            );
        }
    }
}
