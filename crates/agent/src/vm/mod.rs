//! The agent of a virtual machine: reads the files that onboarding generated, in place of what an injected pod has.
//!
//! [`env_file`] and [`mod@environment`] are pure. What is led through the proxy comes from the same files as in Istio's
//! packages, where a shell script reads them.

pub mod env_file;
pub mod environment;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

pub use environment::{Machine, VmError};

/// Variables of the machine: ports, addresses, service account.
pub const CLUSTER_ENV: &str = "var/lib/istio/envoy/cluster.env";
/// Configuration of the mesh.
pub const MESH: &str = "etc/istio/config/mesh";
/// Roots by which the control plane is verified.
pub const ROOT_CERTIFICATE: &str = "etc/certs/root-cert.pem";

/// Reads the files below `root`, which is `/` but in tests, and completes them by what the machine itself knows.
///
/// # Errors
/// [`VmError`] with the file, the line where there is one, and what to do.
pub fn environment(root: &Path, process: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, VmError> {
    let cluster_env = read(root.join(CLUSTER_ENV))?;
    let mesh = read(root.join(MESH))?;
    read(root.join(ROOT_CERTIFICATE))?;
    let machine = Machine { root, host_name: host_name()?, addresses: addresses()? };
    environment::merged(process, &cluster_env, &mesh, &machine)
}

fn read(path: PathBuf) -> Result<String, VmError> {
    std::fs::read_to_string(&path).map_err(|source| VmError::File { path, source })
}

fn host_name() -> Result<String, VmError> {
    let name = nix::unistd::gethostname().map_err(|error| VmError::Machine(io::Error::from(error)))?;
    Ok(name.to_string_lossy().split('.').next().unwrap_or_default().to_owned())
}

/// Addresses of the interfaces that are up and not loopback, in their order.
fn addresses() -> Result<Vec<IpAddr>, VmError> {
    let interfaces = getifaddrs().map_err(|error| VmError::Machine(io::Error::from(error)))?;
    let up = interfaces
        .filter(|one| one.flags.contains(InterfaceFlags::IFF_UP) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    let found = up.filter_map(|one| Some(IpAddr::V4(one.address?.as_sockaddr_in()?.ip())));
    Ok(found.collect())
}
