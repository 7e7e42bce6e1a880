//! How far all units got in all clusters.
//!
//! With hundreds of clusters and ten thousands of units these are millions of places, nearly all alike. A unit holds sets of
//! clusters that are equally far, and a virtual mesh has its destinations sorted by how far they are: what a status tells
//! takes no look at every place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bit_set::BitSet;
use mesh_types::hub::{ClusterObjectRef, ObjectRef};

use crate::output::Clusters;
use crate::progress::{Progress, Report};
use crate::state::Unit;

/// How far something got, and in which cluster it is least far.
pub(crate) type Reached<'a> = (&'a str, &'a Progress);

/// How far all units got in all clusters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    names: Names,
    units: BTreeMap<Unit, Standing>,
    /// Destinations of each virtual mesh, by how far they are where they are least far.
    federated: BTreeMap<ObjectRef, BTreeSet<(Option<Progress>, ClusterObjectRef)>>,
}

/// How far a unit got.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// No cluster is in two of them.
    alike: Vec<Alike>,
    /// The virtual mesh that makes it known to others.
    virtual_mesh: Option<ObjectRef>,
}

/// Clusters in which a unit is equally far since the same writes.
#[derive(Clone, Debug)]
struct Alike {
    revision: u64,
    progress: Progress,
    clusters: BitSet,
}

impl Board {
    /// From now on only reports count that know of the writes of a revision.
    pub(crate) fn expect(&mut self, unit: &Unit, clusters: &Clusters, revision: u64) {
        let clusters = self.names.set(clusters);
        self.change(unit, |standing| {
            for alike in &mut standing.alike {
                alike.clusters.difference_with(&clusters);
            }
            standing.put(revision, Progress::Pending, &clusters);
            true
        });
    }

    /// Takes a report over; says whether it changed anything.
    pub(crate) fn report(&mut self, report: Report) -> bool {
        let Report { unit, cluster, revision, progress } = report;
        let Some(cluster) = self.names.number(&cluster) else { return false };
        if !self.units.contains_key(&unit) {
            return false;
        }
        self.change(&unit, |standing| {
            let Some(alike) = standing.alike.iter_mut().find(|alike| alike.clusters.contains(cluster)) else {
                return false;
            };
            if alike.revision > revision || alike.progress == progress {
                return false;
            }
            alike.clusters.remove(cluster);
            let expected = alike.revision;
            standing.put(expected, progress, &BitSet::from_iter([cluster]));
            true
        })
    }

    /// Takes over which virtual mesh makes a destination known to others.
    pub(crate) fn federate(&mut self, service: &ClusterObjectRef, virtual_mesh: Option<&ObjectRef>) {
        let unit = Unit::Destination(service.clone());
        if virtual_mesh.is_none() && !self.units.contains_key(&unit) {
            return;
        }
        self.change(&unit, |standing| {
            standing.virtual_mesh = virtual_mesh.cloned();
            true
        });
    }

    /// Forgets a cluster; returns the units that had something there.
    pub(crate) fn forget(&mut self, cluster: &str) -> Vec<Unit> {
        let Some(cluster) = self.names.number(cluster) else { return Vec::new() };
        let has = |standing: &Standing| standing.alike.iter().any(|alike| alike.clusters.contains(cluster));
        let had = self.units.iter().filter(|(_, standing)| has(standing)).map(|(unit, _)| unit.clone());
        let had: Vec<_> = had.collect();
        for unit in &had {
            self.change(unit, |standing| {
                for alike in &mut standing.alike {
                    alike.clusters.remove(cluster);
                }
                true
            });
        }
        had
    }

    /// How far a unit got where it is least far, and which cluster that is.
    pub(crate) fn of(&self, unit: &Unit) -> Option<Reached<'_>> {
        let standing = self.units.get(unit)?;
        let worst = standing.worst()?;
        let there = standing.alike.iter().filter(|alike| alike.progress == *worst);
        let cluster = there.flat_map(|alike| &alike.clusters).map(|number| self.names.name(number)).max()?;
        Some((cluster, worst))
    }

    /// How many destinations a virtual mesh makes known to others.
    pub(crate) fn federated_count(&self, virtual_mesh: &ObjectRef) -> usize {
        self.federated.get(virtual_mesh).map_or(0, BTreeSet::len)
    }

    /// How far the destination of a virtual mesh got that is least far, and in which cluster that is.
    pub(crate) fn of_federated(&self, virtual_mesh: &ObjectRef) -> Option<Reached<'_>> {
        let (_, service) = self.federated.get(virtual_mesh)?.last()?;
        self.of(&Unit::Destination(service.clone()))
    }

    /// Changes the standing of a unit, and keeps what follows from it. Says what `change` says: whether it changed anything.
    fn change(&mut self, unit: &Unit, change: impl FnOnce(&mut Standing) -> bool) -> bool {
        let mut standing = self.units.remove(unit).unwrap_or_default();
        let before = standing.virtual_mesh.clone().map(|virtual_mesh| (virtual_mesh, standing.worst().cloned()));
        let changed = change(&mut standing);
        standing.alike.retain(|alike| !alike.clusters.is_empty());
        let after = standing.virtual_mesh.clone().map(|virtual_mesh| (virtual_mesh, standing.worst().cloned()));
        if let Unit::Destination(service) = unit
            && before != after
        {
            self.sort_in(service, before, after);
        }
        if standing.virtual_mesh.is_some() || !standing.alike.is_empty() {
            self.units.insert(unit.clone(), standing);
        }
        changed
    }

    fn sort_in(
        &mut self,
        service: &ClusterObjectRef,
        before: Option<(ObjectRef, Option<Progress>)>,
        after: Option<(ObjectRef, Option<Progress>)>,
    ) {
        if let Some((virtual_mesh, progress)) = before
            && let Some(all) = self.federated.get_mut(&virtual_mesh)
        {
            all.remove(&(progress, service.clone()));
            if all.is_empty() {
                self.federated.remove(&virtual_mesh);
            }
        }
        if let Some((virtual_mesh, progress)) = after {
            self.federated.entry(virtual_mesh).or_default().insert((progress, service.clone()));
        }
    }
}

