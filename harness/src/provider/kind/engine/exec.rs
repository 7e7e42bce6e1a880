//! Commands: in a container, and in the network of one.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use futures::TryStreamExt as _;

use super::{Engine, Error, refused};

/// Between two looks at a command whose output has ended.
const LOOK: Duration = Duration::from_millis(20);
/// So often one looks.
const LOOKS: u32 = 250;
/// In place of an exit code that Docker does not tell: what nobody knows to have worked has not.
const UNKNOWN: i64 = -1;

impl Engine {
    /// Runs a program of an image once, in the network of a container that runs, and returns what it wrote.
    ///
    /// # Errors
    /// [`Error::Docker`], and [`Error::Command`] where it fails.
    pub async fn run_in_network_of(&self, container: &str, image: &str, command: &[&str]) -> Result<String, Error> {
        let name = format!("{container}-helper");
        let host = HostConfig {
            network_mode: Some(format!("container:{container}")),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(vec!["NET_ADMIN".to_owned()]),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            labels: Some(self.labels()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        // That of a run that was killed has the name.
        self.remove_container(&name).await?;
        self.create(&name, body).await?;
        let done = self.run_created(&name, container, command).await;
        self.remove_container(&name).await?;
        done
    }

    async fn run_created(&self, name: &str, container: &str, command: &[&str]) -> Result<String, Error> {
        let action = || format!("run `{}` in the network of {container}", command.join(" "));
        self.start_again(name).await?;
        let ended = self.docker().await?.wait_container(name, None::<WaitContainerOptions>).try_next().await;
        let code = match ended {
            Ok(ended) => ended.map_or(UNKNOWN, |ended| ended.status_code),
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => code,
            Err(source) => return Err(refused(action())(source)),
        };
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let logs: Vec<LogOutput> =
            self.docker().await?.logs(name, Some(options)).try_collect().await.map_err(refused(action()))?;
        result(container, command, code, said(&logs))
    }

    /// Runs a command in a container and returns what it wrote.
    ///
    /// # Errors
    /// [`Error::Docker`], and [`Error::Command`] where it fails.
    pub async fn exec(&self, container: &str, command: &[&str]) -> Result<String, Error> {
        let action = || format!("run `{}` in container {container}", command.join(" "));
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker().await?.create_exec(container, options).await.map_err(refused(action()))?;
        let started = self.docker().await?.start_exec(&exec.id, None).await.map_err(refused(action()))?;
        let logs: Vec<LogOutput> = match started {
            StartExecResults::Attached { output, .. } => output.try_collect().await.map_err(refused(action()))?,
            StartExecResults::Detached => Vec::new(),
        };
        result(container, command, self.exit_code(&exec.id).await, said(&logs))
    }

    /// The exit code of a command whose output has ended: Docker may tell it a moment later.
    async fn exit_code(&self, exec: &str) -> i64 {
        let mut look = tokio::time::interval(LOOK);
        for _ in 0..LOOKS {
            look.tick().await;
            let Ok(docker) = self.docker().await else { break };
            if let Ok(Some(code)) = docker.inspect_exec(exec).await.map(|told| told.exit_code) {
                return code;
            }
        }
        UNKNOWN
    }
}

fn said(logs: &[LogOutput]) -> (String, String) {
    let mut said = (String::new(), String::new());
    for part in logs {
        match part {
            LogOutput::StdErr { message } => said.1.push_str(&String::from_utf8_lossy(message)),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                said.0.push_str(&String::from_utf8_lossy(message));
            }
            LogOutput::StdIn { .. } => {}
        }
    }
    said
}

fn result(container: &str, command: &[&str], code: i64, said: (String, String)) -> Result<String, Error> {
    let (out, complaint) = said;
    if code == 0 {
        return Ok(out);
    }
    let said = if complaint.trim().is_empty() { out } else { complaint };
    Err(Error::Command {
        container: container.to_owned(),
        command: command.join(" "),
        code,
        said: said.trim().to_owned(),
    })
}
