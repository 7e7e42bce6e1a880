//! `pilot-agent`: the command line of the agent.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use agent::capture::{self, Capture, Selection};
use agent::dns::ResolvConf;
use agent::settings::{Role, Settings};
use agent::{http_client, proxy, vm};
use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Runs an Envoy proxy of a mesh and everything it needs beside it.
#[derive(Parser)]
#[command(name = "pilot-agent", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy until it is asked to end.
    Proxy {
        /// What the proxy is for.
        role: RoleArgument,
        /// DNS domain of the pod's namespace.
        #[arg(long)]
        domain: Option<String>,
        /// Envoy's log level.
        #[arg(long = "proxyLogLevel", alias = "proxy-log-level")]
        proxy_log_level: Option<String>,
    },
    /// Run the proxy of a virtual machine: capture its traffic and serve it, by the files that onboarding generated.
    Vm {
        /// Where those files are: the machine's root.
        #[arg(long, default_value = "/")]
        root: PathBuf,
        /// Leave the rules for capture to somebody else, as ISTIO_CUSTOM_IP_TABLES=true does.
        #[arg(long)]
        no_capture: bool,
    },
    /// Ask Envoy's admin interface.
    Request {
        /// HTTP method.
        #[arg(value_parser = ["GET", "POST"])]
        method: String,
        /// Path, with or without the leading slash.
        path: String,
        /// Port of the admin interface.
        #[arg(long, default_value_t = 15000)]
        port: u16,
    },
    /// Lead the pod's traffic through its proxy.
    IstioIptables(CaptureArguments),
    /// Wait until the proxy is ready.
    Wait {
        /// Seconds to wait at most.
        #[arg(long = "timeoutSeconds", alias = "timeout-seconds", default_value_t = 60)]
        timeout_seconds: u64,
        /// Milliseconds between two looks.
        #[arg(long = "periodMillis", alias = "period-millis", default_value_t = 50)]
        period_millis: u64,
        /// What to ask.
        #[arg(long, default_value = "http://localhost:15021/healthz/ready")]
        url: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArgument {
    /// Beside an application.
    Sidecar,
    /// A gateway.
    Router,
}

/// Flags of `istio-iptables` without its user and group: the proxy is known by its socket mark.
#[derive(Args)]
struct CaptureArguments {
    /// Port that takes outbound connections.
    #[arg(short = 'p', long, default_value_t = 15001)]
    envoy_port: u16,
    /// Port that takes inbound connections.
    #[arg(short = 'z', long, default_value_t = 15006)]
    inbound_capture_port: u16,
    /// How connections are led to the proxy.
    #[arg(short = 'm', long, default_value = "REDIRECT", value_parser = ["REDIRECT"])]
    istio_inbound_interception_mode: String,
    /// IPv4 ranges captured on the way out, `*` for all.
    #[arg(short = 'i', long, default_value = "*")]
    istio_service_cidr: String,
    /// IPv4 ranges not captured on the way out.
    #[arg(short = 'x', long, default_value = "")]
    istio_service_exclude_cidr: String,
    /// Ports captured on the way in, `*` for all.
    #[arg(short = 'b', long, default_value = "*")]
    istio_inbound_ports: String,
    /// Ports not captured on the way in.
    #[arg(short = 'd', long, default_value = "15090,15021,15020")]
    istio_local_exclude_ports: String,
    /// Ports captured on the way out whatever the range, `*` for all.
    #[arg(short = 'q', long, default_value = "")]
    istio_outbound_ports: String,
    /// Ports not captured on the way out.
    #[arg(short = 'o', long, default_value = "")]
    istio_local_outbound_ports_exclude: String,
    /// Lead DNS queries to the pod's resolvers to the agent.
    #[arg(long)]
    redirect_dns: bool,
    /// Lead all DNS queries to the agent, whoever they are for.
    #[arg(long)]
    capture_all_dns: bool,
    /// Print the rules and leave the pod as it is.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove the rules.
    #[arg(long)]
    cleanup_only: bool,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("AGENT_LOG").unwrap_or_else(|_unset| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("pilot-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<i32> {
    match command {
        Command::Proxy { role, domain, proxy_log_level } => run_proxy(role, domain, proxy_log_level),
        Command::Vm { root, no_capture } => run_machine(&root, no_capture),
        Command::Request { method, path, port } => runtime()?.block_on(request(&method, &path, port)),
        Command::IstioIptables(arguments) => run_capture(&arguments),
        Command::Wait { timeout_seconds, period_millis, url } => {
            runtime()?.block_on(wait(Duration::from_secs(timeout_seconds), Duration::from_millis(period_millis), &url))
        }
    }
}

/// One thread: the agent moves little and must be small.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

fn run_proxy(role: RoleArgument, domain: Option<String>, proxy_log_level: Option<String>) -> anyhow::Result<i32> {
    let role = match role {
        RoleArgument::Sidecar => Role::Sidecar,
        RoleArgument::Router => Role::Router,
    };
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let mut settings = Settings::from_environment(role, domain, &environment)?;
    if let Some(level) = proxy_log_level {
        settings.log_level = level;
    }
    serve(settings)
}

/// What a service of the machine does: the rules first, so that nothing passes by, then the proxy. The rules stay when
/// it ends: what they capture then finds nobody.
fn run_machine(root: &Path, no_capture: bool) -> anyhow::Result<i32> {
    let variables = vm::environment(root, std::env::vars().collect())?;
    let mut settings = Settings::from_environment(Role::Sidecar, None, &variables)?;
    settings.paths = settings.paths.below(root);
    let custom = variables.get("ISTIO_CUSTOM_IP_TABLES").is_some_and(|value| value == "true");
    if !no_capture && !custom {
        let rules = vm::environment::captured(&variables, settings.captures_dns, resolvers())?;
        capture::apply(&capture::ruleset(&rules))?;
        tracing::info!("capture rules are in place");
    }
    serve(settings)
}

fn serve(settings: Settings) -> anyhow::Result<i32> {
    // A second provider cannot be installed; the first is the same one.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    Ok(runtime()?.block_on(proxy::run(settings))?)
}

async fn request(method: &str, path: &str, port: u16) -> anyhow::Result<i32> {
    let answer = http_client::local(method.parse()?, port, path, Duration::from_secs(60)).await?;
    std::io::stdout().write_all(answer.body())?;
    if !answer.status().is_success() {
        bail!("Envoy answered {} to {method} {path}", answer.status());
    }
    Ok(0)
}

fn run_capture(arguments: &CaptureArguments) -> anyhow::Result<i32> {
    let rules = if arguments.cleanup_only { capture::cleanup() } else { capture::ruleset(&wanted(arguments)?) };
    if arguments.dry_run {
        print!("{rules}");
        return Ok(0);
    }
    capture::apply(&rules)?;
    tracing::info!(%rules, "capture rules are in place");
    Ok(0)
}

fn wanted(arguments: &CaptureArguments) -> anyhow::Result<Capture> {
    Ok(Capture {
        outbound_port: arguments.envoy_port,
        inbound_port: arguments.inbound_capture_port,
        include_outbound_cidrs: capture::parse_cidrs(&arguments.istio_service_cidr)?,
        exclude_outbound_cidrs: listed(capture::parse_cidrs(&arguments.istio_service_exclude_cidr)?)?,
        include_outbound_ports: capture::parse_ports(&arguments.istio_outbound_ports)?,
        exclude_outbound_ports: listed(capture::parse_ports(&arguments.istio_local_outbound_ports_exclude)?)?,
        include_inbound_ports: capture::parse_ports(&arguments.istio_inbound_ports)?,
        exclude_inbound_ports: listed(capture::parse_ports(&arguments.istio_local_exclude_ports)?)?,
        dns_servers: match (arguments.capture_all_dns, arguments.redirect_dns) {
            (true, _) => Selection::All,
            (false, true) => Selection::Only(resolvers()),
            (false, false) => Selection::Only(Vec::new()),
        },
    })
}

/// The pod's resolvers; the rules know IPv4 alone.
fn resolvers() -> Vec<String> {
    ResolvConf::read().servers.iter().filter(|server| server.is_ipv4()).map(ToString::to_string).collect()
}

fn listed(selection: Selection) -> anyhow::Result<Vec<String>> {
    match selection {
        Selection::Only(items) => Ok(items),
        Selection::All => bail!("an exclusion must be a list; to capture nothing, leave the inclusion empty"),
    }
}

async fn wait(deadline: Duration, every: Duration, url: &str) -> anyhow::Result<i32> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
    let port = uri.port_u16().unwrap_or(80);
    if !matches!(uri.host(), Some("localhost" | "127.0.0.1")) {
        bail!("{url:?}: only the pod itself is asked");
    }
    eventually::poll("the proxy to be ready", deadline, every, async || {
        let answer = http_client::local(http::Method::GET, port, uri.path(), Duration::from_secs(1)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(String::from_utf8_lossy(answer.body()).into_owned()) }
    })
    .await?;
    Ok(0)
}
