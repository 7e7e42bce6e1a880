//! The servers of the measurement: the sample application, and an Envoy that passes requests on to it or answers itself.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{paths, wait};

/// Running servers; ended when dropped.
pub(super) struct Servers {
    direct: u16,
    through: u16,
    itself: u16,
    processes: Vec<Child>,
    folder: PathBuf,
}

impl Servers {
    /// Starts them and waits until all listen.
    pub(super) fn start(bookinfo: &Path, envoy: &Path) -> anyhow::Result<Self> {
        let folder = paths::scratch()?.join(format!("load-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let [direct, through, itself] = free_ports()?;
        let mut servers = Self { direct, through, itself, processes: Vec::new(), folder };
        let mut application = Command::new(bookinfo);
        application.args(["echo", "--address=127.0.0.1", &format!("--port={direct}")]);
        servers.spawn("bookinfo", &mut application)?;
        let config = servers.folder.join("envoy.json");
        std::fs::write(&config, configuration(direct, through, itself).to_string())?;
        let mut proxy = Command::new(envoy);
        // One worker, so that one client thread and one server thread share two cores.
        proxy.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning", "-c"]).arg(config);
        servers.spawn("envoy", &mut proxy)?;
        for port in [direct, through, itself] {
            wait::until(Duration::from_secs(20), Duration::from_millis(20), || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            })
            .with_context(|| format!("nothing listens on port {port}: see {}", servers.folder.display()))?;
        }
        Ok(servers)
    }

    /// The ways that are measured.
    pub(super) fn ways(&self) -> [(&'static str, String); 3] {
        let url = |port| format!("http://127.0.0.1:{port}/health");
        [("direct", url(self.direct)), ("throughEnvoy", url(self.through)), ("envoyItself", url(self.itself))]
    }

    fn spawn(&mut self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let log = File::create(self.folder.join(format!("{name}.log")))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.processes.push(child.with_context(|| format!("cannot start {command:?}"))?);
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Ports that were free a moment ago.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener.and_then(|listener| listener.local_addr()).context("there is no free port")?.port();
    }
    Ok(ports)
}

/// Envoy's configuration: one listener that passes on, one that answers.
fn configuration(direct: u16, through: u16, itself: u16) -> Value {
    let passed_on = json!({ "match": { "prefix": "/" }, "route": { "cluster": "application" } });
    let answered = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": "Envoy is healthy" } },
    });
    json!({
        "static_resources": {
            "listeners": [listener("through", through, &passed_on), listener("itself", itself, &answered)],
            "clusters": [{
                "name": "application",
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {
                    "cluster_name": "application",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(direct) } }] }],
                },
            }],
        },
    })
}

fn listener(name: &str, port: u16, route: &Value) -> Value {
    json!({
        "name": name,
        "address": address(port),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        }] }],
    })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}
