//! The process that makes containers, plugs links into them, and removes them when the world has ended.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use docker_support::bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use docker_support::bollard::query_parameters::{CreateContainerOptions, InspectContainerOptions};
use docker_support::{Engine, Error, Lease, labels};
use nix::unistd::setsid;
use substrate_config::machine::{MACHINE_INIT, UserDefinedNetwork};

use super::{Answer, ROLE, Request, ShimConfig, network};
use crate::fabric::{self, Cable};
use crate::message;

/// How long removing may take once the world has ended: an engine that is down may come up again.
const REMOVAL: Duration = Duration::from_secs(60);
/// Between two tries.
const STEP: Duration = Duration::from_millis(250);
/// What a host needs besides the capabilities of its programs: to take them from those that have none.
const OWN_CAPABILITY: &str = "SETPCAP";
/// What programs of a host may ask for. All are about its own network only.
const ALLOWED: [&str; 3] = ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"];

/// Looks after containers if this process was started for that, and then never returns. Must be called before any thread
/// exists.
pub fn maybe_shim() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(ROLE) {
        return;
    }
    let config = arguments.next().unwrap_or_default();
    let code = match serde_json::from_str(&config).map_err(io::Error::from).and_then(serve) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{ROLE}: {error}");
            1
        }
    };
    std::process::exit(code);
}

struct Process {
    config: ShimConfig,
    lease: Lease,
    runtime: tokio::runtime::Runtime,
    engine: Option<Engine>,
}

fn serve(config: ShimConfig) -> io::Result<()> {
    // What ends the world by its group, as a runner may, must not end this, nor a terminal that is closed.
    setsid()?;
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut process = Process { config, lease: Lease::own()?, runtime, engine: None };
    // Whatever goes wrong with the world is its end.
    while let Ok(Some((text, descriptor))) = message::receive(&control) {
        let answer = match serde_json::from_slice(&text) {
            Ok(request) => process.answer(request, descriptor),
            Err(error) => Answer::Refused { message: error.to_string(), cure: String::new() },
        };
        if message::send(&control, &serde_json::to_vec(&answer)?, None).is_err() {
            break;
        }
    }
    process.remove_patiently()
}

impl Process {
    fn answer(&mut self, request: Request, descriptor: Option<OwnedFd>) -> Answer {
        let done = match request {
            Request::Create { machine, image, capabilities, network } => self
                .create(&machine, &image, &capabilities, network.as_ref())
                .map(|container| Answer::Created { container }),
            Request::Plug { container, cable } => self.plug(&container, &cable, descriptor).map(|()| Answer::Done),
            Request::Remove => self.remove().map(|()| Answer::Done),
        };
        done.unwrap_or_else(|error| Answer::Refused { message: error.to_string(), cure: error.cure() })
    }

    fn engine(&mut self) -> Result<Engine, Error> {
        if let Some(engine) = &self.engine {
            return Ok(engine.clone());
        }
        let engine = self.runtime.block_on(Engine::connect(&self.config.socket))?;
        Ok(self.engine.insert(engine).clone())
    }

    fn create(
        &mut self,
        machine: &str,
        image: &str,
        capabilities: &[String],
        network: Option<&UserDefinedNetwork>,
    ) -> Result<String, Error> {
        let engine = self.engine()?;
        let action = format!("create a container of {image}");
        if let Some(bad) = capabilities.iter().find(|name| !ALLOWED.contains(&name.as_str())) {
            let message = format!("capability {bad} is not given to a machine; there are {}", ALLOWED.join(", "));
            return Err(Error::refused(action)(io::Error::other(message).into()));
        }
        let ShimConfig { run_id, environment, .. } = &self.config;
        // Names are unique on an engine; runs are told apart by how their ids begin.
        let name = format!("meshproof-{environment}-{machine}-{}", run_id.chars().take(8).collect::<String>());
        let labels = labels::of(run_id, environment, &self.lease, machine);
        let mut body = container(machine, image, capabilities, labels.clone());
        let mut made = None;
        if let Some(network) = network {
            let id = self.runtime.block_on(network::create(&engine, &name, &labels))?;
            network::attach(&mut body, &id, network);
            made = Some(id);
        }
        let options = CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let created = self.runtime.block_on(engine.docker().create_container(Some(options), body));
        if let (Err(_), Some(network)) = (&created, made) {
            // It is the container's error that matters; what is left of the run is removed with the world at the latest.
            let _unremoved = self.runtime.block_on(engine.docker().remove_network(&network));
        }
        Ok(created.map_err(Error::refused(action))?.id)
    }

