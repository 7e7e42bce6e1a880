//! What steps run on and what they remember.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::samples::Keeper;
use crate::artifacts::Subject;
use crate::check::convergence;
use crate::cluster::{self, Cluster};
use crate::links::{self, Links};
use crate::provider::kind::nodes::Nodes;
use crate::scenario::keys::Capability;
use crate::scenario::plan::{ObjectRef, Plan};
use crate::topology::Workload;
use crate::traffic::place::Source;
use crate::vm::{Machine, join};

/// Envoy ends old connections after its drain time, a second or (in a mesh that a user brought) most of a minute.
pub(super) const DRAINED_WITHIN: Duration = Duration::from_secs(60);

/// The clusters of a run, and what else its provider has.
#[derive(Clone)]
pub struct Environment {
    clusters: BTreeMap<String, Cluster>,
    links: Option<Links>,
    nodes: Option<Nodes>,
    artifacts: Option<Utf8PathBuf>,
    keeper: Option<Keeper>,
    name: Option<String>,
    topology: Option<String>,
    draining: Arc<Mutex<Draining>>,
}

/// Clusters where what ran before may have left connections that end.
#[derive(Default)]
struct Draining {
    /// The newest mark of each.
    clusters: BTreeMap<String, u64>,
    /// How many marks there were: none is ever given twice.
    marks: u64,
}

impl Draining {
    fn mark(&mut self, cluster: &str) {
        self.marks += 1;
        self.clusters.insert(cluster.to_owned(), self.marks);
    }
}

