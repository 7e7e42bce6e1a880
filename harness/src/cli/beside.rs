//! Which scenarios may run at once, for `plan`.

use std::fmt::Write as _;

use crate::scenario::Plan;
use crate::scenario::footprint::Footprint;

/// What may run beside a scenario.
pub(super) struct Neighbours {
    /// Why nothing may.
    pub(super) alone: Option<String>,
    /// Names of those that may.
    pub(super) beside: Vec<String>,
}

/// For each plan, those of the others that may run beside it.
pub(super) fn neighbours(plans: &[&Plan]) -> Vec<Neighbours> {
    let footprints: Vec<Footprint> = plans.iter().map(|plan| Footprint::of(plan)).collect();
    let of = |(index, footprint): (usize, &Footprint)| {
        let others = plans.iter().zip(&footprints).enumerate().filter(|(other, (plan, its))| {
            *other != index && plan.topology == plans[index].topology && footprint.may_run_beside(its)
        });
        let beside = others.map(|(_, (plan, _))| plan.name.clone()).collect();
        Neighbours { alone: footprint.alone().map(str::to_owned), beside }
    };
    footprints.iter().enumerate().map(of).collect()
}

/// A line for each plan; nothing where there is only one.
pub(super) fn text(plans: &[&Plan]) -> String {
    let mut text = String::new();
    if plans.len() < 2 {
        return text;
    }
    text.push_str("\nat once, where --jobs allows it\n");
    for (plan, neighbours) in plans.iter().zip(neighbours(plans)) {
        let _infallible = match (neighbours.alone, neighbours.beside.as_slice()) {
            (Some(reason), _) => writeln!(text, "  {} alone: {reason}", plan.name),
            (None, []) => writeln!(text, "  {} alone: each of the others disturbs it", plan.name),
            (None, beside) => writeln!(text, "  {} beside {}", plan.name, beside.join(", ")),
        };
    }
    text
}
