//! The agent of a virtual machine, by the files that onboarding generates.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use requirements::{Capability, require};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::control_plane::{self, ControlPlane, Seen, State, TOKEN};
use crate::support::{SOON, STEP, crypto, free_ports};

/// A machine's root with what it was given.
struct Machine {
    root: TempDir,
    control_plane: u16,
}

impl Machine {
    /// `probe` is what the WorkloadGroup says of the application.
    fn new(state: &State, probe: &serde_json::Value) -> Self {
        let [control_plane, admin, status, health, prometheus] = free_ports();
        let machine = Self { root: tempfile::tempdir().unwrap(), control_plane };
        let cluster = format!(
            "ISTIO_NAMESPACE='bookinfo'\nSERVICE_ACCOUNT='bookinfo-reviews'\nISTIO_SVC_IP='127.0.0.1'\nISTIO_SERVICE_CIDR='*'\nENVOY_STATUS_PORT='{health}'\nENVOY_PROMETHEUS_PORT='{prometheus}'\nSECRET_TTL='6s'\n"
        );
        let config = json!({"defaultConfig": {
            "discoveryAddress": format!("localhost:{control_plane}"),
            "binaryPath": requirements::envoy().unwrap(),
            "proxyAdminPort": admin,
            "statusPort": status,
            "terminationDrainDuration": "1s",
            "proxyMetadata": {"ISTIO_META_CLUSTER_ID": "cluster1", "ISTIO_META_AUTO_REGISTER_GROUP": "vms"},
            "readinessProbe": probe,
        }});
        machine.write("var/lib/istio/envoy/cluster.env", &cluster);
        // JSON is YAML, too.
        machine.write("etc/istio/config/mesh", &config.to_string());
        machine.write("etc/certs/root-cert.pem", &state.root.pem());
        machine.write("var/run/secrets/tokens/istio-token", TOKEN);
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilot-agent"));
        command.args(["vm", "--no-capture", "--root"]).arg(self.root.path());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join("etc/certs").join(name)
    }
}

async fn seen(state: &State, what: &str, holds: impl Fn(&Seen) -> bool) {
    let poll = async || {
        let seen = state.seen.lock().unwrap();
        let story = format!(
            "{} by token, {} by certificate, {} refused, health {:?}",
            seen.by_token, seen.by_certificate, seen.refused_calls, seen.health
        );
        if holds(&seen) { Ok(()) } else { Err(story) }
    };
    eventually::poll(what, SOON, STEP, poll).await.unwrap();
}

/// The same control plane after a restart; the one before gives its port back in its own time.
async fn restarted(port: u16, state: &Arc<State>) -> ControlPlane {
    let free = async || std::net::TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string());
    eventually::poll("the port to be free", SOON, STEP, free).await.unwrap();
    control_plane::start(port, state)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_token_is_for_the_first_certificate_only() {
    require!(Capability::Envoy);
    crypto();
    let state = State::new(Vec::new());
    let machine = Machine::new(&state, &json!({"exec": {"command": ["true"]}}));
    let control_plane = control_plane::start(machine.control_plane, &state);
    let mut agent = machine.start();
    seen(&state, "a certificate, and its renewal", |seen| seen.certificates >= 2 && seen.by_certificate >= 1).await;
    for name in ["key.pem", "cert-chain.pem"] {
        assert_eq!(mode(&machine.file(name)), 0o600, "{name}");
    }
    {
        let seen = state.seen.lock().unwrap();
        // The first certificate, and the stream where it was opened before that was there.
        assert!((1..=2).contains(&seen.by_token), "{} calls by token", seen.by_token);
        assert!(seen.node_id.starts_with("sidecar~127.0.0.1~"), "{}", seen.node_id);
    }
    agent.kill().await.unwrap();
    drop(control_plane);

    // After a reboot the certificate alone has to do: the token has long expired.
    machine.write("var/run/secrets/tokens/istio-token", "an-expired-token");
    let before = {
        let seen = state.seen.lock().unwrap();
        (seen.by_token, seen.refused_calls, seen.by_certificate)
    };
    let _control_plane = restarted(machine.control_plane, &state).await;
    let _agent = machine.start();
    seen(&state, "the stream by certificate", |seen| seen.by_certificate > before.2 && seen.streams >= 2).await;
    let seen = state.seen.lock().unwrap();
    assert_eq!((seen.by_token, seen.refused_calls), (before.0, before.1), "no token was shown again");
}

#[tokio::test]
async fn the_control_plane_hears_of_the_health_of_the_application() {
    require!(Capability::Envoy);
    crypto();
    let state = State::new(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let machine = Machine::new(&state, &json!({"tcpSocket": {"port": port}, "periodSeconds": 1}));
    let control_plane = control_plane::start(machine.control_plane, &state);
    let _agent = machine.start();
    seen(&state, "healthy", |seen| seen.health == [None]).await;
    drop(listener);
    seen(
        &state,
        "not healthy",
        |seen| matches!(&seen.health[..], [None, Some(reason)] if reason.contains("cannot connect")),
    )
    .await;
    // A control plane that was not there before hears of it, too.
    drop(control_plane);
    let _again = restarted(machine.control_plane, &state).await;
    seen(&state, "said again", |seen| seen.health.len() == 3 && seen.health[2].is_some()).await;
}

#[tokio::test]
async fn a_machine_without_its_files_says_which_and_ends() {
    require!(Capability::Envoy);
    crypto();
    let state = State::new(Vec::new());
    for (missing, words) in [
        ("etc/certs/root-cert.pem", "root-cert.pem"),
        ("etc/istio/config/mesh", "meshproof vm configure"),
        ("var/lib/istio/envoy/cluster.env", "cluster.env"),
    ] {
        let machine = Machine::new(&state, &json!({"exec": {"command": ["true"]}}));
        std::fs::remove_file(machine.root.path().join(missing)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pilot-agent"));
        command.args(["vm", "--no-capture", "--root"]).arg(machine.root.path()).kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(20), command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{missing}: {said}");
    }
}
