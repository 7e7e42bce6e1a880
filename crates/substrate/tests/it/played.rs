//! What plays the machines of a test: namespaces of the world, or containers of an image with the shell of this machine.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::PROGRAM;

/// Programs that the tests of machines run.
const PROGRAMS: [&str; 9] = ["sh", "bash", "cat", "grep", "hostname", "ls", "sleep", "timeout", "tr"];
/// The engine of this machine.
pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// See the module. An image that was made is removed with this value.
pub(crate) struct Played {
    image: Option<String>,
}

impl Played {
    pub(crate) fn by_namespaces() -> Self {
        Self { image: None }
    }

    /// By containers. `test` makes the name of the image unique.
    pub(crate) fn by_docker(test: &str) -> Self {
        let init = Path::new(PROGRAM).with_file_name("meshproof-machine-init");
        Self { image: Some(image(test, &[(&init, "/usr/local/bin/meshproof-machine-init")])) }
    }

    /// By containers whose image lacks the program that has to be the first process.
    pub(crate) fn by_docker_without_init(test: &str) -> Self {
        Self { image: Some(image(test, &[])) }
    }

    pub(crate) fn runtime(&self) -> Value {
        match &self.image {
            Some(image) => json!({"kind": "docker", "image": image}),
            None => json!({"kind": "netns"}),
        }
    }

    /// A run id of its own for each test: containers are told apart by it.
    pub(crate) fn configure(&self, config: &mut Value) {
        if let Some(image) = &self.image {
            config["dockerSocket"] = json!(SOCKET);
            config["runId"] = json!(self.run_id().unwrap_or(image));
        }
    }

    pub(crate) fn run_id(&self) -> Option<&str> {
        self.image.as_deref().and_then(|image| image.rsplit(':').next())
    }

    /// Whether all of the disk outlives a reboot.
    pub(crate) fn keeps_all(&self) -> bool {
        self.image.is_some()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        if let Some(image) = &self.image {
            docker(&["image", "rm", "--force", image]);
        }
    }
}

/// What a command of the engine's own client prints.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Imports an image with programs of this machine, what they need, and more files at other paths.
fn image(test: &str, more: &[(&Path, &str)]) -> String {
    let name = format!("meshproof-test/{test}:{test}-{}", std::process::id());
    let programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| found(name)).collect();
    let mut files: BTreeSet<PathBuf> = programs.iter().flat_map(|program| needed(program)).collect();
    files.extend(more.iter().flat_map(|(program, _)| needed(program)));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--dereference", "--absolute-names", "--file=-"]);
    for (from, to) in more {
        tar.arg(format!("--transform=s|^{}$|{to}|", from.display()));
    }
    for (name, program) in PROGRAMS.iter().zip(&programs) {
        tar.arg(format!("--transform=s|^{}$|/bin/{name}|", program.display()));
    }
    tar.args(&programs).args(more.iter().map(|(from, _)| from)).args(files);
    let archive = tar.stdin(Stdio::null()).output().unwrap();
    assert!(archive.status.success(), "{}", String::from_utf8_lossy(&archive.stderr));
    let mut import = Command::new("docker")
        .args(["import", "-", &name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
    assert!(import.wait().unwrap().success());
    name
}

/// The file of a program, whatever links lead to it.
fn found(name: &str) -> PathBuf {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"];
    folders
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name}"))
}

/// Loader and libraries of a program, as the loader itself says.
fn needed(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
