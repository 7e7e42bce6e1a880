//! Runs `nft` in the network namespace of the calling thread.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A started `nft -f -` that waits for its rules.
pub(crate) struct Installer(Child);

/// A started `nft -j list`.
pub(crate) struct Lister(Child);

/// The `nft` program: on `PATH`, else where distributions put it, since the `PATH` of an ordinary user often lacks
/// the system directories.
pub fn nft_program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join("nft")).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Starts `nft` as a child of the calling thread, and thereby in that thread's network namespace.
///
/// # Errors
/// `nft` is missing or cannot be started.
pub(crate) fn install_rules() -> io::Result<Installer> {
    let mut command = nft()?;
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map(Installer)
}

/// Starts `nft -j list` as a child of the calling thread, and thereby in that thread's network namespace.
///
/// # Errors
/// `nft` is missing or cannot be started.
pub(crate) fn list_rules(what: &[String]) -> io::Result<Lister> {
    let mut command = nft()?;
    command.args(["-j", "list"]).args(what);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map(Lister)
}

fn nft() -> io::Result<Command> {
    let missing = "the program `nft` is missing (Debian, Ubuntu, Fedora: package nftables)";
    nft_program().map(Command::new).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))
}

impl Lister {
    /// Waits for the end.
    ///
    /// # Errors
    /// What `nft` says against the question.
    pub(crate) async fn output(self) -> Result<Vec<u8>, String> {
        let outcome = tokio::task::spawn_blocking(move || self.0.wait_with_output()).await;
        let output = outcome.map_err(|error| error.to_string())?.map_err(|error| format!("nft: {error}"))?;
        if output.status.success() { Ok(output.stdout) } else { Err(complaint(&output)) }
    }
}

fn complaint(output: &Output) -> String {
    format!("nft: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}

impl Installer {
    /// Hands over the rules and waits for the end.
    ///
    /// # Errors
    /// What `nft` says against the rules.
    pub(crate) async fn finish(self, rules: String) -> Result<(), String> {
        let Self(mut child) = self;
        let wait = tokio::task::spawn_blocking(move || {
            let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(rules.as_bytes()));
            let output = child.wait_with_output()?;
            Ok((written, output))
        });
        let outcome: io::Result<_> = wait.await.map_err(|error| error.to_string())?;
        let (written, output) = outcome.map_err(|error| format!("nft: {error}"))?;
        if !output.status.success() {
            return Err(complaint(&output));
        }
        written.map_err(|error| format!("nft: {error}"))
    }
}
