//! Who removes what was made: a process, told from every other one that ever had or will have its number.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

/// A process of one boot of one machine, as its PID namespace counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    process_id: u32,
    /// Clock ticks since boot.
    start_time: u64,
    /// Inode of the PID namespace in which the number counts.
    namespace: u64,
    boot: String,
}

impl Lease {
    /// The calling process.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        let process_id = std::process::id();
        let start_time = start_time(process_id).ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))?;
        Ok(Self { process_id, start_time, namespace: own_namespace()?, boot: boot()? })
    }

    /// Whether its process is known to have ended. One of another PID namespace cannot be seen: it counts as alive.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        if boot().is_ok_and(|boot| boot != self.boot) {
            return true;
        }
        own_namespace().is_ok_and(|own| own == self.namespace) && start_time(self.process_id) != Some(self.start_time)
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}.{}", self.process_id, self.start_time, self.namespace, self.boot)
    }
}

/// The text is no lease.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no lease")]
pub struct ParseError(String);

impl FromStr for Lease {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut parts = text.splitn(4, '.');
            let process_id = parts.next()?.parse().ok()?;
            let (start_time, namespace) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(Self { process_id, start_time, namespace, boot: parts.next()?.to_owned() })
        };
        parse().ok_or_else(|| ParseError(text.to_owned()))
    }
}

fn own_namespace() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Field 22 of the kernel's line; `None` where there is no such process, or only its zombie.
fn start_time(process_id: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    // The name before may hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn it_is_written_as_a_label_and_read_again() {
        let own = Lease::own().unwrap();
        assert_eq!(own.to_string().parse::<Lease>(), Ok(own.clone()));
        assert!(!own.has_ended());
        for text in ["", "1.2", "a.1.2.b", "1.2.3"] {
            assert!(text.parse::<Lease>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn it_ends_with_its_process_and_with_the_boot() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let own = Lease::own().unwrap();
        let of_child = Lease { process_id: child.id(), start_time: start_time(child.id()).unwrap(), ..own.clone() };
        assert!(!of_child.has_ended());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(of_child.has_ended());
        assert!(Lease { start_time: own.start_time + 1, ..own.clone() }.has_ended(), "another process of that number");
        assert!(Lease { boot: "another".to_owned(), ..own.clone() }.has_ended());
        let elsewhere = Lease { namespace: own.namespace + 1, process_id: u32::MAX, ..own };
        assert!(!elsewhere.has_ended(), "what cannot be seen is not taken for dead");
    }
}
