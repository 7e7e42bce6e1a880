//! Envoy as a child process: writes its bootstrap, starts it, translates how it ended.
#![expect(unsafe_code, reason = "the child must die with the agent, which takes a call between fork and exec")]

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::bootstrap;
use crate::node;
use crate::settings::Settings;

/// Why Envoy was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The bootstrap cannot be written.
    #[error("cannot write {path}: {source}")]
    Bootstrap {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start {program:?}: {source}; Envoy must be in the image's PATH or named by proxyConfig.binaryPath")]
    Program {
        /// What was tried.
        program: String,
        /// The cause.
        source: io::Error,
    },
}

/// A running Envoy.
pub struct Envoy {
    child: Child,
}

/// Writes the bootstrap for the pod's labels and annotations as the downward files give them.
///
/// # Errors
/// [`StartError::Bootstrap`].
pub fn write_bootstrap(settings: &Settings) -> Result<(), StartError> {
    let node = node::node(settings, &downward(&settings.paths.labels), &downward(&settings.paths.annotations));
    let path = settings.paths.bootstrap();
    let text = bootstrap::bootstrap(settings, &node).to_string();
    let written = std::fs::create_dir_all(&settings.paths.config).and_then(|()| std::fs::write(&path, text));
    written.map_err(|source| StartError::Bootstrap { path: path.display().to_string(), source })
}

/// A pod outside Kubernetes has no such files; it then has no labels.
fn downward(path: &Path) -> BTreeMap<String, String> {
    std::fs::read_to_string(path).map(|text| node::parse_downward_map(&text)).unwrap_or_default()
}

impl Envoy {
    /// Starts Envoy. Its log goes where the agent's goes.
    ///
    /// # Errors
    /// [`StartError::Program`].
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let mut command = Command::new(&settings.envoy);
        command.args(bootstrap::arguments(settings)).kill_on_drop(true);
        // SAFETY: the closure makes one system call and allocates nothing, as is required between fork and exec.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let child =
            command.spawn().map_err(|source| StartError::Program { program: settings.envoy.clone(), source })?;
        Ok(Self { child })
    }

    /// Waits for the end and returns the exit code that tells the same story: Envoy's own, or 128 plus the signal.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn wait(&mut self) -> io::Result<i32> {
        self.child.wait().await.map(exit_code)
    }

    /// Asks Envoy to end.
    ///
    /// # Errors
    /// The operating system's; none where Envoy has ended already.
    pub fn terminate(&self) -> io::Result<()> {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(io::Error::from)
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_or_a_signal_keeps_its_meaning() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
