//! The whole world: networks first, then every cluster side by side, then the state file and the announcement.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::machine::MachineConfig;
use substrate_config::{MachineState, WorldConfig, WorldEvent, WorldState};
use substrate_node::fabric::{self, ClusterNetworkConfig, Fabric, FabricConfig, InvalidCidr, MachineNetworkConfig};
use substrate_node::machine::docker::Shim;
use substrate_node::machine::{Machine, MachineError};
use substrate_node::supervision::{World as Process, mount_tmpfs};
use tokio_util::sync::CancellationToken;

use crate::cluster::{self, Cluster};
use crate::control::{self, Control};
use crate::node_config;

/// A world could not be brought up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address range of the configuration is none.
    #[error("cluster {cluster}: {field} {text:?} is no subnet")]
    Subnet {
        /// Cluster.
        cluster: String,
        /// Field of its configuration.
        field: &'static str,
        /// What stands there.
        text: String,
        /// Why it is none.
        #[source]
        source: InvalidCidr,
    },
    /// The name of a network or cluster cannot be used as the name of a folder and a node.
    #[error("the name {0:?} is no DNS label (lower-case letters, digits and `-`, 63 at most)")]
    Name(String),
    /// Another world has the state directory.
    #[error("another world runs in {directory}")]
    Busy {
        /// The directory.
        directory: Utf8PathBuf,
    },
    /// The networks could not be made.
    #[error(transparent)]
    Fabric(#[from] fabric::Error),
    /// A cluster did not come up.
    #[error("cluster {name}")]
    Cluster {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: cluster::Error,
    },
    /// A host outside the clusters cannot be.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The address of a host outside the clusters is none.
    #[error("machine {machine}: address {text:?} is no IPv4 address")]
    Address {
        /// Which.
        machine: String,
        /// What stands there.
        text: String,
    },
    /// A file could not be written.
    #[error("cannot write {path}")]
    File {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running world; it ends with the process.
pub struct World {
    _lock: File,
    _fabric: Fabric,
    _clusters: Vec<Cluster>,
}

/// Brings the world up and announces it.
///
/// # Errors
/// [`Error`]; the caller exits, which ends whatever was started.
pub async fn bring_up(
    config: &WorldConfig,
    process: &Process,
    shim: Option<&Arc<Shim>>,
    started: Instant,
    cancel: &CancellationToken,
) -> Result<World, Error> {
    let networks = fabric_config(config)?;
    let problems = networks.problems();
    if !problems.is_empty() {
        return Err(fabric::Error::Config(problems).into());
    }
    private_directory(&config.state_directory)?;
    let lock = lock(&config.state_directory)?;
    let volumes = config.state_directory.join("world");
    private_directory(&volumes)?;
    mount_tmpfs(volumes.as_std_path()).map_err(file(&volumes))?;
    let fabric = Fabric::create(&networks).await?;
    let starts = config.clusters.iter().map(|cluster| start(config, cluster, &fabric, started, cancel));
    let clusters = futures::future::try_join_all(starts).await?;
    let control_socket = config.state_directory.join(control::SOCKET);
    let listener = control::listen(&control_socket).map_err(file(&control_socket))?;
    let servers = clusters.iter().map(|cluster| (cluster.state.name.clone(), cluster.api.clone())).collect();
    let machines = machines(config, shim, &fabric)?;
    let control = Control::new(fabric.links(), servers, machines);
    tokio::spawn(cancel.clone().run_until_cancelled_owned(control.serve(listener)));
    let state = WorldState {
        name: config.name.clone(),
        run_id: config.run_id.clone(),
        process_id: process.host_pid,
        process_start: process.start_time,
        clusters: clusters.iter().map(|cluster| cluster.state.clone()).collect(),
        control_socket: Some(control_socket),
        machines: config
            .machines
            .iter()
            .map(|machine| MachineState { name: machine.name.clone(), runtime: machine.runtime.clone() })
            .collect(),
        docker_socket: config.docker_socket.clone(),
    };
    write_private(
        &config.state_directory.join("world.json"),
        &serde_json::to_string_pretty(&state).unwrap_or_default(),
    )?;
    announce(&WorldEvent::Ready { state });
    Ok(World { _lock: lock, _fabric: fabric, _clusters: clusters })
}

/// The hosts outside the clusters, which are off.
fn machines(
    config: &WorldConfig,
    shim: Option<&Arc<Shim>>,
    fabric: &Fabric,
) -> Result<BTreeMap<String, Arc<Machine>>, Error> {
    let images = node_config::images(config);
    let machine = |machine: &MachineConfig| {
        let name = &machine.name;
        let network = fabric.machine(name).expect("invariant: the fabric has every machine of the configuration");
        // Beside the volumes of the clusters, whose names have no blank.
        let disk = config.state_directory.join("world").join("machine ".to_owned() + name);
        let logs = config.state_directory.join("machines").join(name);
        let made = Machine::new(machine, network, &images, shim, disk.into_std_path_buf(), logs.as_std_path())?;
        Ok((name.clone(), Arc::new(made)))
    };
    config.machines.iter().map(machine).collect()
}

/// Keeps a second world out of the directory. The kernel drops the lock with the process.
fn lock(directory: &Utf8Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let open = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let lock = open.map_err(file(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Busy { directory: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(file(&path)(error)),
    }
}

async fn start(
    config: &WorldConfig,
    cluster: &substrate_config::ClusterConfig,
    fabric: &Fabric,
    started: Instant,
    cancel: &CancellationToken,
) -> Result<Cluster, Error> {
    let network = fabric.cluster(&cluster.name).expect("invariant: the fabric has every cluster of the configuration");
    let running = Cluster::start(config, cluster, Arc::clone(&network), cancel)
        .await
        .map_err(|source| Error::Cluster { name: cluster.name.clone(), source })?;
    announce(&WorldEvent::ClusterReady {
        cluster: cluster.name.clone(),
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    Ok(running)
}

fn fabric_config(config: &WorldConfig) -> Result<FabricConfig, Error> {
    let parse = |cluster: &str, field: &'static str, text: &str| {
        text.parse().map_err(|source| Error::Subnet {
            cluster: cluster.to_owned(),
            field,
            text: text.to_owned(),
            source,
        })
    };
    let names = config.networks.iter().map(|network| &network.name).chain(config.clusters.iter().map(|one| &one.name));
    let names = names.chain(config.machines.iter().map(|machine| &machine.name));
    if let Some(name) = names.into_iter().find(|name| !is_label(name)) {
        return Err(Error::Name(name.clone()));
    }
    let mut clusters = Vec::with_capacity(config.clusters.len());
    for cluster in &config.clusters {
        clusters.push(ClusterNetworkConfig {
            name: cluster.name.clone(),
            network: cluster.network.clone(),
            pod_subnet: parse(&cluster.name, "podSubnet", &cluster.pod_subnet)?,
            service_subnet: parse(&cluster.name, "serviceSubnet", &cluster.service_subnet)?,
            node_subnet: parse(&cluster.name, "nodeSubnet", &cluster.node_subnet)?,
        });
    }
    let networks = config.networks.iter().map(|network| fabric::NetworkConfig { name: network.name.clone() }).collect();
    let machine = |machine: &MachineConfig| {
        let MachineConfig { name, network, address, .. } = machine;
        let parsed = address.parse().map_err(|_| Error::Address { machine: name.clone(), text: address.clone() })?;
        Ok(MachineNetworkConfig { name: name.clone(), network: network.clone(), address: parsed })
    };
    let machines = config.machines.iter().map(machine).collect::<Result<_, Error>>()?;
    Ok(FabricConfig { networks, clusters, machines })
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !name.starts_with('-') && !name.ends_with('-');
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && ends
}

/// Writes one event as a line of standard output. Nobody may read any more: that is no error of the world.
pub fn announce(event: &WorldEvent) {
    let line = serde_json::to_string(event).expect("invariant: an event serialises");
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// Creates a folder that only its owner can look into.
///
/// # Errors
/// [`Error::File`].
pub fn private_directory(path: &Utf8Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file(path))
}

/// Writes a file that only its owner can read, complete or not at all.
///
/// # Errors
/// [`Error::File`].
pub fn write_private(path: &Utf8Path, text: &str) -> Result<(), Error> {
    let draft = Utf8PathBuf::from(format!("{path}.new"));
    let open = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft);
    open.and_then(|mut file| file.write_all(text.as_bytes())).map_err(file(path))?;
    std::fs::rename(&draft, path).map_err(file(path))
}

fn file(path: &Utf8Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}
