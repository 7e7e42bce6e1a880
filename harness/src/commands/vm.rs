//! `meshproof vm`: what virtual machines need to join a mesh.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::complain;
use crate::cli::vm::{Action, ConfigureArgs, VmArgs};
use crate::report::RunOutcome;
use crate::run::Interruption;
use crate::vm::istioctl::{self, Istioctl};
use crate::vm::{self, Error, Files};

pub(super) async fn run(args: &VmArgs) -> RunOutcome {
    let Action::Configure(args) = &args.action;
    let files = match args.istioctl() {
        Some(istioctl) => theirs(&istioctl, args).await,
        None => ours(args).await,
    };
    let files = match files {
        Ok(files) => files,
        Err(outcome) => return outcome,
    };
    match vm::configure::write(&args.output, &files) {
        Ok(()) => {
            println!("wrote cluster.env, mesh.yaml, root-cert.pem, istio-token and hosts to {}", args.output);
            eprintln!("note: istio-token lets whoever has it join the mesh for {} s", args.token_duration);
            RunOutcome::Passed
        }
        Err(error) => complain(&error, RunOutcome::WrongUsage),
    }
}

/// The files as this program generates them.
async fn ours(args: &ConfigureArgs) -> Result<Files, RunOutcome> {
    let client = client(args).await.map_err(|message| {
        eprintln!("error: {message}");
        RunOutcome::WrongUsage
    })?;
    vm::configure(&client, &args.wanted()).await.map_err(|error| match error {
        Error::Api { .. } => complain(&error, RunOutcome::EnvironmentFailed),
        error => complain(&error, RunOutcome::WrongUsage),
    })
}

/// The files as Istio's program generates them.
async fn theirs(istioctl: &Istioctl, args: &ConfigureArgs) -> Result<Files, RunOutcome> {
    let interruption = Interruption::listen().map_err(|error| complain(&error, RunOutcome::EnvironmentFailed))?;
    // In the folder that gets the token in any case: it is nobody else's to read.
    let wanted = args.wanted();
    tokio::select! {
        generated = istioctl.configure(&wanted, &args.output) => generated.map_err(|error| complain(&error, blame(&error))),
        () = interruption.token().cancelled() => Err(interruption.outcome().unwrap_or(RunOutcome::Interrupted)),
    }
}

/// Istio's program does not say whose fault it is that it refuses.
fn blame(error: &istioctl::Error) -> RunOutcome {
    match error {
        istioctl::Error::Start { .. } => RunOutcome::WrongUsage,
        istioctl::Error::Refused { .. } | istioctl::Error::Incomplete { .. } | istioctl::Error::Folder { .. } => {
            RunOutcome::EnvironmentFailed
        }
    }
}

async fn client(args: &ConfigureArgs) -> Result<Client, String> {
    // A second provider cannot be there in this program; the first call wins in any case.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = match &args.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(|error| format!("{path}: {error}"))?,
        None => Kubeconfig::read().map_err(|error| format!("no kubeconfig: {error}; give one by --kubeconfig"))?,
    };
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| error.to_string())?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| error.to_string())
}
