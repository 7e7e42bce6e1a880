//! How much memory an embedded world takes, from the kernel's own account of every process in it.
//!
//! Proportional set size (`Pss` in `/proc/<pid>/smaps_rollup`): pages that several processes share count by share, so
//! that the figures of all processes add up to what is really used.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;

use crate::report::record::Memory;

/// The name under which a data-plane proxy runs.
const PROXY: &str = "envoy";

struct Process {
    name: String,
    /// Pods are told apart by their network namespace.
    network: PathBuf,
    proportional_set_bytes: u64,
}

/// Memory of the world whose supervisor has this process id. Processes that end meanwhile are left out.
///
/// # Errors
/// Where `/proc` cannot be listed, or a process that runs cannot be looked at: the figures would be too small.
pub fn measure(supervisor: u32) -> io::Result<Memory> {
    let children = children()?;
    let mut processes = Vec::new();
    let mut open = vec![supervisor];
    while let Some(id) = open.pop() {
        open.extend(children.get(&id).into_iter().flatten());
        if id != supervisor {
            processes.extend(process(id)?);
        }
    }
    let supervisor = process(supervisor)?.map_or(0, |process| process.proportional_set_bytes);
    Ok(sum(supervisor, &processes))
}

fn sum(supervisor: u64, processes: &[Process]) -> Memory {
    let mut pods: BTreeMap<&PathBuf, (bool, u64)> = BTreeMap::new();
    for process in processes {
        let (meshed, bytes) = pods.entry(&process.network).or_default();
        *meshed |= process.name == PROXY;
        *bytes += process.proportional_set_bytes;
    }
    let meshed: Vec<u64> = pods.values().filter(|(meshed, _)| *meshed).map(|(_, bytes)| *bytes).collect();
    let count = u64::try_from(meshed.len()).unwrap_or(u64::MAX);
    Memory {
        meshed_pods: count,
        mean_meshed_pod_bytes: meshed.iter().sum::<u64>().checked_div(count).unwrap_or(0),
        largest_meshed_pod_bytes: meshed.iter().copied().max().unwrap_or(0),
        supervisor_bytes: supervisor,
        total_bytes: supervisor + pods.values().map(|(_, bytes)| bytes).sum::<u64>(),
    }
}

fn children() -> io::Result<HashMap<u32, Vec<u32>>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The command name may hold spaces and parentheses; fields count from after its last ")".
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(id);
        }
    }
    Ok(children)
}

/// `None` where the process has ended.
fn process(id: u32) -> io::Result<Option<Process>> {
    match read(id) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // The kernel's words for one that has ended and is not waited for yet.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ESRCH as i32) => Ok(None),
        read => read.map(Some),
    }
}

fn read(id: u32) -> io::Result<Process> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let kilobytes: Option<u64> =
        rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    let kilobytes = kilobytes
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{id}/smaps_rollup has no Pss")))?;
    Ok(Process {
        name: fs::read_to_string(format!("/proc/{id}/comm"))?.trim().to_owned(),
        network: fs::read_link(format!("/proc/{id}/ns/net"))?,
        proportional_set_bytes: kilobytes * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_without_a_proxy_count_in_the_total_only() {
        let process = |name: &str, network: &str, bytes| Process {
            name: name.to_owned(),
            network: network.into(),
            proportional_set_bytes: bytes,
        };
        let processes = [
            process("bookinfo", "a", 2),
            process("envoy", "a", 20),
            process("envoy", "b", 30),
            process("bookinfo", "c", 4),
        ];
        let memory = sum(100, &processes);
        assert_eq!((memory.meshed_pods, memory.mean_meshed_pod_bytes, memory.largest_meshed_pod_bytes), (2, 26, 30));
        assert_eq!(memory.total_bytes, 156);
    }

    #[test]
    fn this_process_is_measured() {
        let memory = measure(std::process::id()).expect("/proc");
        assert!(memory.supervisor_bytes > 0);
    }
}
