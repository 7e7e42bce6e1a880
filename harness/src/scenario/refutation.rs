//! Which controls turn which assertions red, by plan alone: no mesh is asked.

use super::kind::Kind;
use super::plan::{Action, Control, Plan, Step};
use crate::diagnostic::Location;

/// An assertion that a control must turn red.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refutation {
    /// The kind of the assertion.
    pub kind: Kind,
    /// The scenario.
    pub scenario: String,
    /// Id of the control.
    pub step: String,
    /// Its name.
    pub control: String,
    /// What it changes of the mesh.
    pub mutation: String,
    /// The expectation, as [`Step::title`] tells it from others.
    pub expectation: String,
    /// Where it stands.
    pub location: Location,
}

impl Refutation {
    /// Name of the verdict in events and reports.
    #[must_use]
    pub fn verdict_name(&self) -> String {
        must_be_refuted(&self.expectation)
    }
}

/// Name of the verdict on an expectation, by its title, that a control must refute.
#[must_use]
pub fn must_be_refuted(expectation: &str) -> String {
    format!("{expectation} must be refuted")
}

/// Every assertion that a control of a plan must turn red, in the order of the file.
#[must_use]
pub fn refutations(plan: &Plan) -> Vec<Refutation> {
    let steps = plan.flattened();
    let controls = steps.iter().filter_map(|step| match &step.action {
        Action::Control(control) => Some((*step, control)),
        _ => None,
    });
    controls.flat_map(|(step, control)| of_control(plan, step, control)).collect()
}

fn of_control(plan: &Plan, step: &Step, control: &Control) -> Vec<Refutation> {
    let measured = control.measure.judged();
    let changes = control.change.iter().filter(|change| !matches!(change.action, Action::Converge(_)));
    let mutation = changes.map(|change| change.name.as_str()).collect::<Vec<_>>().join("; ");
    control
        .refuted_expectations()
        .into_iter()
        .map(|(title, expectation)| Refutation {
            kind: Kind::of(measured, expectation),
            scenario: plan.name.clone(),
            step: step.id.clone(),
            control: step.name.clone(),
            mutation: mutation.clone(),
            expectation: title,
            location: expectation.location.clone(),
        })
        .collect()
}

/// The kinds of assertion that no control turns red.
#[must_use]
pub fn uncontrolled(plans: &[Plan]) -> Vec<Kind> {
    let all: Vec<Refutation> = plans.iter().flat_map(refutations).collect();
    Kind::ALL.iter().copied().filter(|kind| !all.iter().any(|one| one.kind == *kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Selection;
    use crate::cli::files;

    fn catalogue() -> Vec<Plan> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..").into();
        files::select(&Selection { root: Some(root), ..Selection::default() }).expect("a catalogue").plans
    }

    #[test]
    fn every_kind_of_assertion_is_turned_red_in_the_shipped_catalogue() {
        let missing: Vec<&str> = uncontrolled(&catalogue()).into_iter().map(Kind::word).collect();
        assert!(missing.is_empty(), "no scenario has a control that refutes {}", missing.join(", "));
    }

    #[test]
    fn without_its_control_a_kind_is_missed() {
        let mut plans = catalogue();
        plans.retain(|plan| !refutations(plan).iter().any(|one| one.kind == Kind::Failover));
        assert!(uncontrolled(&plans).contains(&Kind::Failover));
        assert_eq!(uncontrolled(&[]), Kind::ALL);
    }

    #[test]
    fn expectations_of_one_key_are_told_apart_by_their_place() {
        let plans = catalogue();
        let plan = plans.iter().find(|plan| plan.name == "proxies-hold-what-was-said").expect("the scenario");
        let names: Vec<String> = refutations(plan).iter().map(Refutation::verdict_name).collect();
        let expected = ["route", "cluster, no. 1", "cluster, no. 2", "cluster, no. 3"]
            .map(|title| format!("{title} must be refuted"));
        assert_eq!(names, expected);
    }

    #[test]
    fn a_refutation_says_what_changes_the_mesh() {
        let plans = catalogue();
        let plan = plans.iter().find(|plan| plan.name == "half-and-half").expect("half-and-half");
        let all = refutations(plan);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.kind, one.expectation.as_str()), (Kind::Split, "split"));
        assert_eq!(one.control, "control: without the policy every version gets its share");
        assert_eq!(one.mutation, "delete VirtualService/bookinfo/reviews on cluster1");
        assert_eq!(one.verdict_name(), "split must be refuted");
    }
}
