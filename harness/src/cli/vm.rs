//! Definitions of `meshproof vm`.

use std::net::IpAddr;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use crate::vm::Wanted;
use crate::vm::configure::AUDIENCE;
use crate::vm::istioctl::Istioctl;

/// Options of `vm`.
#[derive(Debug, Args)]
pub struct VmArgs {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Write the files by which a virtual machine joins the mesh: cluster.env, mesh.yaml, root-cert.pem, istio-token, hosts
    #[command(
        after_help = "Examples:\n  meshproof vm configure --group details-vm -n bookinfo --cluster cluster1 -o vm1\n  meshproof vm configure -f group.yaml --cluster cluster1 --kubeconfig kubeconfig.yaml -o vm1"
    )]
    Configure(ConfigureArgs),
}

/// Options of `vm configure`.
#[derive(Debug, Args)]
pub struct ConfigureArgs {
    /// Name of the WorkloadGroup in the cluster
    #[arg(long, value_name = "NAME", required_unless_present = "file", default_value = "", hide_default_value = true)]
    pub group: String,
    /// A file with the WorkloadGroup instead
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "group")]
    pub file: Option<Utf8PathBuf>,
    /// Namespace of the WorkloadGroup
    #[arg(short = 'n', long, default_value = "default")]
    pub namespace: String,
    /// Id of the cluster, as its control plane has it
    #[arg(long)]
    pub cluster: String,
    /// Kubeconfig of the cluster; by default that of KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// Context of the kubeconfig; by default the current one
    #[arg(long)]
    pub context: Option<String>,
    /// Address at which the control plane is reached; by default that of --ingress-service
    #[arg(long, value_name = "ADDRESS")]
    pub ingress_address: Option<IpAddr>,
    /// Service at which the control plane is reached, NAME or NAME.NAMESPACE
    #[arg(long, value_name = "SERVICE", default_value = "istio-eastwestgateway")]
    pub ingress_service: String,
    /// Address that the machine is known by; by default its own first one
    #[arg(long)]
    pub address: Option<IpAddr>,
    /// Leave the WorkloadEntry to somebody else
    #[arg(long)]
    pub no_autoregister: bool,
    /// Leave DNS queries as they are
    #[arg(long)]
    pub no_capture_dns: bool,
    /// Service whose address the file `hosts` gets, NAME or NAME.NAMESPACE, for a machine that does not capture DNS; may be given several times
    #[arg(long = "host", value_name = "SERVICE")]
    pub hosts: Vec<String>,
    /// For how many seconds the token is good
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(i64).range(600..))]
    pub token_duration: i64,
    /// Let Istio's own program generate the files, for a mesh whose control plane is Istio's: `istioctl`, or the one that is named
    #[arg(
        long,
        value_name = "PROGRAM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "istioctl",
        conflicts_with = "hosts"
    )]
    pub istioctl: Option<Utf8PathBuf>,
    /// Folder for the files
    #[arg(short = 'o', long, value_name = "DIR")]
    pub output: Utf8PathBuf,
}

impl ConfigureArgs {
    /// The program of Istio's that generates the files, where one is to.
    #[must_use]
    pub fn istioctl(&self) -> Option<Istioctl> {
        let program = self.istioctl.clone()?;
        Some(Istioctl { program, kubeconfig: self.kubeconfig.clone(), context: self.context.clone() })
    }

    /// What is asked of the cluster.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            group_file: self.file.clone(),
            group: self.group.clone(),
            namespace: self.namespace.clone(),
            cluster: self.cluster.clone(),
            ingress_address: self.ingress_address,
            ingress_service: self.ingress_service.clone(),
            address: self.address,
            automatic_registration: !self.no_autoregister,
            capture_dns: !self.no_capture_dns,
            hosts: self.hosts.clone(),
            audience: AUDIENCE.to_owned(),
            token_seconds: self.token_duration,
        }
    }
}
