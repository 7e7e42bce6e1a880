//! The manager of the management plane: connects the pure core (`hub`) with clusters.
//!
//! * [`management`] watches the plane's resources, [`clusters`] has a session for each registered cluster,
//! * [`core`] is the thread that owns the state: changes in, writes and statuses out,
//! * [`mod@write`] makes the objects of one cluster what they shall be, [`status`] writes statuses,
//! * [`agent`] asks the agents of clusters over port-forward, [`lease`] settles which manager leads,
//! * [`signing`] signs the authorities of meshes, and changes roots; [`telemetry`] is that of all clusters as one,
//! * [`admission`] judges what people write, [`admin`] tells what is known, [`metrics`] counts,
//! * [`retries`] has what is to be tried again,
//! * [`plane`] says which plane this is, which marks what it writes,
//! * [`manager`] wires this together, [`run`] is the program around it.

pub mod admin;
pub mod admission;
pub mod agent;
pub mod clusters;
pub mod core;
pub mod event;
pub mod kinds;
pub mod lease;
pub mod management;
pub mod manager;
pub mod metrics;
pub mod plane;
pub mod retries;
pub mod run;
pub mod signing;
pub mod status;
pub mod telemetry;
pub mod write;
