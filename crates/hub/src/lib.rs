//! The core of the management plane: from what clusters have and people want to what has to be in which cluster.
//!
//! Pure: no clock, no network, no cluster. Everything that talks to clusters stands around it.
//!
//! * [`discovery`] finds the mesh, workloads and destinations of a cluster in its objects,
//! * [`world`] has the tables: inputs as they are, and what is worked out from them,
//! * [`translate`] has the translators, each a function of the tables,
//! * [`state`] keeps the tables up to date: changes in, writes and statuses out, and only what depends on a change is worked out,
//! * [`progress`] keeps how far what was written got: acknowledged by the proxies that it concerns,
//! * [`status`] says what is reported about a resource,
//! * [`acceptance`] and [`address`] have the two things that depend on what was before: which policy came first, and which host
//!   has which address. Both are persisted in statuses, `docs/adr/0010-what-the-management-plane-remembers.md`.
//!
//! # How a runtime uses it
//!
//! 1. List everything: the plane's own resources in the management cluster, and in each registered cluster what
//!    [`discovery::ClusterObjects`] has and the objects of the kinds in [`output::OutputKind`]. Those without the hub's label
//!    are foreign inputs. What [`discovery::discover`] finds goes into the management cluster, and from there into the state.
//! 2. Give all of it to [`state::State::apply`] in one call. Write what comes back by server-side apply; what has the hub's
//!    label in a cluster and is not in [`state::State::desired`] is garbage.
//! 3. From then on give each watch event as a change. The runtime keeps a queue per cluster: an unreachable cluster holds up
//!    nobody else, and of several writes for one object only the last counts.
//! 4. Tell failed writes, and when they succeed at last, as [`state::Change::Written`]; and how far the objects of a unit got in a
//!    cluster as [`state::Change::Progress`], by which a policy becomes `ACTIVE`.
//! 5. For each subject of the effects ask [`state::State::status`], and write it. Statuses come back with watch events;
//!    the state reads them only for resources that it has not seen before.
//! 6. De-registration of a cluster is the removal of its inputs. Carry the deletions out before the client is dropped.
//!
//! What cannot be seen is not gone. A control plane that is missing from what [`discovery::discover`] finds (restarted, scaled to
//! nothing, not listed yet) is no removal of its mesh, nor of the workloads and destinations in it, and neither is a cluster that
//! does not answer or a resource that cannot be read any more: keep what was known. Removing a mesh takes its policies
//! away, and with them the denial of what nobody allows.
//!
//! ```
//! use hub::state::{Change, Input, State};
//! use hub::world::Settings;
//! use mesh_types::hub::{KubernetesCluster, Object};
//!
//! let mut state = State::new(Settings::default());
//! let cluster = Object::new("cluster1", "meshproof-hub", KubernetesCluster::default());
//! let effects = state.apply([Change::put(Input::Cluster(cluster))]);
//! assert!(effects.writes.is_empty());
//! ```

pub mod acceptance;
pub mod address;
mod board;
pub mod discovery;
pub mod output;
pub mod progress;
pub mod state;
pub mod status;
pub mod translate;
pub mod world;
