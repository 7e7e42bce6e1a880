//! Certificates and the time that they are good for, in front of a real Envoy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use requirements::{Capability, require};

use crate::fixture::Fixture;
use crate::pod::{self, Answer, Authority, Client, in_network_namespace};
use crate::running::World;
use crate::translate::BOOKINFO;

const ADDRESS: &str = "10.244.0.11";
const PORT: u16 = 9080;
const FRIEND: &str = "cluster.local/ns/bookinfo/sa/friend";
const HOUR: Duration = Duration::from_secs(3600);
/// Long enough for a few requests on a busy machine.
const SHORT: Duration = Duration::from_secs(4);

async fn call(client: &Client) -> Answer {
    client.call(ADDRESS, PORT, "GET", "/").await
}

/// How many sessions Envoy has resumed.
async fn resumed(world: &World) -> u64 {
    let stats = world.admin("/stats?filter=session_reused").await;
    stats.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn a_certificate_is_good_in_its_time_and_no_session_outlives_it() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("expiry_live::a_certificate_is_good_in_its_time_and_no_session_outlives_it") {
        return;
    }
    pod::own(ADDRESS);
    pod::capture(ADDRESS, 15006);
    pod::application(ADDRESS, PORT, Arc::new(|| (200, "hello".to_owned()))).await;
    let authority = Authority::new();
    let own = authority.secrets("cluster.local/ns/bookinfo/sa/bookinfo-productpage");
    let fixture = Fixture::read(&[BOOKINFO]);
    let mut world = World::start(&fixture, ("sidecar", "bookinfo", "productpage-v1"), own, false);
    world.converge("plain", &fixture).await;

    let hello = Some((200, "hello".to_owned()));
    let client = |from: SystemTime, until: SystemTime| Client::new(&authority.secrets_within(FRIEND, from, until));
    let now = SystemTime::now();
    assert_eq!(call(&client(now - HOUR, now + HOUR)).await, hello);
    assert_eq!(call(&client(now - 2 * HOUR, now - HOUR)).await, None, "expired");
    assert_eq!(call(&client(now + HOUR, now + 2 * HOUR)).await, None, "not valid yet");

    let end = SystemTime::now() + SHORT;
    let short = client(now - HOUR, end);
    assert_eq!((call(&short).await, call(&short).await), (hello.clone(), hello));
    // Certificates know seconds only.
    let expired = async || if SystemTime::now() > end + Duration::from_secs(1) { Ok(()) } else { Err("it is good") };
    eventually::poll("the certificate to expire", HOUR, Duration::from_millis(100), expired).await.unwrap();
    assert_eq!(call(&short).await, None, "expired since its client was verified");
    assert_eq!(resumed(&world).await, 0);
}
