//! The command line: which part to play, and its options. Holds no behaviour of its own.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::identity::ServedBy;
use crate::line;
use crate::probe;
use crate::resolver;
use crate::server;
use crate::services::{self, reviews::ReviewsVersion};
use crate::storm;
use crate::streams::{self, First, Kind};

#[derive(Debug, Parser)]
#[command(name = "bookinfo", version, about = "The bookinfo sample applications and a probe client")]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The page with a book, its details and its reviews; as HTML and as JSON
    Productpage(ServiceArgs),
    /// What is known about a book
    Details(ServiceArgs),
    /// Reviews of a book: v1 without stars, v2 with black and v3 with red ones
    Reviews(ReviewsArgs),
    /// The stars that reviewers gave
    Ratings(ServiceArgs),
    /// Answers every request with what it saw of it, in many protocols
    Echo(EchoArgs),
    /// Lets a server of the same pod answer a share of its requests with errors, until standard input ends
    Storm(storm::StormArgs),
    /// A resolver of names that remembers what it was asked
    Resolver {
        #[command(subcommand)]
        command: resolver::Command,
    },
    /// A client that measures: closed and open loop, connection attempts
    Probe {
        #[command(subcommand)]
        command: Box<probe::Command>,
    },
}

#[derive(Debug, Args)]
struct ListenArgs {
    /// TCP port to listen on, for HTTP/1.1 and for HTTP/2 without TLS
    #[arg(long, default_value_t = 9080)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    address: IpAddr,
    /// Write one line for every request to standard output
    #[arg(long, env = "ACCESS_LOG")]
    access_log: bool,
}

#[derive(Debug, Args)]
struct ServiceArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Version that the answers report
    #[arg(long, default_value = "v1")]
    version: String,
}

#[derive(Debug, Args)]
struct ReviewsArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Which version of the service to be
    #[arg(long, value_enum, default_value_t = ReviewsVersion::V1)]
    version: ReviewsVersion,
}

#[derive(Debug, Args)]
struct EchoArgs {
    #[command(flatten)]
    service: ServiceArgs,
    /// More ports for HTTP, gRPC and WebSockets
    #[arg(long, value_name = "PORT")]
    also_http: Vec<u16>,
    /// Ports for lines over TCP
    #[arg(long, value_name = "PORT")]
    tcp: Vec<u16>,
    /// Ports for lines over TCP, on which the server speaks first
    #[arg(long, value_name = "PORT")]
    server_first: Vec<u16>,
    /// Ports for TLS: HTTP where the client asks for it by ALPN, else lines
    #[arg(long, value_name = "PORT", requires = "tls_certificate", requires = "tls_key")]
    tls: Vec<u16>,
    /// Certificate chain of the TLS ports, PEM
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    match run(cli.part) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bookinfo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    // A reader of the log that went away must not end a server.
    let format = tracing_subscriber::fmt().with_ansi(colours).with_target(false).log_internal_errors(false);
    format.with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// One thread is enough for a sample application, and keeps a pod small.
fn run(part: Part) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let code = runtime.block_on(run_part(part));
    // A read of standard input that nothing will ever answer must not hold the end up.
    runtime.shutdown_background();
    code
}

async fn run_part(part: Part) -> anyhow::Result<ExitCode> {
    let stop = server::stop_on_signal()?;
    let (listen, app, router) = match part {
        Part::Productpage(args) => {
            let app = app("productpage", &args.version, args.listen.access_log);
            (args.listen, app.clone(), services::productpage::router(app))
        }
        Part::Details(args) => {
            let app = app("details", &args.version, args.listen.access_log);
            (args.listen, app.clone(), services::details::router(app))
        }
        Part::Reviews(args) => {
            let name = args.version.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            let app = app("reviews", &name, args.listen.access_log);
            (args.listen, app.clone(), services::reviews::router(app, args.version))
        }
        Part::Ratings(args) => {
            let app = app("ratings", &args.version, args.listen.access_log);
            (args.listen, app.clone(), services::ratings::router(app))
        }
        Part::Echo(args) => {
            let app = app("echo", &args.service.version, args.service.listen.access_log);
            let router = services::echo::router(app.clone());
            listen_more(&args, &app, &router, &stop).await?;
            (args.service.listen, app, router)
        }
        Part::Storm(args) => return storm::main(args, stop).await,
        Part::Resolver { command } => return resolver::main(command, stop).await,
        Part::Probe { command } => return probe::main(*command, stop).await,
    };
    let listener = server::listen(SocketAddr::new(listen.address, listen.port)).await?;
    storm::listen(app.storm.clone(), listener.local_addr().context("cannot read the address of the listener")?.port())?;
    server::serve(listener, router, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Serves the ports that only echo has. A port that cannot be had ends the program: a part of echo would be none.
async fn listen_more(
    args: &EchoArgs,
    app: &services::App,
    router: &Router,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let address = args.service.listen.address;
    for port in &args.also_http {
        let listener = server::listen(SocketAddr::new(address, *port)).await?;
        tokio::spawn(server::serve(listener, router.clone(), stop.clone()));
    }
    let mut streams: Vec<(u16, Kind)> = args.tcp.iter().map(|port| (*port, Kind::Lines(First::Client))).collect();
    streams.extend(args.server_first.iter().map(|port| (*port, Kind::Lines(First::Server))));
    if let (Some(certificate), Some(key)) = (&args.tls_certificate, &args.tls_key) {
        let acceptor = streams::acceptor(certificate, key)?;
        streams.extend(args.tls.iter().map(|port| (*port, Kind::Tls(acceptor.clone(), router.clone()))));
    }
    let name: Arc<str> = line::server(&app.served_by).into();
    for (port, kind) in streams {
        let listener = server::listen(SocketAddr::new(address, port)).await?;
        tokio::spawn(streams::serve(listener, kind, Arc::clone(&name), stop.clone()));
    }
    Ok(())
}

fn app(service: &str, version: &str, access_log: bool) -> services::App {
    let lookup = |name: &str| std::env::var(name).ok();
    services::App::new(ServedBy::from_environment(service, version, lookup), lookup, access_log)
}
