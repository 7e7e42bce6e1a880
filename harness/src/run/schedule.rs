//! Which scenarios run at once, and on which environment: those that do not disturb each other. Pure.

use std::cmp::Reverse;

use crate::scenario::Plan;
use crate::scenario::explain::estimate;
use crate::scenario::footprint::Footprint;

/// Hands out scenarios, by their position, one by one.
pub(super) struct Schedule {
    footprints: Vec<Footprint>,
    /// The environments where each can run, by their positions.
    fitting: Vec<Vec<usize>>,
    pending: Vec<usize>,
    running: Vec<Place>,
    jobs: usize,
}

/// A scenario on an environment, by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) scenario: usize,
    pub(super) environment: usize,
}

impl Schedule {
    /// At most `jobs` at a time on each of so many environments; `fits` says where a scenario can run. What fits nowhere goes
    /// to the first, which says why not.
    ///
    /// Where several can run at once, the longest come first, so that none is left at the end while nothing else runs; and
    /// those that can share a world before those that cannot: the world is emptied once for all of them.
    pub(super) fn new(plans: &[Plan], jobs: usize, environments: usize, fits: impl Fn(&Plan, usize) -> bool) -> Self {
        let footprints: Vec<Footprint> = plans.iter().map(Footprint::of).collect();
        let fitting = |plan: &Plan| match (0..environments).filter(|one| fits(plan, *one)).collect::<Vec<_>>() {
            none if none.is_empty() => vec![0],
            some => some,
        };
        let mut pending: Vec<usize> = (0..plans.len()).collect();
        if jobs > 1 || environments > 1 {
            pending.sort_by_key(|index| (footprints[*index].alone().is_some(), Reverse(estimate(&plans[*index]))));
        }
        let fitting = plans.iter().map(fitting).collect();
        Self { footprints, fitting, pending, running: Vec::new(), jobs: jobs.max(1) }
    }

    /// The next that may begin now; `None` until another has ended, or when there is none left.
    pub(super) fn next(&mut self) -> Option<Place> {
        let place = self.pending.iter().find_map(|scenario| self.place(*scenario))?;
        self.pending.retain(|other| *other != place.scenario);
        self.running.push(place);
        Some(place)
    }

    /// Where a scenario may begin now.
    fn place(&self, scenario: usize) -> Option<Place> {
        let is_free = |environment: &&usize| {
            let there: Vec<&Place> = self.running.iter().filter(|one| one.environment == **environment).collect();
            let beside = |other: &&Place| self.footprints[scenario].may_run_beside(&self.footprints[other.scenario]);
            there.len() < self.jobs && there.iter().all(beside)
        };
        self.fitting[scenario].iter().find(is_free).map(|environment| Place { scenario, environment: *environment })
    }

    /// One has ended.
    pub(super) fn ended(&mut self, place: Place) {
        self.running.retain(|other| *other != place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::samples;

    /// A scenario that changes the number of pods of a workload.
    fn plan(workload: &str) -> Plan {
        samples::plan("one", &format!("- scale: {{cluster: cluster1, workload: {workload}, replicas: 1}}"))
    }

    /// On one environment.
    fn one(plans: &[Plan], jobs: usize) -> Schedule {
        Schedule::new(plans, jobs, 1, |_, _| true)
    }

    fn on_first(scenario: usize) -> Place {
        Place { scenario, environment: 0 }
    }

    fn all_next(schedule: &mut Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.next()).map(|place| place.scenario).collect()
    }

    #[test]
    fn what_shares_goes_first_and_what_cannot_waits_until_the_world_is_empty() {
        let plans: Vec<Plan> = ["istiod", "details-v1", "details-v1", "ratings-v1"].map(plan).into();
        let mut schedule = one(&plans, 3);
        assert_eq!(all_next(&mut schedule), [1, 3]);
        schedule.ended(on_first(3));
        assert!(all_next(&mut schedule).is_empty());
        schedule.ended(on_first(1));
        assert_eq!(all_next(&mut schedule), [2]);
        schedule.ended(on_first(2));
        assert_eq!(all_next(&mut schedule), [0]);
        schedule.ended(on_first(0));
        assert!(all_next(&mut schedule).is_empty());
    }

    #[test]
    fn no_more_than_asked_for_run_at_once_and_one_at_a_time_keeps_the_order() {
        let plans: Vec<Plan> = ["istiod", "details-v1", "ratings-v1", "reviews-v1"].map(plan).into();
        assert_eq!(all_next(&mut one(&plans, 2)), [1, 2]);
        for jobs in [0, 1] {
            let mut schedule = one(&plans, jobs);
            for index in 0..plans.len() {
                assert_eq!(all_next(&mut schedule), [index]);
                schedule.ended(on_first(index));
            }
        }
    }

    #[test]
    fn each_environment_gets_what_fits_it_and_what_fits_nowhere_goes_to_the_first() {
        let plans: Vec<Plan> = ["istiod", "details-v1", "details-v1", "ratings-v1"].map(plan).into();
        let mut two = Schedule::new(&plans, 1, 2, |_, _| true);
        let begun: Vec<Place> = std::iter::from_fn(|| two.next()).collect();
        assert_eq!(begun, [on_first(1), Place { scenario: 2, environment: 1 }], "they would disturb each other in one");
        two.ended(Place { scenario: 2, environment: 1 });
        assert_eq!(two.next(), Some(Place { scenario: 3, environment: 1 }));
        let mut second = Schedule::new(&plans[..2], 1, 2, |_, environment| environment == 1);
        assert_eq!(second.next(), Some(Place { scenario: 1, environment: 1 }));
        assert_eq!(second.next(), None, "the first is empty, but nothing fits it");
        let mut nowhere = Schedule::new(&plans[1..2], 1, 2, |_, _| false);
        assert_eq!(nowhere.next(), Some(on_first(0)));
    }

    #[test]
    fn the_longest_goes_first_where_several_run_at_once() {
        let mut plans: Vec<Plan> = ["details-v1", "ratings-v1"].map(plan).into();
        let more = plans[1].steps.clone();
        plans[1].steps.extend(more);
        assert_eq!(all_next(&mut one(&plans, 2)), [1, 0]);
    }
}