    /// Only into containers of this run, whatever the world says.
    fn plug(&mut self, container: &str, cable: &Cable, router: Option<OwnedFd>) -> Result<(), Error> {
        let engine = self.engine()?;
        let refuse = |error: io::Error| Error::refused("be plugged in")(error.into());
        let inspected = engine.docker().inspect_container(container, None::<InspectContainerOptions>);
        let found = self.runtime.block_on(inspected).map_err(Error::refused("inspect a container"))?;
        let label = found.config.and_then(|config| config.labels?.get(labels::RUN_ID).cloned());
        if label.as_ref() != Some(&self.config.run_id) {
            return Err(refuse(io::Error::other("the container is not of this run")));
        }
        let pid = found.state.and_then(|state| state.pid).filter(|pid| *pid > 0);
        let pid = pid.ok_or_else(|| refuse(io::Error::other("the container has ended; its log says why")))?;
        let router = router.ok_or_else(|| refuse(io::Error::other("no router was named")))?;
        let host = File::open(format!("/proc/{pid}/ns/net")).map_err(refuse)?;
        fabric::plug(cable, router, host.into()).map_err(refuse)
    }

    fn remove(&mut self) -> Result<(), Error> {
        let engine = self.engine()?;
        self.runtime.block_on(engine.remove_run(&self.config.run_id))
    }

    /// Whoever never made anything needs no engine.
    fn remove_patiently(mut self) -> io::Result<()> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        let run_id = self.config.run_id.clone();
        let removed = eventually::poll("containers to be removed", REMOVAL, STEP, async || {
            engine.remove_run(&run_id).await.map_err(|error| error.to_string())
        });
        self.runtime.block_on(removed).map_err(io::Error::other)
    }
}

/// What is made: nothing of the host is in it, nor any network, and it has few rights.
pub(super) fn container(
    machine: &str,
    image: &str,
    capabilities: &[String],
    labels: std::collections::HashMap<String, String>,
) -> ContainerCreateBody {
    let kept = capabilities.iter().cloned().chain([OWN_CAPABILITY.to_owned()]).collect();
    let options = [("max-size", "16m"), ("max-file", "1")];
    let log = HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(options.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
    };
    ContainerCreateBody {
        hostname: Some(machine.to_owned()),
        image: Some(image.to_owned()),
        entrypoint: Some(vec![MACHINE_INIT.to_owned()]),
        cmd: Some(Vec::new()),
        labels: Some(labels),
        attach_stdin: Some(true),
        open_stdin: Some(true),
        // Its end is the end of the machine: whoever holds it gives the power.
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(kept),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            log_config: Some(log),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gets_no_network_no_mount_and_few_rights() {
        let body = container("vm1", "image", &["NET_ADMIN".to_owned()], std::collections::HashMap::new());
        let body = serde_json::to_value(body).unwrap();
        let expected = serde_json::json!({
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN", "SETPCAP"],
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "16m", "max-file": "1"}},
        });
        assert_eq!(body["HostConfig"], expected);
        assert_eq!(body["Entrypoint"], serde_json::json!([MACHINE_INIT]));
        assert_eq!((&body["OpenStdin"], &body["StdinOnce"]), (&true.into(), &true.into()));
    }
}
