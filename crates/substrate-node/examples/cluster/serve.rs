//! A server that probes can ask: HTTP/1, and the gRPC health service over HTTP/2, on one port.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};

/// While this file exists, the server says that it is not well.
const SICK: &str = "/tmp/sick";

/// `PORT [ADDRESS]`.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let port: u16 = arguments.first().ok_or("a port is needed")?.parse()?;
    let address = arguments.get(1).map_or(Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), |text| text.parse())?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let router = Router::new()
            .route("/", get(|| async { "hello\n" }))
            .route("/health", get(health))
            .route("/grpc.health.v1.Health/Check", post(grpc_health));
        let listener = tokio::net::TcpListener::bind((address, port)).await?;
        println!("listening");
        axum::serve(listener, router).await?;
        Ok(())
    })
}

fn is_sick() -> bool {
    Path::new(SICK).exists()
}

async fn health() -> StatusCode {
    if is_sick() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

async fn grpc_health() -> impl IntoResponse {
    let status = if is_sick() { 2 } else { 1 };
    ([(header::CONTENT_TYPE, "application/grpc")], vec![0, 0, 0, 0, 2, 0x08, status])
}
