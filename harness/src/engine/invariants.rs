//! Looks at the clusters before a scenario and after its clean-up, and tells what did not hold as a step of its own.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use std::collections::BTreeSet;

use super::context::{Environment, Error};
use super::runner::Runner;
use crate::check::convergence;
use crate::check::invariants::{self, Look, Violations};
use crate::cluster::Cluster;
use crate::report::event::{EventKind, StepOutcome};
use crate::scenario::plan::Touched;

/// Id of the step that stands in the report for the invariants.
const STEP: &str = "invariants";

/// Looks at every cluster: at all containers and proxies, and at the objects that the scenario changes.
pub(super) async fn look(environment: &Environment, touched: &BTreeSet<Touched>) -> Result<Vec<Look>, Error> {
    try_join_all(environment.clusters().map(|cluster| look_at(cluster, touched))).await
}

async fn look_at(cluster: &Cluster, touched: &BTreeSet<Touched>) -> Result<Look, Error> {
    let pods = async {
        let api: Api<Pod> = Api::all(cluster.client());
        let listed = api.list(&ListParams::default()).await;
        listed.map_err(|source| Error::from(cluster.api_error("list pods".to_owned(), source)))
    };
    let status = async {
        match convergence::has_mesh(cluster).await? {
            true => Ok(Some(convergence::sync_status(cluster).await?)),
            false => Ok::<_, Error>(None),
        }
    };
    let own = touched.iter().filter(|touched| touched.cluster == cluster.name());
    let objects = try_join_all(own.map(async |touched| {
        let object = cluster.get(&touched.object.manifest()).await?;
        let value = object.map(|object| serde_json::to_value(object).unwrap_or_default());
        Ok::<_, Error>((touched.clone(), value.and_then(|value| invariants::part(touched.part, value))))
    }));
    let (pods, status, objects) = futures::try_join!(pods, status, objects)?;
    Ok(Look {
        restarts: Look::restarts(&pods.items),
        refusals: status.as_ref().map(Look::refusals).unwrap_or_default(),
        objects: objects.into_iter().collect(),
    })
}

impl Runner<'_> {
    /// Compares a look from before the scenario with one of now, and tells what came of it.
    pub(super) async fn invariants(
        &self,
        touched: &BTreeSet<Touched>,
        before: Result<Vec<Look>, Error>,
    ) -> StepOutcome {
        let (scenario, step) = (self.scenario.to_owned(), STEP.to_owned());
        let name = "nothing was refused, restarted or left behind".to_owned();
        self.events.send(EventKind::StepStarted { scenario: scenario.clone(), step: step.clone(), name });
        let compared = async {
            let before = before?;
            let after = look(self.environment, touched).await?;
            Ok::<_, Error>(compare(self.environment, &before, &after))
        };
        let (outcome, evidence) = match compared.await {
            Ok(violations) => judged(violations, touched.len()),
            Err(error) => (StepOutcome::Errored { message: crate::cluster::chain(&error) }, Vec::new()),
        };
        self.events.send(EventKind::StepFinished { scenario, step, outcome: outcome.clone(), evidence });
        outcome
    }
}

fn compare(environment: &Environment, before: &[Look], after: &[Look]) -> Violations {
    let mut all = Violations::default();
    for (cluster, (before, after)) in environment.clusters().zip(before.iter().zip(after)) {
        let found = invariants::violations(cluster.name(), before, after);
        all.of_mesh.extend(found.of_mesh);
        all.left.extend(found.left);
    }
    all
}

/// What the mesh did fails the scenario. What the scenario left says nothing about the mesh, but whoever measures next
/// would measure it.
fn judged(violations: Violations, objects: usize) -> (StepOutcome, Vec<String>) {
    let Violations { of_mesh, left } = violations;
    if of_mesh.is_empty() && left.is_empty() {
        let evidence =
            format!("no proxy refused anything, no container was restarted, {objects} objects are as before");
        return (StepOutcome::Passed, vec![evidence]);
    }
    let outcome = match of_mesh.is_empty() {
        false => StepOutcome::Failed,
        true => StepOutcome::Errored { message: "the scenario did not clean up".to_owned() },
    };
    (outcome, [of_mesh, left].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_fails_for_what_it_did_and_not_for_what_a_scenario_left() {
        let text = |text: &str| vec![text.to_owned()];
        let (outcome, evidence) = judged(Violations { of_mesh: text("refused"), left: text("left") }, 1);
        assert_eq!((outcome, evidence), (StepOutcome::Failed, vec!["refused".to_owned(), "left".to_owned()]));
        let (outcome, evidence) = judged(Violations { left: text("left"), ..Violations::default() }, 1);
        assert!(matches!(outcome, StepOutcome::Errored { .. }) && evidence == ["left"]);
        let (outcome, evidence) = judged(Violations::default(), 2);
        assert_eq!(outcome, StepOutcome::Passed);
        assert!(evidence[0].contains("2 objects"));
    }
}
