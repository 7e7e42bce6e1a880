//! The real kubectl, and transcripts of what it says.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::redact::redact;
use crate::world::World;

/// kubectl with a home of its own, so that nothing of the user's is read or written.
pub(crate) struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
    transcript: String,
}

impl Kubectl {
    /// The administrator of a cluster.
    pub(crate) fn new(world: &World, cluster: usize) -> Kubectl {
        let home = world.directory.path().join("home");
        Kubectl { kubeconfig: world.kubeconfig(cluster), home, transcript: String::new() }
    }

    /// The bearer of a token, at the same cluster.
    pub(crate) fn with_token(&self, token: &str) -> Kubectl {
        let mut config: serde_json::Value =
            serde_json::from_str(&self.ok(&["config", "view", "--raw", "-o", "json"])).unwrap();
        config["users"][0]["user"] = serde_json::json!({ "token": token });
        let kubeconfig = self.home.join("token.json");
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Kubectl { kubeconfig, home: self.home.clone(), transcript: String::new() }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        std::fs::create_dir_all(&self.home).unwrap();
        let mut command = self.command(arguments);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        finish(child, input)
    }

    /// A command that is ready to be spawned.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(arguments);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home).env("TMPDIR", &self.home);
        command
    }

    /// Runs a command that must succeed; its output.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, "");
        assert_eq!(output.code, 0, "kubectl {arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Applies a manifest, which must succeed.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        let output = self.run(&["apply", "-f", "-"], manifest);
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    }

    /// Runs a command line, split at spaces, and adds it and all that it says to the transcript.
    pub(crate) fn show(&mut self, line: &str) {
        self.show_with(line, "");
    }

    /// As [`Kubectl::show`], with standard input.
    pub(crate) fn show_with(&mut self, line: &str, input: &str) {
        let arguments: Vec<&str> = line.split(' ').collect();
        self.show_arguments(&arguments, input);
    }

    /// As [`Kubectl::show`], for arguments that hold spaces.
    pub(crate) fn show_arguments(&mut self, arguments: &[&str], input: &str) {
        let output = self.run(arguments, input);
        write!(self.transcript, "$ kubectl {}\n{}{}", arguments.join(" "), output.stdout, output.stderr).unwrap();
        if output.code != 0 {
            writeln!(self.transcript, "[exit {}]", output.code).unwrap();
        }
        self.transcript.push('\n');
    }

    /// All that was shown, without what differs from run to run.
    pub(crate) fn transcript(&self) -> String {
        redact(&self.transcript)
    }
}

/// What a command left.
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn finish(mut child: std::process::Child, input: &str) -> Output {
    // A command may end without reading; that shows in its exit code.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}
