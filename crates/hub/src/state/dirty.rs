//! What has to be worked out again.

use std::collections::BTreeSet;

use mesh_types::hub::{ClusterObjectRef, ObjectRef};

use super::change::Subject;

/// Marks, one set for each stage.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Memberships of meshes in virtual meshes: all of them, they are few.
    pub(super) memberships: bool,
    /// Meshes that changed.
    pub(super) changed_meshes: BTreeSet<ObjectRef>,
    /// Virtual meshes whose specification changed.
    pub(super) virtual_meshes: BTreeSet<ObjectRef>,
    /// Traffic policies whose selectors may have changed.
    pub(super) traffic: BTreeSet<ObjectRef>,
    /// Access policies whose selectors may have changed.
    pub(super) access: BTreeSet<ObjectRef>,
    /// Destinations whose policies may be others.
    pub(super) attached: BTreeSet<ClusterObjectRef>,
    /// Destinations that others may know in another way.
    pub(super) federation: BTreeSet<ClusterObjectRef>,
    /// Hosts that are remembered from before a start.
    pub(super) remembered_hosts: BTreeSet<String>,
    /// Virtual destinations with other backends or clients.
    pub(super) plans: BTreeSet<ObjectRef>,
    /// Destinations on which other policies may hold.
    pub(super) acceptance: BTreeSet<ClusterObjectRef>,
    /// Destinations from which other objects may follow.
    pub(super) destinations: BTreeSet<ClusterObjectRef>,
    /// Meshes from which other objects may follow.
    pub(super) meshes: BTreeSet<ObjectRef>,
    /// Virtual destinations from which other objects may follow.
    pub(super) virtual_destinations: BTreeSet<ObjectRef>,
    /// Resources whose status may be another.
    pub(super) statuses: BTreeSet<Subject>,
}
