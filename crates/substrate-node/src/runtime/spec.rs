//! What a container is started with, what it ends with, and what can go wrong between the two.
//!
//! Plain data: nothing here starts anything.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Everything that a container is started with. All paths on the host's side are as the supervisor sees them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Unique within the supervisor; used in messages only.
    pub id: String,
    /// Host name inside, and content of `/etc/hostname`.
    pub hostname: String,
    /// Files of the image: absolute path inside, to file on the host. Bound read-only.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Volumes, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
    /// Program and arguments. A program without a slash is looked up in `PATH` of `environment`.
    pub command: Vec<String>,
    /// The complete environment. Without `PATH`, [`DEFAULT_PATH`] is added.
    pub environment: Vec<(String, String)>,
    /// `/` where `None`.
    pub working_directory: Option<PathBuf>,
    /// Linux capabilities that the program keeps, as Kubernetes names them (`NET_ADMIN`). Usually empty.
    pub capabilities: Vec<String>,
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Content of `/etc/hosts`.
    pub hosts: String,
    /// `securityContext.readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// File for both output streams, in the CRI log format. Missing folders are created.
    pub log_file: PathBuf,
}

/// `PATH` of a container that sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One volume in a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path inside. Created where missing. Symbolic links are resolved as the container will resolve them.
    pub target: PathBuf,
    /// No write from inside.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// A file or directory of the supervisor's world.
    Bind(PathBuf),
    /// A part of a volume that containers may write to. Symbolic links are followed within the volume only.
    Part {
        /// The volume's directory.
        volume: PathBuf,
        /// Relative path of a file or directory in it, which exists.
        part: PathBuf,
    },
    /// A fresh tmpfs, private to the container.
    Tmpfs {
        /// Limit in bytes.
        size: Option<u64>,
    },
}

/// How a container or a command inside it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit code; 128 plus the signal's number where a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When the program was started.
    pub started_at: Timestamp,
    /// When its end was seen.
    pub finished_at: Timestamp,
}

/// A command to run inside a running container, with its environment, directory and capabilities.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Give the command a terminal; standard error then arrives on standard output.
    pub tty: bool,
    /// Connect standard input; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// Columns and rows of the terminal at its start.
    pub terminal_size: Option<(u16, u16)>,
}

/// A running command in a container. Dropping it closes its streams; the command is killed when `exit` is dropped.
pub struct ExecSession {
    /// Present if asked for. Dropping it is end of file for the command.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output; with a terminal, everything.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard error; `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Takes new terminal sizes (columns, rows); `None` without a terminal.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// Exit code; 128 plus the signal's number where a signal ended the command.
    pub exit: BoxFuture<'static, io::Result<i32>>,
}

/// A container or a command in it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command is empty.
    #[error("no command specified")]
    NoCommand,
    /// No such program.
    #[error("exec: {program:?}: {}", if program.contains('/') { "no such file or directory" } else { "executable file not found in $PATH" })]
    CommandNotFound {
        /// As given in the command.
        program: String,
    },
    /// The file exists and the kernel refuses to run it.
    #[error("exec: {program:?}: {message}")]
    NotExecutable {
        /// As given in the command.
        program: String,
        /// The kernel's words.
        message: String,
    },
    /// The working directory cannot be entered.
    #[error("chdir to cwd {directory:?}: {message}")]
    WorkingDirectory {
        /// As given.
        directory: String,
        /// The kernel's words.
        message: String,
    },
    /// A volume, a file of the image, or a part of the root could not be set up.
    #[error("cannot set up {what}: {message}")]
    Setup {
        /// What was being set up ("mount /usr/local/bin/bookinfo").
        what: String,
        /// The kernel's words.
        message: String,
    },
    /// The container has ended.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The start did not end in time; the process was killed.
    #[error("container start took longer than {:.0} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The supervisor could not start its helper.
    #[error("cannot start the container helper: {0}")]
    Helper(#[from] io::Error),
}

impl StartError {
    /// The reason that Kubernetes shows for it in a container's waiting state.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Setup { .. } | Self::Helper(_) | Self::TimedOut(_) => "CreateContainerError",
            _ => "RunContainerError",
        }
    }
}
