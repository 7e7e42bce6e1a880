//! What there is on the machine, before and after a run: processes of ours, mounts, interfaces, packet filter tables, what a Docker
//! engine has, and files in places for passing things.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where to look. Everything in `places` and `files` belongs to the runs alone.
#[derive(Debug)]
pub(super) struct Audit {
    /// Files of programs, by device and inode: inside a container the same file has another path.
    programs: BTreeSet<(u64, u64)>,
    /// Folders of the runs in which nothing may stay.
    places: Vec<PathBuf>,
    /// Names of tables can be read, which the host may refuse to an ordinary user.
    tables: bool,
}

/// What there was at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot(BTreeSet<String>);

/// What a later snapshot has beyond an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers(Vec<String>);

impl Audit {
    /// For runs that start these programs, and whose passing things go into these places.
    ///
    /// # Errors
    /// Where a program cannot be looked at.
    pub(super) fn new(programs: &[PathBuf], places: Vec<PathBuf>) -> io::Result<Self> {
        let programs = programs.iter().map(|path| fs::metadata(path).map(|file| identity(&file)));
        Ok(Self { programs: programs.collect::<io::Result<_>>()?, places, tables: tables().is_some() })
    }

    /// What cannot be looked at here, and why.
    pub(super) fn blind_spots(&self) -> Vec<&'static str> {
        if self.tables { Vec::new() } else { vec!["tables of the host's packet filter: `nft list tables` is refused"] }
    }

    /// Looks at everything.
    pub(super) fn look(&self) -> Snapshot {
        let mut found = BTreeSet::new();
        found.extend(self.processes());
        found.extend(mounts());
        found.extend(names(Path::new("/sys/class/net")).map(|name| format!("interface {name}")));
        found.extend(tables().unwrap_or_default());
        found.extend(docker());
        found.extend(files());
        found.extend(self.places.iter().flat_map(|place| below(place)));
        Snapshot(found)
    }

    fn processes(&self) -> Vec<String> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let ours = |pid: &i32| {
            let file = fs::metadata(format!("/proc/{pid}/exe")).ok();
            *pid != own && file.is_some_and(|file| self.programs.contains(&identity(&file)))
        };
        process_ids().filter(ours).map(describe).collect()
    }
}

impl Snapshot {
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

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
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

fn describe(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("process {pid} ({})", String::from_utf8_lossy(&line).replace('\0', " ").trim())
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| line.split(' ').nth(4).map(|point| format!("mount {point}"));
    table.lines().filter_map(mount).collect()
}

/// Tables of the host's packet filter; `None` where it may not be asked.
fn tables() -> Option<Vec<String>> {
    let output = Command::new("nft").args(["list", "tables"]).output().ok()?;
    let list = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| list.lines().map(|line| format!("packet filter {line}")).collect())
}

/// What a Docker engine has, whoever made it; nothing where none answers.
fn docker() -> Vec<String> {
    let kinds = [
        ("container", &["ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}"][..]),
        ("network", &["network", "ls", "--no-trunc", "--format", "{{.ID}} {{.Name}}"]),
        ("volume", &["volume", "ls", "--format", "{{.Name}}"]),
        ("image", &["images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]),
    ];
    let list = |(kind, arguments): (&str, &[&str])| {
        let output = Command::new("docker").args(arguments).output().ok().filter(|output| output.status.success());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().map(|line| format!("{kind} {line}")).collect::<Vec<_>>()
    };
    kinds.into_iter().flat_map(list).collect()
}

/// Files whose names tell that they are of ours, in the places where programs put passing things without asking.
fn files() -> Vec<String> {
    let places = ["/tmp", "/var/tmp", "/dev/shm", "/run/netns"];
    let ours = |name: &String| ["meshproof", "envoy", "substrate"].iter().any(|word| name.contains(word));
    let list = |place| names(Path::new(place)).filter(ours).map(move |name| format!("file {place}/{name}"));
    places.into_iter().flat_map(list).collect()
}

/// All that is in a folder, at any depth.
fn below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(format!("file {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&entry.path()));
        }
    }
    found
}

/// The first process of a PID namespace of its own with this program's name among the descendants of another: a world's
/// supervisor, and not the process that started it and only waits for it.
pub(super) fn supervisor(ancestor: u32, name: &str) -> Option<i32> {
    let ancestor = i32::try_from(ancestor).ok()?;
    let named = |pid: &i32| program(*pid).and_then(|path| path.file_name().map(|file| file == name)) == Some(true);
    let first = |pid: &i32| is_first(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default());
    process_ids().filter(named).filter(first).find(|pid| descends(*pid, ancestor))
}

/// Whether the process of this `/proc/<pid>/status` has the id 1 in the innermost of several PID namespaces.
fn is_first(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    ids.len() > 1 && ids.last() == Some(&"1")
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

    fn audit(programs: &[PathBuf], places: Vec<PathBuf>) -> Audit {
        Audit::new(programs, places).unwrap()
    }

    #[test]
    fn a_process_that_was_not_there_is_left_over_until_it_ends() {
        let own = format!("process {} ", std::process::id());
        let own_file = program(std::process::id().cast_signed()).unwrap();
        let seen = audit(&[own_file], Vec::new()).look().beyond(&Snapshot::default());
        assert!(!seen.to_string().contains(&own), "who looks is nothing left over");
        let mut child = cat();
        // By another name of the same file, as inside a container.
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("another-name");
        std::os::unix::fs::symlink(program(child.id().cast_signed()).unwrap(), &link).unwrap();
        let audit = audit(&[link], Vec::new());
        let process = format!("process {} ", child.id());
        assert!(audit.look().beyond(&Snapshot::default()).to_string().contains(&process));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!audit.look().beyond(&Snapshot::default()).to_string().contains(&process));
    }

    #[test]
    fn files_are_left_over_by_their_name_or_by_their_place() {
        let place = tempfile::tempdir().unwrap();
        let audit = audit(&[], vec![place.path().to_path_buf()]);
        let before = audit.look();
        assert!(before.beyond(&before).is_empty());
        let by_name = tempfile::Builder::new().prefix("meshproof-audit-").tempfile_in("/tmp").unwrap();
        let by_place = place.path().join("deep/file");
        fs::create_dir(place.path().join("deep")).unwrap();
        fs::write(&by_place, "").unwrap();
        let left = audit.look().beyond(&before).to_string();
        assert!(left.contains(&by_name.path().display().to_string()), "{left}");
        assert!(left.contains(&by_place.display().to_string()), "{left}");
    }

    #[test]
    fn a_supervisor_is_the_first_process_of_its_namespace() {
        let status = |ids: &str| format!("Name:\tx\nTgid:\t9551\nNSpid:\t{ids}\nNSpgid:\t9551\n");
        assert!(is_first(&status("9551\t1")));
        assert!(!is_first(&status("9550")), "who started it is in the host's namespace");
        assert!(!is_first(&status("9560\t7")), "a container's process");
        assert!(!is_first(&status("1")), "the host's own first process");
    }

    #[test]
    fn descendants_are_known_by_their_parents() {
        let mut child = cat();
        let (own, child_id) = (std::process::id().cast_signed(), child.id().cast_signed());
        assert!(descends(child_id, own) && !descends(own, child_id));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
