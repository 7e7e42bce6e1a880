//! Finding and executing the container's program.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, execve};

use super::capabilities::{Kept, close_descriptors_on_exec};
use super::request::Control;
use super::setup;
use crate::runtime::DEFAULT_PATH;
use crate::runtime::helper::{Answer, Failure, Program};

/// Gives up capabilities and becomes the program.
pub(super) fn execute(program: &Program, control: &mut Control) -> Result<Infallible, Failure> {
    let kept = Kept::parse(&program.capabilities)?;
    let name = program.command.first().filter(|name| !name.is_empty()).ok_or(Failure::NoCommand)?;
    let directory = program.working_directory.as_deref().unwrap_or(Path::new("/"));
    chdir(directory).map_err(|error| Failure::WorkingDirectory {
        directory: directory.display().to_string(),
        message: error.desc().to_owned(),
    })?;
    let search = program.environment.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let path = find(name, search)?;
    let arguments = c_strings(program.command.iter().cloned())?;
    let environment = c_strings(program.environment.iter().map(|(name, value)| format!("{name}={value}")))?;
    let path = c_strings([path.to_string_lossy().into_owned()])?.remove(0);
    umask(Mode::from_bits_truncate(0o022));
    close_descriptors_on_exec().map_err(setup("the descriptors"))?;
    kept.give_up_others().map_err(setup("the capabilities"))?;
    control.answer(&Answer::Executing).map_err(setup("the answer to the supervisor"))?;
    match execve(&path, &arguments, &environment) {
        Ok(never) => Ok(never),
        Err(error) => Err(not_executable(name, error)),
    }
}

fn not_executable(program: &str, error: Errno) -> Failure {
    let message = match error {
        // The file was found a moment ago: it is its interpreter or loader that is missing.
        Errno::ENOENT => "no such file or directory (its interpreter or loader is missing)",
        Errno::ENOEXEC => "exec format error",
        Errno::EACCES => "permission denied",
        other => other.desc(),
    };
    Failure::NotExecutable { program: program.to_owned(), message: message.to_owned() }
}

/// The program's file: as given if there is a slash in it, else the first on the search path that can be executed.
fn find(program: &str, search: &str) -> Result<PathBuf, Failure> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match check(&path) {
            Some(true) => Ok(path),
            Some(false) => Err(not_executable(program, Errno::EACCES)),
            None => Err(Failure::CommandNotFound { program: program.to_owned() }),
        };
    }
    let mut refused = false;
    for directory in search.split(':').filter(|directory| !directory.is_empty()) {
        let path = Path::new(directory).join(program);
        match check(&path) {
            Some(true) => return Ok(path),
            Some(false) => refused = true,
            None => {}
        }
    }
    if refused {
        return Err(not_executable(program, Errno::EACCES));
    }
    Err(Failure::CommandNotFound { program: program.to_owned() })
}

/// Whether the file can be executed; `None` if there is no such file.
fn check(path: &Path) -> Option<bool> {
    let file = fs::metadata(path).ok()?;
    Some(file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn c_strings(texts: impl IntoIterator<Item = String>) -> Result<Vec<CString>, Failure> {
    texts.into_iter().map(|text| CString::new(text).map_err(setup("the command line and environment"))).collect()
}
