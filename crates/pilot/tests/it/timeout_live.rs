//! How long a request may take, with a real Envoy.

use std::time::Duration;

use requirements::{Capability, require};
use tokio::net::TcpListener;

use crate::fixture::Fixture;
use crate::locality_live::{NEAR, PORT, VIRTUAL, WORLD};
use crate::pod::{self, in_network_namespace};
use crate::running::{Secrets, World};

const TIMEOUT: &str = "
kind: VirtualService
metadata: {name: backend, namespace: a}
spec: {hosts: [backend], http: [{route: [{destination: {host: backend}}], timeout: 200ms}]}
";

#[tokio::test]
async fn a_request_takes_no_longer_than_its_route_says() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("timeout_live::a_request_takes_no_longer_than_its_route_says") {
        return;
    }
    pod::capture(VIRTUAL, 15001);
    pod::own(VIRTUAL);
    pod::own(NEAR);
    // Takes every connection, and answers nothing.
    let silent = TcpListener::bind((NEAR, PORT)).await.unwrap();
    let mut held = Vec::new();
    tokio::spawn(async move {
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    // The rule makes the region of the caller the only one that is asked.
    let limited = Fixture::read(&[WORLD, crate::locality_live::OUTLIERS, TIMEOUT]);
    let mut world = World::start(&limited, ("sidecar", "a", "caller"), Secrets::self_signed(), false);
    world.converge("with a timeout", &limited).await;
    let asked = tokio::time::timeout(Duration::from_secs(5), pod::plain(VIRTUAL, PORT, "backend")).await;
    let (status, _) = asked.expect("an answer in time").expect("an answer");
    assert_eq!(status, 504);
}
