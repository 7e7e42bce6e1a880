//! The container's private root: a tmpfs with the host's programs and libraries bound into it, read-only.
//!
//! The new root is entered first and filled afterwards, while the old one is still reachable below [`OLD_ROOT`]:
//! paths inside are then resolved as the container will resolve them. `/proc` is mounted before the old root goes,
//! because the kernel allows a fresh `/proc` only to those who see a complete one. Until then every path is one of
//! this file; those that a pod chooses ([`super::volumes`]) come after.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::{set_read_only, setup, volumes};
use crate::runtime::helper::Failure;
use crate::runtime::spec::ContainerSpec;

/// Where the root is put together: exists everywhere, and no program or volume comes from it.
const STAGE: &str = "/sys";
const OLD_ROOT: &str = "/.host";

/// Folders of the host that hold programs and libraries. Symbolic links among them are copied as such.
const HOST_FOLDERS: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"];
/// What programs of the host need from its `/etc`.
const HOST_ETC: [&str; 8] =
    ["ssl", "pki", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Parts of `/proc` that belong to the whole machine. User 0 of a world that root started could write there.
const READ_ONLY_PROC: [&str; 5] = ["sys", "sysrq-trigger", "irq", "bus", "fs"];
const WORLD_WRITABLE: u32 = 0o1777;

/// Builds the root and makes it this process's.
pub(super) fn enter(spec: &ContainerSpec) -> Result<(), Failure> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(setup("private mounts"))?;
    let volumes = volumes::prepare(spec)?;
    let etc_of_host = canonical_etc();
    tmpfs(Path::new(STAGE), "mode=0755").map_err(setup("the root"))?;
    let old_root = Path::new(STAGE).join(OLD_ROOT.trim_start_matches('/'));
    fs::create_dir(&old_root).map_err(setup("the root"))?;
    pivot_root(STAGE, &old_root).map_err(setup("the root"))?;
    chdir("/").map_err(setup("the root"))?;

    host_folders().map_err(setup("the host's programs"))?;
    own_folders().map_err(setup("the folders of the root"))?;
    etc(spec, &etc_of_host).map_err(setup("/etc"))?;
    devices().map_err(setup("/dev"))?;
    proc().map_err(setup("/proc"))?;
    tmpfs(Path::new("/usr/local/bin"), "mode=0755").map_err(setup("/usr/local/bin"))?;

    umount2(OLD_ROOT, MntFlags::MNT_DETACH).map_err(setup("the old root"))?;
    fs::remove_dir(OLD_ROOT).map_err(setup("the old root"))?;
    volumes.mount()?;
    if spec.read_only_root {
        set_read_only(Path::new("/"), false).map_err(setup("a read-only root"))?;
    }
    Ok(())
}

/// Those of [`HOST_ETC`] that the host has, as paths below the old root. Symbolic links are resolved while the host's
/// root is still ours.
fn canonical_etc() -> Vec<(&'static str, PathBuf)> {
    let canonical = |name: &'static str| Some((name, Path::new("/etc").join(name).canonicalize().ok()?));
    HOST_ETC.into_iter().filter_map(canonical).map(|(name, path)| (name, below_old_root(&path))).collect()
}

fn below_old_root(path: &Path) -> PathBuf {
    Path::new(OLD_ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

fn host_folders() -> io::Result<()> {
    for name in HOST_FOLDERS {
        let target = Path::new("/").join(name);
        let source = below_old_root(&target);
        let Ok(kind) = fs::symlink_metadata(&source) else { continue };
        if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            bind(&source, &target, true)?;
        }
    }
    Ok(())
}

fn own_folders() -> io::Result<()> {
    for (folder, mode) in [("/tmp", WORLD_WRITABLE), ("/run", 0o755), ("/root", 0o700), ("/home", 0o755)] {
        folder_with_mode(folder, mode)?;
    }
    for folder in ["/etc", "/dev", "/proc", "/var/lib", "/var/log", "/var/cache"] {
        fs::create_dir_all(folder)?;
    }
    folder_with_mode("/var/tmp", WORLD_WRITABLE)?;
    symlink("../run", "/var/run")
}

/// The mode is set in any case, whatever the umask.
fn folder_with_mode(folder: &str, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
}

fn etc(spec: &ContainerSpec, of_host: &[(&str, PathBuf)]) -> io::Result<()> {
    let files = [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("group", "root:x:0:\nnogroup:x:65534:\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("hostname", &format!("{}\n", spec.hostname)),
        ("resolv.conf", &spec.resolv_conf),
        ("hosts", &spec.hosts),
    ];
    for (name, content) in files {
        fs::write(Path::new("/etc").join(name), content)?;
    }
    for (name, source) in of_host {
        bind(source, &Path::new("/etc").join(name), true)?;
    }
    Ok(())
}

fn devices() -> io::Result<()> {
    tmpfs(Path::new("/dev"), "mode=0755")?;
    for name in DEVICES {
        let target = Path::new("/dev").join(name);
        let source = below_old_root(&target);
        if source.exists() {
            bind(&source, &target, false)?;
        }
    }
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        symlink(target, Path::new("/dev").join(name))?;
    }
    fs::create_dir("/dev/pts")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))?;
    fs::create_dir("/dev/shm")?;
    tmpfs(Path::new("/dev/shm"), "mode=1777")
}

fn proc() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)?;
    for name in READ_ONLY_PROC {
        let path = Path::new("/proc").join(name);
        if path.exists() {
            mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
            set_read_only(&path, true)?;
        }
    }
    Ok(())
}

/// Binds a file or folder, with everything mounted below it. The target is created where missing.
fn bind(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    if source.is_dir() {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create(target)?;
    }
    // Recursive, because the kernel keeps the mounts that it locked together as one.
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    if read_only { set_read_only(target, true) } else { Ok(()) }
}

fn tmpfs(target: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options))?)
}
