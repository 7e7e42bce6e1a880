//! Budgets: what a plan may take, known before it is run.

use std::time::Duration;

use verdict::text::thousands;

use super::context::Context;
use crate::diagnostic::tree::Path;
use crate::scenario::explain;
use crate::scenario::file::BudgetFile;
use crate::scenario::keys::duration_text;
use crate::scenario::plan::Plan;

impl Context<'_> {
    /// The longest time that the scenario gives itself, else that its suite gives it.
    pub(super) fn time_budget(&mut self, own: &BudgetFile, of_suite: &BudgetFile) -> Option<Duration> {
        let text = own.time.as_deref().or(of_suite.time.as_deref())?;
        Some(self.duration(&Path::root().key("budget").key("time"), Some(text), Duration::MAX))
    }

    /// A plan that cannot keep its budget is refused before it is begun.
    pub(super) fn within_budget(&mut self, plan: &Plan, requests: Option<u64>) {
        if self.problems.has_errors() {
            // Steps are missing from the plan, so it says nothing.
            return;
        }
        let budget = Path::root().key("budget");
        let planned = plan.requests();
        if let Some(requests) = requests.filter(|requests| planned > *requests) {
            let message =
                format!("the plan sends {} requests, and the budget is {}", thousands(planned), thousands(requests));
            self.error(&budget.key("requests"), message).help("take wider margins, or a larger budget");
        }
        let estimate = explain::estimate(plan);
        if let Some(time) = plan.time_budget.filter(|time| estimate > *time) {
            let estimate = Duration::from_secs(estimate.as_secs() + 1);
            let message = format!(
                "the plan should take about {}, and the budget is {}",
                duration_text(estimate),
                duration_text(time)
            );
            self.error(&budget.key("time"), message).help("take wider margins, or a larger budget");
        }
    }
}
