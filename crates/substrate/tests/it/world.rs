//! Starts worlds of two clusters as child processes, and ends them with the test.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_meshproof-substrate");

/// A configuration with two clusters on two networks that share their pod addresses.
pub(crate) fn config(state: &Path) -> Value {
    let cluster = |index: u8| {
        json!({
            "name": format!("cluster{index}"), "network": format!("network{index}"),
            "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/16",
            "nodeSubnet": format!("172.30.{index}.0/24"), "region": format!("region{index}"), "zone": "zone",
        })
    };
    json!({
        "name": "test", "runId": "test", "stateDirectory": state,
        "networks": [{"name": "network1"}, {"name": "network2"}],
        "clusters": [cluster(1), cluster(2)],
        // Every pod of these tests says what it runs; all it needs is the shell of the machine.
        "images": [{"image": "shell:*", "files": {}, "entrypoint": ["/bin/sh"]}],
        "exitOnStdinEof": true,
    })
}

/// A running supervisor. It ends with this value.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) process: Child,
    /// `state` of the event `ready`.
    pub(crate) state: Value,
    /// Clusters in the order in which they were announced.
    pub(crate) announced: Vec<String>,
    _stdout: BufReader<ChildStdout>,
}

impl World {
    /// Starts a world and waits until it is ready.
    pub(crate) fn start() -> World {
        World::start_with(|_| {})
    }

    /// The same with another configuration.
    pub(crate) fn start_with(change: impl FnOnce(&mut Value)) -> World {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let mut config = config(&state);
        change(&mut config);
        let mut process = spawn(directory.path(), &config.to_string());
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut announced = Vec::new();
        loop {
            let event = next_event(&mut stdout).expect("the world announces itself before it ends");
            match event["event"].as_str() {
                Some("clusterReady") => announced.push(event["cluster"].as_str().unwrap().to_owned()),
                Some("ready") => {
                    let state = event["state"].clone();
                    return World { directory, process, state, announced, _stdout: stdout };
                }
                _ => panic!("no world: {event}"),
            }
        }
    }

    pub(crate) fn kubeconfig(&self, cluster: usize) -> PathBuf {
        PathBuf::from(self.state["clusters"][cluster]["kubeconfig"].as_str().unwrap())
    }

    pub(crate) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait();
        if !std::thread::panicking() {
            status.expect("the supervisor is ours to wait for");
        }
    }
}

/// Starts the supervisor with the text of a configuration, written into `directory`.
pub(crate) fn spawn(directory: &Path, config: &str) -> Child {
    let file = directory.join("config.json");
    std::fs::write(&file, config).unwrap();
    run(&file)
}

/// Starts the supervisor with a configuration file.
pub(crate) fn run(config: &Path) -> Child {
    let mut command = Command::new(PROGRAM);
    command.arg("run").arg("--config").arg(config).env("MESHPROOF_LOG", "error");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The next line of a supervisor's output.
pub(crate) fn next_event(stdout: &mut impl std::io::BufRead) -> Option<Value> {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).ok()
}
