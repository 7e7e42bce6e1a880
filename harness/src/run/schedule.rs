//! Which scenarios run at once: those that do not disturb each other, in the order in which they were given. Pure.

use crate::scenario::Plan;
use crate::scenario::footprint::Footprint;

/// Hands out scenarios, by their position, one by one.
pub(super) struct Schedule {
    footprints: Vec<Footprint>,
    pending: Vec<usize>,
    running: Vec<usize>,
    jobs: usize,
}

impl Schedule {
    /// At most `jobs` at a time. Where that is more than one, those that can share the world come first: the world is
    /// emptied once for all that cannot.
    pub(super) fn new(plans: &[Plan], jobs: usize) -> Self {
        let footprints: Vec<Footprint> = plans.iter().map(Footprint::of).collect();
        let mut pending: Vec<usize> = (0..plans.len()).collect();
        if jobs > 1 {
            pending.sort_by_key(|index| footprints[*index].alone().is_some());
        }
        Self { footprints, pending, running: Vec::new(), jobs: jobs.max(1) }
    }

    /// The next that may begin now; `None` until another has ended, or when there is none left.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.running.len() >= self.jobs {
            return None;
        }
        let beside_all = |index: &usize| {
            self.running.iter().all(|other| self.footprints[*index].may_run_beside(&self.footprints[*other]))
        };
        let position = self.pending.iter().position(beside_all)?;
        let index = self.pending.remove(position);
        self.running.push(index);
        Some(index)
    }

    /// One has ended.
    pub(super) fn ended(&mut self, index: usize) {
        self.running.retain(|other| *other != index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::check::{NamedText, ReadFile, read};
    use crate::scenario::suite::Defaults;

    struct Topologies;

    impl ReadFile for Topologies {
        fn read(&self, path: &str) -> Result<NamedText, String> {
            let text = include_str!("../../../scenarios/topologies/two-clusters.yaml").to_owned();
            Ok(NamedText { name: path.to_owned(), text })
        }
    }

    /// A scenario that changes the number of pods of a workload.
    fn plan(workload: &str) -> Plan {
        let text = format!(
            "apiVersion: meshproof.dev/v1alpha1\nkind: Scenario\nname: one\ndescription: One.\ntopology: t.yaml\n\
             steps:\n- scale: {{cluster: cluster1, workload: {workload}, replicas: 1}}\n"
        );
        let checked = read("area/one.yaml", &text, &Defaults::default(), &Topologies);
        checked.plans.into_iter().next().unwrap_or_else(|| panic!("{}", checked.problems.render(false)))
    }

    fn all_next(schedule: &mut Schedule) -> Vec<usize> {
        std::iter::from_fn(|| schedule.next()).collect()
    }

    #[test]
    fn what_shares_goes_first_and_what_cannot_waits_until_the_world_is_empty() {
        let plans: Vec<Plan> = ["istiod", "details-v1", "details-v1", "ratings-v1"].map(plan).into();
        let mut schedule = Schedule::new(&plans, 3);
        assert_eq!(all_next(&mut schedule), [1, 3]);
        schedule.ended(3);
        assert!(all_next(&mut schedule).is_empty());
        schedule.ended(1);
        assert_eq!(all_next(&mut schedule), [2]);
        schedule.ended(2);
        assert_eq!(all_next(&mut schedule), [0]);
        schedule.ended(0);
        assert!(all_next(&mut schedule).is_empty());
    }

    #[test]
    fn no_more_than_asked_for_run_at_once_and_one_at_a_time_keeps_the_order() {
        let plans: Vec<Plan> = ["istiod", "details-v1", "ratings-v1", "reviews-v1"].map(plan).into();
        assert_eq!(all_next(&mut Schedule::new(&plans, 2)), [1, 2]);
        for jobs in [0, 1] {
            let mut schedule = Schedule::new(&plans, jobs);
            for index in 0..plans.len() {
                assert_eq!(all_next(&mut schedule), [index]);
                schedule.ended(index);
            }
        }
    }
}
