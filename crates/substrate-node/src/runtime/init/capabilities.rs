//! Linux capabilities: their names, and giving them up for good.
#![expect(unsafe_code, reason = "prctl and close_range have no safe wrapper among the dependencies")]

use std::io;

use crate::runtime::StartError;
use crate::runtime::helper::Failure;

/// In the order of their numbers.
pub(crate) const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities that a program keeps, as a bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept(u64);

impl Kept {
    /// From Kubernetes' names; `ALL` and the prefix `CAP_` are understood.
    pub(super) fn parse(names: &[String]) -> Result<Self, Failure> {
        let mut kept = 0;
        for name in names {
            let plain = name.strip_prefix("CAP_").unwrap_or(name);
            if plain == "ALL" {
                kept = u64::MAX;
                continue;
            }
            let number = NAMES.iter().position(|known| *known == plain).ok_or_else(|| Failure::Setup {
                what: format!("capability {name}"),
                message: "there is no capability of that name".to_owned(),
            })?;
            kept |= 1 << number;
        }
        Ok(Self(kept))
    }

    /// Gives up every other capability: neither this process nor what it executes can have it again.
    ///
    /// The bounding set is what an execution by user 0 can at most obtain; a new user namespace would grant
    /// capabilities over its own resources only, never over those of the pod.
    pub(super) fn give_up_others(self) -> io::Result<()> {
        for number in 0..64 {
            if self.0 & (1 << number) != 0 {
                continue;
            }
            // SAFETY: plain integers in and out.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } != 0 {
                let error = io::Error::last_os_error();
                // Past the last capability that this kernel knows.
                if error.raw_os_error() == Some(libc::EINVAL) && number > 0 {
                    break;
                }
                return Err(error);
            }
        }
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    }
}

/// Gives up every capability but those that are named.
///
/// # Errors
/// Where one is not known, or the kernel refuses.
pub(crate) fn give_up_capabilities_but(names: &[String]) -> Result<(), String> {
    let kept = Kept::parse(names).map_err(|failure| StartError::from(failure).to_string())?;
    kept.give_up_others().map_err(|error| error.to_string())
}

/// Marks every descriptor above the standard ones to be closed on execution, wherever it came from.
pub(crate) fn close_descriptors_on_exec() -> io::Result<()> {
    // SAFETY: plain integers in and out; nothing is closed now.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_bits() {
        let parse = |names: &[&str]| Kept::parse(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(parse(&["NET_ADMIN", "CAP_NET_RAW"]).unwrap(), Kept(1 << 12 | 1 << 13));
        assert_eq!(parse(&["ALL"]).unwrap(), Kept(u64::MAX));
        assert!(parse(&["NET_ADMlN"]).is_err());
    }
}
