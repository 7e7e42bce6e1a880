//! What a test needs of the machine, and what happens where the machine lacks it: the test is
//! reported as skipped with its reason, or fails where `MESHPROOF_REQUIRE=all` says that nothing may be skipped.
//!
//! Does not decide what the product can run on; that is `meshproof doctor`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something of the machine that some tests cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// An ordinary process may create user, mount, PID and network namespaces and mount `/proc` in them.
    UserNamespaces,
    /// The program `nft`.
    Nft,
    /// An Envoy binary, named by `MESHPROOF_ENVOY` or found on `PATH`.
    Envoy,
    /// The program `kubectl`.
    Kubectl,
    /// The program `openssl`, an independent reader of certificates.
    Openssl,
    /// The browser `chromium`, which needs no screen.
    Browser,
    /// A Docker engine that answers this user, and its command line.
    Docker,
    /// The program `kind`.
    Kind,
    /// The programs of this workspace, built where `meshproof` looks for them.
    Programs,
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UserNamespaces => "user namespaces",
            Self::Nft => "nft",
            Self::Envoy => "Envoy",
            Self::Kubectl => "kubectl",
            Self::Openssl => "openssl",
            Self::Browser => "a browser",
            Self::Docker => "Docker",
            Self::Kind => "kind",
            Self::Programs => "the built programs",
        })
    }
}

impl Capability {
    /// `Ok` where the machine has it, otherwise one sentence that says what is missing.
    ///
    /// # Errors
    /// The reason, fit for a table of skipped tests.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::UserNamespaces => user_namespaces(),
            Self::Nft => runs("nft", &["--version"]),
            Self::Envoy => envoy().map(|_| ()),
            Self::Kubectl => runs("kubectl", &["version", "--client"]),
            Self::Openssl => runs("openssl", &["version"]),
            Self::Browser => browser().map(|_| ()),
            Self::Docker => runs("docker", &["version"]),
            Self::Kind => runs("kind", &["version"]),
            Self::Programs => programs().map(|_| ()),
        }
    }
}

/// Path of the Envoy binary that tests use.
///
/// # Errors
/// A sentence, where there is none.
pub fn envoy() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("MESHPROOF_ENVOY") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(format!("MESHPROOF_ENVOY names {}, which is not a file", path.display()))
        };
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&directories)
        .map(|directory| directory.join("envoy"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            "no Envoy: neither MESHPROOF_ENVOY nor `envoy` on PATH (`cargo xtask test` provides one)".to_owned()
        })
}

/// Name of the browser program that tests use.
///
/// # Errors
/// A sentence, where there is none.
pub fn browser() -> Result<&'static str, String> {
    let found =
        ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| runs(name, &["--version"]).is_ok());
    found.ok_or_else(|| "neither `chromium` nor `google-chrome` on PATH".to_owned())
}

/// Folder of the programs of this workspace: a test program lies in a folder below it.
///
/// # Errors
/// A sentence, where one of them is missing.
pub fn programs() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| format!("cannot tell where this test lies: {error}"))?;
    let folder = test.parent().and_then(Path::parent).ok_or("this test lies nowhere")?;
    let needed =
        ["meshproof", "meshproof-substrate", "meshproof-machine-init", "pilot-discovery", "pilot-agent", "bookinfo"];
    let missing = needed.into_iter().find(|name| !folder.join(name).is_file());
    match missing {
        Some(name) => Err(format!("{} is not built; `cargo xtask test` builds it", folder.join(name).display())),
        None => Ok(folder.to_owned()),
    }
}

fn user_namespaces() -> Result<(), String> {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start `unshare`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("namespaces are refused: {}", text.trim()))
}

fn runs(program: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            let why = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
            Err(format!("`{program}` ends with {}{why}", output.status))
        }
        Err(error) => Err(format!("cannot start `{program}`: {error}")),
    }
}

/// Decides whether a test goes on: `true` where the machine has the capability. Otherwise records the skip and
/// returns `false`. Used through [`require!`].
///
/// # Panics
/// Where the capability is missing and `MESHPROOF_REQUIRE=all` forbids to skip.
#[must_use]
pub fn met(capability: Capability, test: &str) -> bool {
    let Err(reason) = capability.check() else { return true };
    assert!(
        std::env::var("MESHPROOF_REQUIRE").as_deref() != Ok("all"),
        "{test} needs {capability} and MESHPROOF_REQUIRE=all forbids to skip it: {reason}"
    );
    record(test, capability, &reason);
    false
}

/// One line per skipped test, `test <tab> capability <tab> reason`, appended to the file that `MESHPROOF_SKIPS` names
/// (from which `cargo xtask test` prints its table), and to standard error.
fn record(test: &str, capability: Capability, reason: &str) {
    let reason = reason.replace(['\n', '\t'], " ");
    eprintln!("skipped: {test}: needs {capability}: {reason}");
    let Some(path) = std::env::var_os("MESHPROOF_SKIPS") else { return };
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(format!("{test}\t{capability}\t{reason}\n").as_bytes()));
    if let Err(error) = written {
        eprintln!("the skip could not be recorded: {error}");
    }
}

/// Leaves the test, recorded as skipped with its reason, where the machine lacks the capability.
///
/// ```
/// use requirements::{require, Capability};
/// fn test() {
///     require!(Capability::Nft);
///     // … what needs nft
/// }
/// test();
/// ```
#[macro_export]
macro_rules! require {
    ($capability:expr) => {
        if !$crate::met($capability, ::std::thread::current().name().unwrap_or(module_path!())) {
            return;
        }
    };
    ($capability:expr, $value:expr) => {
        if !$crate::met($capability, ::std::thread::current().name().unwrap_or(module_path!())) {
            return $value;
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_gives_its_own_reason() {
        assert_eq!(runs("sh", &["-c", "exit 0"]), Ok(()));
        let failed = runs("sh", &["-c", "echo first >&2; echo 'nobody answers' >&2; exit 3"]);
        assert_eq!(failed, Err("`sh` ends with exit status: 3: nobody answers".to_owned()));
        assert!(runs("no-such-program", &[]).unwrap_err().starts_with("cannot start `no-such-program`"));
    }
}
