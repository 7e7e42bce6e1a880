//! A pod's directory with what the kubelet would mount, and the agent started in it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::control_plane::{State, TOKEN};
use crate::support::{SOON, STEP, free_ports};
use agent::http_client;

pub(crate) struct Ports {
    pub(crate) control_plane: u16,
    pub(crate) listener: u16,
    pub(crate) admin: u16,
    pub(crate) status: u16,
    pub(crate) health: u16,
    pub(crate) prometheus: u16,
}

pub(crate) struct Pod {
    pub(crate) directory: TempDir,
    pub(crate) ports: Ports,
    role: &'static str,
    extra: Vec<(String, String)>,
}

impl Pod {
    pub(crate) fn new(role: &'static str, extra: &[(&str, &str)]) -> Self {
        let [control_plane, listener, admin, status, health, prometheus] = free_ports();
        Self {
            directory: tempfile::tempdir().unwrap(),
            ports: Ports { control_plane, listener, admin, status, health, prometheus },
            role,
            extra: extra.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    /// Writes what the kubelet would mount.
    pub(crate) fn mount(&self, state: &Arc<State>) {
        self.write("var/run/secrets/tokens/istio-token", TOKEN);
        self.write("var/run/secrets/istio/root-cert.pem", &state.root.pem());
        self.write("etc/istio/pod/labels", "app=\"reviews\"\nversion=\"v1\"\n");
        self.write("etc/istio/pod/annotations", "");
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, envoy: &Path) -> Command {
        let config = json!({"discoveryAddress": format!("localhost:{}", self.ports.control_plane), "binaryPath": envoy,
            "proxyAdminPort": self.ports.admin, "statusPort": self.ports.status, "terminationDrainDuration": "2s"});
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilot-agent"));
        command
            .args(["proxy", self.role])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("POD_NAME", "reviews-v1-0")
            .env("POD_NAMESPACE", "bookinfo")
            .env("INSTANCE_IP", "127.0.0.1")
            .env("SERVICE_ACCOUNT", "bookinfo-reviews")
            .env("ISTIO_META_CLUSTER_ID", "cluster1")
            .env("PROXY_CONFIG", config.to_string())
            .env("ENVOY_STATUS_PORT", self.ports.health.to_string())
            .env("ENVOY_PROMETHEUS_PORT", self.ports.prometheus.to_string())
            .envs(self.extra.iter().cloned())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts the agent.
    pub(crate) fn start(&self, envoy: &Path) -> Running {
        Running { child: self.command(envoy).spawn().unwrap() }
    }

    /// Status and body of a page on loopback.
    pub(crate) async fn page(&self, port: u16, path: &str) -> Result<(u16, String), String> {
        let answer = http_client::local(Method::GET, port, path, Duration::from_secs(2)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }

    /// Waits until the kubelet would call the proxy ready.
    pub(crate) async fn ready(&self) {
        let look = async || match self.page(self.ports.health, "/healthz/ready").await {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        eventually::poll("the proxy to be ready", SOON, STEP, look).await.unwrap();
    }
}

/// A started agent; ended with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), signal).unwrap();
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        tokio::time::timeout(SOON, self.child.wait()).await.expect("the agent ends").unwrap().code()
    }

    /// The process id of the agent's Envoy.
    pub(crate) fn envoy(&self) -> Pid {
        let id = self.child.id().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().expect("Envoy runs").parse().unwrap())
    }

    /// Memory of the agent in KiB that is no part of a file, and so is not shared with other agents.
    pub(crate) fn own_memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id().unwrap())).unwrap();
        let figure = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        figure("Anonymous")
    }
}
