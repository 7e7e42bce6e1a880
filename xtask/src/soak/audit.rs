//! What there is on the machine, before and after a run: processes of ours, mounts, interfaces, packet filter tables, and
//! files in places for passing things.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What there was at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot(BTreeSet<String>);

/// What a later snapshot has beyond an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers(Vec<String>);

impl Snapshot {
    /// Looks at everything. Processes count whose program lies in one of the places.
    pub(super) fn look(programs: &[&Path]) -> Self {
        let mut found = BTreeSet::new();
        found.extend(processes(programs));
        found.extend(mounts());
        found.extend(names(Path::new("/sys/class/net")).map(|name| format!("interface {name}")));
        found.extend(tables());
        found.extend(files());
        Self(found)
    }

    /// What is here and was not before.
    pub(super) fn beyond(&self, before: &Self) -> Leftovers {
        Leftovers(self.0.difference(&before.0).cloned().collect())
    }
}

impl Leftovers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(", "))
    }
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
}

fn process_ids() -> impl Iterator<Item = i32> {
    names(Path::new("/proc")).filter_map(|name| name.parse().ok())
}

/// The program of a process. It can be read although the file is gone; then the kernel adds a word to its path.
fn program(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn processes(places: &[&Path]) -> Vec<String> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let ours = |pid: &i32| {
        *pid != own && program(*pid).is_some_and(|program| places.iter().any(|place| program.starts_with(place)))
    };
    let describe = |pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        format!("process {pid} ({})", line.trim())
    };
    process_ids().filter(ours).map(describe).collect()
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| line.split(' ').nth(4).map(|point| format!("mount {point}"));
    table.lines().filter_map(mount).collect()
}

/// Tables of the host's packet filter, where it may be asked.
fn tables() -> Vec<String> {
    let Ok(output) = Command::new("nft").args(["list", "tables"]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(|line| format!("packet filter {line}")).collect()
}

/// Files whose names tell that they are of ours, in the places where programs put passing things.
fn files() -> Vec<String> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = [Some(std::env::temp_dir()), Some("/dev/shm".into()), Some("/run/netns".into()), runtime];
    let ours = |name: &String| ["meshproof", "envoy", "substrate"].iter().any(|word| name.contains(word));
    let list = |place: PathBuf| {
        let path = place.clone();
        names(&place).filter(ours).map(move |name| format!("file {}", path.join(name).display()))
    };
    places.into_iter().flatten().flat_map(list).collect()
}

/// A process with this program's name among the descendants of another.
pub(super) fn child_with_name(ancestor: u32, name: &str) -> Option<i32> {
    let ancestor = i32::try_from(ancestor).ok()?;
    let named = |pid: &i32| program(*pid).and_then(|path| path.file_name().map(|file| file == name)) == Some(true);
    process_ids().filter(named).find(|pid| descends(*pid, ancestor))
}

fn descends(pid: i32, ancestor: i32) -> bool {
    let mut current = pid;
    // A chain of parents is short; the limit is against numbers that are used anew meanwhile.
    for _ in 0..64 {
        match parent(current) {
            Some(parent) if parent == ancestor => return true,
            Some(parent) if parent > 1 => current = parent,
            _ => return false,
        }
    }
    false
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};

    use super::*;

    /// A process that runs until it is told to end: `cat` with an open input.
    fn cat() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_process_that_was_not_there_is_left_over_until_it_ends() {
        let before = Snapshot::look(&[]);
        let mut child = cat();
        let place = program(child.id().cast_signed()).unwrap();
        let left = Snapshot::look(&[&place]).beyond(&before);
        assert!(left.to_string().contains(&format!("process {}", child.id())), "{left}");
        drop(child.stdin.take());
        child.wait().unwrap();
        let left = Snapshot::look(&[&place]).beyond(&before);
        assert!(!left.to_string().contains(&format!("process {} ", child.id())), "{left}");
    }

    #[test]
    fn a_file_that_tells_of_us_is_left_over() {
        let before = Snapshot::look(&[]);
        let file = tempfile::Builder::new().prefix("meshproof-audit-").tempfile().unwrap();
        let left = Snapshot::look(&[]).beyond(&before);
        assert!(left.to_string().contains(&file.path().display().to_string()), "{left}");
        assert!(before.beyond(&before).is_empty());
    }

    #[test]
    fn a_child_is_found_by_its_programs_name() {
        let mut child = cat();
        let name = program(child.id().cast_signed()).unwrap().file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(child_with_name(std::process::id(), &name), Some(child.id().cast_signed()));
        assert_eq!(child_with_name(child.id(), &name), None);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
