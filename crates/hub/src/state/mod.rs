//! Inputs in, writes and statuses out; only what depends on a change is worked out again.
//!
//! [`State::apply`] takes changes of inputs in any number and order. It marks what depends on them, and works that out
//! stage by stage: memberships of meshes, federation of destinations, plans of virtual destinations, acceptance of policies, and
//! last the objects, which are compared with those of before. A start from nothing is the same: all inputs as one change. What
//! is remembered from before a start is in the statuses of the inputs.

mod attachment;
mod change;
mod compare;
mod dirty;
mod inputs;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_types::hub::virtual_mesh::TrustStatus;
use mesh_types::hub::{ClusterObjectRef, ObjectRef};

pub use change::{Action, Change, Effects, Input, InputKey, Outcome, Subject, Unit, Write};

use crate::board::{Board, Reached};
use crate::output::{Desired, Emitted, ObjectKey, OutputKind};
use crate::status::{self, Status};
use crate::translate::Translation;
use crate::world::{Settings, Target, World};
use attachment::Attachments;
use dirty::Dirty;

/// Everything that the hub knows, and what follows from it.
#[derive(Clone, Debug, Default)]
pub struct State {
    world: World,
    traffic: Attachments,
    access: Attachments,
    translations: BTreeMap<Unit, Translation>,
    /// Destinations whose policies refer to a target, whether that exists or not.
    referring: BTreeMap<Target, BTreeSet<ClusterObjectRef>>,
    /// Hosts of virtual destinations that have an address.
    virtual_hosts: BTreeSet<String>,
    failures: BTreeMap<Unit, BTreeMap<(String, ObjectKey), String>>,
    board: Board,
    /// How far the shared trust of virtual meshes is, as it was told last.
    trust: BTreeMap<ObjectRef, TrustStatus>,
    revision: u64,
}

impl State {
    /// A state that knows nothing.
    pub fn new(settings: Settings) -> Self {
        Self { world: World::new(settings), ..Self::default() }
    }

    /// Takes changes over, and says what follows.
    ///
    /// At a start everything that is there has to come in one call: what is remembered counts before what is new.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Effects {
        let mut dirty = Dirty::default();
        self.revision += 1;
        for change in changes {
            self.take(change, &mut dirty);
        }
        self.work_out(dirty)
    }

    /// How often changes were taken over; see [`Effects::revision`].
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The tables, for whoever answers questions about them.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Every object that shall be in a cluster, with its unit. What has the hub's label there and is not among them is
    /// garbage.
    pub fn desired<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = (&'a Unit, &'a Arc<Desired>)> {
        let here = move |emitted: &&Emitted| emitted.clusters.contains(cluster);
        self.emitted().filter(move |(_, emitted)| here(emitted)).map(|(unit, emitted)| (unit, &emitted.object))
    }

    /// Every object with its clusters and its unit.
    pub fn emitted(&self) -> impl Iterator<Item = (&Unit, &Emitted)> {
        self.translations
            .iter()
            .flat_map(|(unit, translation)| translation.objects.iter().map(move |emitted| (unit, emitted)))
    }

    /// The status of a resource; `None` where it is not known.
    pub fn status(&self, subject: &Subject) -> Option<Status> {
        status::of(self, subject)
    }

    /// What follows from a unit.
    pub(crate) fn translation(&self, unit: &Unit) -> Option<&Translation> {
        self.translations.get(unit)
    }

    /// Why objects of a unit could not be written, with cluster and object.
    pub(crate) fn failures(&self, unit: &Unit) -> impl Iterator<Item = String> {
        self.failures.get(unit).into_iter().flatten().map(failure)
    }

    /// The same of the objects that have subsets, for whoever needs one of them.
    pub(crate) fn rule_failures(&self, unit: &Unit) -> impl Iterator<Item = String> {
        let of_unit = self.failures.get(unit).into_iter().flatten();
        let rules = of_unit.filter(|((_, key), _)| key.kind == OutputKind::DestinationRule);
        rules.map(failure)
    }

    /// Everything that could not be written, with cluster and object.
    pub fn all_failures(&self) -> impl Iterator<Item = String> {
        self.failures.keys().flat_map(|unit| self.failures(unit))
    }

    /// How far some units got where they are least far, and in which cluster that is; `None` where nothing was to be written.
    pub(crate) fn progress<'a>(&'a self, units: impl IntoIterator<Item = &'a Unit>) -> Option<Reached<'a>> {
        let all = units.into_iter().filter_map(|unit| self.board.of(unit));
        all.max_by_key(|(_, progress)| *progress)
    }

    /// How many destinations a virtual mesh makes known to others, and how far the one got that is least far.
    pub(crate) fn federated(&self, virtual_mesh: &ObjectRef) -> (usize, Option<Reached<'_>>) {
        (self.board.federated_count(virtual_mesh), self.board.of_federated(virtual_mesh))
    }

    /// How far the shared trust of a virtual mesh is.
    pub(crate) fn trust(&self, virtual_mesh: &ObjectRef) -> Option<&TrustStatus> {
        self.trust.get(virtual_mesh)
    }

    /// Destinations that a policy selects.
    pub(crate) fn traffic_targets(&self) -> &Attachments {
        &self.traffic
    }

    /// Destinations that an access policy selects.
    pub(crate) fn access_targets(&self) -> &Attachments {
        &self.access
    }
}

fn failure(((cluster, key), error): (&(String, ObjectKey), &String)) -> String {
    format!("{key} cannot be written in {cluster}: {error}")
}