/// A step could not be carried out. Says nothing about the mesh.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cluster refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A link between networks could not be made to fail, or did not heal.
    #[error(transparent)]
    Links(#[from] links::Error),
    /// The configuration did not arrive everywhere.
    #[error(transparent)]
    Convergence(#[from] convergence::Error),
    /// The plan names a cluster that the environment does not have.
    #[error("this environment has no cluster {0}")]
    NoCluster(String),
    /// There is no running pod of a workload.
    #[error("{cluster}: no running pod of {workload}")]
    NoPod {
        /// Cluster.
        cluster: String,
        /// Name of the workload.
        workload: String,
    },
    /// Pods that were to send for a workload cannot.
    #[error("{cluster}: there are no workers to send for {workload}: {why}")]
    NoWorkers {
        /// Cluster.
        cluster: String,
        /// Name of the workload.
        workload: String,
        /// What was seen of their pods.
        why: String,
    },
    /// Pods that have sent are still there.
    #[error("{cluster}: {why}")]
    WorkersLeft {
        /// Cluster.
        cluster: String,
        /// What was awaited and seen.
        why: String,
    },
    /// The pods of a workload did not come to be as asked.
    #[error("{workload} did not roll out within {waited}; {last}")]
    NotRolledOut {
        /// Which.
        workload: String,
        /// How long was waited.
        waited: String,
        /// What was seen last.
        last: String,
    },
    /// A proxy answered with something else than JSON.
    #[error("{place} is no JSON: {message}")]
    NoDocument {
        /// Which proxy and path.
        place: String,
        /// Cause.
        message: String,
    },
    /// This environment cannot do that.
    #[error("this environment cannot do that: {0}")]
    Lacking(String),
    /// What is to be healed or stopped was never begun.
    #[error("`{0}` was not begun")]
    NotBegun(String),
    /// Traffic in the background ended before it was stopped.
    #[error("the traffic of `{0}` ended by itself")]
    EndedEarly(String),
    /// A control refers to a step that measures nothing; the plan's check lets none through.
    #[error("step {0:?} measures nothing")]
    NoMeasurement(String),
    /// The probe could not tell how a connection ended.
    #[error("the probe could not tell how the connection ended (`{0}`)")]
    Unclassified(String),
    /// A step inside this one could not be carried out; it said why.
    #[error("a step inside could not be carried out")]
    StepInside,
    /// A virtual machine could not be asked, or did not come into rotation.
    #[error(transparent)]
    Machine(#[from] join::Error),
    /// The management plane did not do its part.
    #[error(transparent)]
    Management(#[from] crate::management::Error),
    /// What a control changed is still changed.
    #[error("the change of the control could not be undone")]
    NotRestored,
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl Environment {
    /// From the handles of a provider.
    #[must_use]
    pub fn new(clusters: Vec<Cluster>, links: Option<Links>) -> Self {
        let clusters: BTreeMap<String, Cluster> =
            clusters.into_iter().map(|cluster| (cluster.name().to_owned(), cluster)).collect();
        let mut draining = Draining::default();
        // Nobody here knows what another run did a moment ago.
        clusters.keys().for_each(|name| draining.mark(name));
        let draining = Arc::new(Mutex::new(draining));
        Self { clusters, links, nodes: None, artifacts: None, keeper: None, name: None, topology: None, draining }
    }

    /// Faults and taps between networks; `None` where the provider has none.
    #[must_use]
    pub fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Saves the state of scenarios that do not pass below a folder, before their clean-up, and single requests of all.
    #[must_use]
    pub fn with_artifacts(self, folder: &Utf8Path) -> Self {
        Self { artifacts: Some(folder.to_owned()), keeper: Some(Keeper::new(folder)), ..self }
    }

    /// Saves what these containers tell, too: they are the nodes of its clusters.
    #[must_use]
    pub fn with_nodes(self, nodes: Option<Nodes>) -> Self {
        Self { nodes, ..self }
    }

    /// Whose state is saved where something does not pass, but for the machines.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            clusters: self.clusters.values().collect(),
            links: self.links.as_ref(),
            machines: &[],
            nodes: self.nodes.as_ref(),
        }
    }

    /// Where single requests are kept, if they are.
    pub(super) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    /// Says in the reports that a scenario ran here, where the run has other environments, too.
    #[must_use]
    pub fn named(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// What reports call it, where it has to be told from others.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Runs only what is for the topology of that name.
    #[must_use]
    pub fn of_topology(self, name: Option<String>) -> Self {
        Self { topology: name, ..self }
    }

    /// Why a scenario is for another topology, if it is.
    pub(crate) fn unfit(&self, plan: &Plan) -> Option<String> {
        let wanted = plan.topology.name.as_str();
        let own = self.topology.as_deref().filter(|own| *own != wanted)?;
        Some(format!("it is for topology {wanted}, and this environment was brought up from {own}"))
    }

    /// Where the state of scenarios that do not pass is saved, if it is.
    pub(super) fn artifacts(&self) -> Option<&Utf8Path> {
        self.artifacts.as_deref()
    }

    /// Why a scenario cannot be run here, if it cannot: it is for another topology, or requires what there is not.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub(super) async fn why_not(&self, plan: &Plan) -> Result<Option<String>, Error> {
        match self.unfit(plan) {
            Some(reason) => Ok(Some(reason)),
            None => self.lacks(&plan.requires).await,
        }
    }

    async fn lacks(&self, required: &[Capability]) -> Result<Option<String>, Error> {
        for one in required {
            let missing = match &self.links {
                Some(links) => links.missing(one.of_links()).await?,
                None => Some("its provider has no such links".to_owned()),
            };
            if let Some(reason) = missing {
                return Ok(Some(format!("this environment lacks {}: {reason}", one.word())));
            }
        }
        Ok(None)
    }

    /// Whoever measures next on that cluster has to wait for the end of old connections.
    pub(super) fn leave_draining(&self, cluster: &str) {
        self.draining().mark(cluster);
    }

    /// Waits until no connection is left that an earlier scenario's clean-up made old.
    ///
    /// # Errors
    /// Where one does not end in time.
    pub(super) async fn drained(&self) -> Result<(), Error> {
        let left = self.draining().clusters.clone();
        for (name, mark) in left {
            convergence::drained(self.cluster(&name)?, DRAINED_WITHIN).await?;
            self.have_drained(&name, mark);
        }
        Ok(())
    }

    /// What was left behind while the end of the old connections was waited for is the next one's to wait for.
    fn have_drained(&self, cluster: &str, mark: u64) {
        let mut draining = self.draining();
        if draining.clusters.get(cluster) == Some(&mark) {
            draining.clusters.remove(cluster);
        }
    }

    fn draining(&self) -> MutexGuard<'_, Draining> {
        self.draining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cluster by name.
    ///
    /// # Errors
    /// [`Error::NoCluster`].
    pub fn cluster(&self, name: &str) -> Result<&Cluster, Error> {
        self.clusters.get(name).ok_or_else(|| Error::NoCluster(name.to_owned()))
    }

    /// A virtual machine by name. Whether there is one is said when it is asked.
    ///
    /// # Errors
    /// [`Error::Lacking`] where the provider plays none.
    pub(super) fn machine(&self, name: &str) -> Result<Machine, Error> {
        let links = self.links.as_ref();
        links.map(|links| links.machine(name)).ok_or_else(|| Error::Lacking(format!("it has no machine {name}")))
    }

    /// Where a workload's traffic comes from.
    ///
    /// # Errors
    /// [`Error::NoCluster`], [`Error::Lacking`].
    pub(super) fn source(&self, workload: &Workload) -> Result<Source, Error> {
        if workload.vm.is_some() {
            return Ok(Source::Machine { machine: self.machine(&workload.name)?, program: workload.container.clone() });
        }
        Ok(Source::Pod {
            cluster: self.cluster(&workload.cluster)?.clone(),
            namespace: workload.namespace.clone(),
            selector: workload.selector(),
            container: workload.container.clone(),
        })
    }

    /// All clusters in the order of their names.
    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.values()
    }
}

/// Versions of objects as this run last applied them: what proxies must have acknowledged before anything is measured.
#[derive(Debug, Default)]
pub(super) struct Applied(BTreeMap<(String, ObjectRef), String>);

impl Applied {
    pub(super) fn insert(&mut self, cluster: &str, object: ObjectRef, version: String) {
        self.0.insert((cluster.to_owned(), object), version);
    }

    pub(super) fn version(&self, cluster: &str, object: &ObjectRef) -> Option<&String> {
        self.0.get(&(cluster.to_owned(), object.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::samples;

    #[test]
    fn a_cluster_is_waited_for_until_nothing_new_was_left_behind_during_the_wait() {
        let environment = Environment::new(Vec::new(), None);
        environment.leave_draining("a");
        environment.leave_draining("b");
        let left = environment.draining().clusters.clone();
        environment.leave_draining("b");
        left.iter().for_each(|(cluster, mark)| environment.have_drained(cluster, *mark));
        let still: Vec<String> = environment.draining().clusters.keys().cloned().collect();
        assert_eq!(still, ["b"]);
    }

    #[test]
    fn of_two_that_wait_at_once_the_slower_takes_no_newer_mark_away() {
        let environment = Environment::new(Vec::new(), None);
        environment.leave_draining("a");
        // What both of them wait for.
        let left = environment.draining().clusters.clone();
        let wait_ends = || left.iter().for_each(|(cluster, mark)| environment.have_drained(cluster, *mark));
        wait_ends();
        environment.leave_draining("a");
        wait_ends();
        assert!(environment.draining().clusters.contains_key("a"), "it was left after both began to wait");
    }

    #[test]
    fn a_scenario_for_another_topology_is_not_run() {
        let plan = |topology: &str| {
            let mut plan = samples::plan("one", "- note: Nothing.");
            plan.topology.name = topology.to_owned();
            plan
        };
        let environment = Environment::new(Vec::new(), None);
        assert_eq!(environment.unfit(&plan("two-clusters")), None, "nothing is known of it");
        let environment = environment.of_topology(Some("two-clusters".to_owned()));
        assert_eq!(environment.unfit(&plan("two-clusters")), None);
        let reason = environment.unfit(&plan("two-clusters-echo")).expect("a reason");
        assert_eq!(
            reason,
            "it is for topology two-clusters-echo, and this environment was brought up from two-clusters"
        );
    }
}