impl Standing {
    fn worst(&self) -> Option<&Progress> {
        self.alike.iter().map(|alike| &alike.progress).max()
    }

    fn put(&mut self, revision: u64, progress: Progress, clusters: &BitSet) {
        match self.alike.iter_mut().find(|alike| alike.revision == revision && alike.progress == progress) {
            Some(alike) => alike.clusters.union_with(clusters),
            None => self.alike.push(Alike { revision, progress, clusters: clusters.clone() }),
        }
    }
}

/// Clusters by number. A number stays its cluster's also once that was forgotten: it may come back.
#[derive(Clone, Debug, Default)]
struct Names {
    numbers: HashMap<String, usize>,
    names: Vec<String>,
    /// The shared set that was looked up last: most sets share one.
    last: Option<(Arc<BTreeSet<String>>, BitSet)>,
}

impl Names {
    fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    fn set(&mut self, clusters: &Clusters) -> BitSet {
        let all = clusters.shared();
        if self.last.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, all)) {
            let set = all.iter().map(|name| self.give(name)).collect();
            self.last = Some((Arc::clone(all), set));
        }
        let mut set = self.last.as_ref().map(|(_, set)| set.clone()).unwrap_or_default();
        for name in clusters.left_out() {
            self.number(name).map(|number| set.remove(number));
        }
        set
    }

    fn give(&mut self, name: &str) -> usize {
        if let Some(number) = self.number(name) {
            return number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(names: &[&str]) -> Clusters {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn report(unit: &Unit, cluster: &str, revision: u64, progress: Progress) -> Report {
        Report { unit: unit.clone(), cluster: cluster.to_owned(), revision, progress }
    }

    #[test]
    fn a_report_about_earlier_writes_says_nothing_about_later_ones() {
        let unit = Unit::Mesh(ObjectRef::new("m", "hub"));
        let report = |cluster, revision, progress| report(&unit, cluster, revision, progress);
        let mut board = Board::default();
        board.expect(&unit, &clusters(&["c1", "c2"]), 1);
        assert!(board.report(report("c1", 1, Progress::Acknowledged)));
        assert_eq!(board.of(&unit), Some(("c2", &Progress::Pending)));
        board.expect(&unit, &clusters(&["c1"]), 2);
        assert!(!board.report(report("c1", 1, Progress::Acknowledged)));
        assert!(board.report(report("c2", 1, Progress::Acknowledged)));
        assert_eq!(board.of(&unit), Some(("c1", &Progress::Pending)));
        assert!(board.report(report("c1", 2, Progress::Acknowledged)));
        assert!(!board.report(report("c1", 2, Progress::Acknowledged)), "nothing new");
        assert_eq!(board.of(&unit).unwrap().1, &Progress::Acknowledged);
        assert_eq!(board.forget("c2").len(), 1);
        assert!(!board.report(report("c2", 3, Progress::Pending)), "nobody is there");
    }

    #[test]
    fn writes_are_expected_in_a_shared_set_without_what_it_leaves_out() {
        let (first, second) = (Unit::Mesh(ObjectRef::new("a", "hub")), Unit::Mesh(ObjectRef::new("b", "hub")));
        let all = clusters(&["c1", "c2", "c3"]);
        let mut board = Board::default();
        board.expect(&first, &all.without(["c3"]), 1);
        board.expect(&second, &all.without(["c1"]), 1);
        assert_eq!(board.of(&first), Some(("c2", &Progress::Pending)));
        assert_eq!(board.of(&second), Some(("c3", &Progress::Pending)));
        assert!(!board.report(report(&first, "c3", 1, Progress::Acknowledged)), "nothing is expected there");
    }

    #[test]
    fn a_virtual_mesh_is_as_far_as_its_destination_that_is_least_far() {
        let service = |name: &str| ClusterObjectRef::new(name, "ns", "c1");
        let (mesh, other) = (ObjectRef::new("one", "hub"), ObjectRef::new("other", "hub"));
        let mut board = Board::default();
        board.federate(&service("a"), Some(&mesh));
        board.federate(&service("b"), Some(&mesh));
        assert_eq!((board.federated_count(&mesh), board.of_federated(&mesh)), (2, None), "nothing was to be written");
        let units = ["a", "b"].map(|name| Unit::Destination(service(name)));
        for unit in &units {
            board.expect(unit, &clusters(&["c2"]), 1);
        }
        assert!(board.report(report(&units[0], "c2", 1, Progress::Acknowledged)));
        assert_eq!(board.of_federated(&mesh), Some(("c2", &Progress::Pending)));
        assert!(board.report(report(&units[1], "c2", 1, Progress::Refused("no".to_owned()))));
        assert_eq!(board.of_federated(&mesh), Some(("c2", &Progress::Refused("no".to_owned()))));
        board.federate(&service("b"), Some(&other));
        assert_eq!(board.of_federated(&mesh), Some(("c2", &Progress::Acknowledged)));
        assert_eq!((board.federated_count(&mesh), board.federated_count(&other)), (1, 1));
        board.federate(&service("a"), None);
        assert_eq!((board.federated_count(&mesh), board.of_federated(&mesh)), (0, None));
    }
}
