//! Authorization policies in front of an application, with a real Envoy and callers of several identities.

use std::sync::Arc;
use std::time::Duration;

use requirements::{Capability, require};

use crate::fixture::Fixture;
use crate::pod::{self, Answer, Authority, in_network_namespace};
use crate::running::{Secrets, World};
use crate::translate::BOOKINFO;

const ADDRESS: &str = "10.244.0.11";
/// A port that a service leads to, and one that none does.
const HTTP: u16 = 9080;
const OTHER: u16 = 7000;

struct Scene {
    world: World,
    friend: Secrets,
    stranger: Secrets,
}

impl Scene {
    async fn new() -> Self {
        pod::own(ADDRESS);
        pod::capture(ADDRESS, 15006);
        for port in [HTTP, OTHER] {
            pod::application(ADDRESS, port, Arc::new(|| (200, "hello".to_owned()))).await;
        }
        let authority = Authority::new();
        let secrets = |name: &str| authority.secrets(&format!("cluster.local/ns/bookinfo/sa/{name}"));
        let proxy = ("sidecar", "bookinfo", "productpage-v1");
        let mut world = World::start(&Fixture::read(&[BOOKINFO]), proxy, secrets("bookinfo-productpage"), false);
        world.converge("plain", &Fixture::read(&[BOOKINFO])).await;
        Self { world, friend: secrets("friend"), stranger: secrets("stranger") }
    }

    async fn apply(&mut self, what: &str, specs: &[(&str, &str)]) {
        let policies: Vec<String> = specs
            .iter()
            .map(|(name, spec)| {
                format!("kind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: bookinfo}}\nspec: {spec}\n")
            })
            .collect();
        let texts: Vec<&str> = std::iter::once(BOOKINFO).chain(policies.iter().map(String::as_str)).collect();
        self.world.converge(what, &Fixture::read(&texts)).await;
    }

    async fn friend(&self, method: &str, path: &str) -> Answer {
        pod::mutual(&self.friend, ADDRESS, HTTP, method, path).await
    }

    async fn stranger(&self, method: &str, path: &str) -> Answer {
        pod::mutual(&self.stranger, ADDRESS, HTTP, method, path).await
    }

    async fn counter(&self, name: &str) -> u64 {
        let stats = self.world.admin("/stats").await;
        let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {stats}")).parse().unwrap()
    }

    /// Waits for a line of the access log, which Envoy writes a moment later.
    async fn logged(&self, parts: &[&str]) {
        let look = async || {
            let output = self.world.output();
            let found = output.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            if found { Ok(()) } else { Err(output) }
        };
        let what = format!("a line with {parts:?}");
        eventually::poll(&what, Duration::from_secs(10), Duration::from_millis(20), look).await.unwrap();
    }
}

fn hello() -> Answer {
    Some((200, "hello".to_owned()))
}

fn refused() -> Answer {
    Some((403, "RBAC: access denied".to_owned()))
}

#[tokio::test]
async fn policies_decide_who_may_call_what() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("authorization_live::policies_decide_who_may_call_what") {
        return;
    }
    let mut scene = Scene::new().await;
    let plain = || pod::plain(ADDRESS, HTTP, "anybody");
    assert_eq!(
        (scene.friend("GET", "/").await, scene.stranger("GET", "/").await, plain().await),
        (hello(), hello(), hello())
    );

    let viewer = (
        "viewer",
        "{rules: [{from: [{source: {principals: [cluster.local/ns/bookinfo/sa/friend]}}], to: [{operation: {methods: [GET]}}]}]}",
    );
    scene.apply("an allowed caller", &[viewer]).await;
    assert_eq!(scene.friend("GET", "/").await, hello());
    assert_eq!(scene.friend("POST", "/").await, refused(), "another method");
    assert_eq!(scene.stranger("GET", "/").await, refused(), "another caller");
    assert_eq!(plain().await, refused(), "nobody in particular");
    scene
        .logged(&[
            "\"GET / HTTP/1.1\" 403",
            "rbac_access_denied_matched_policy[none]",
            "peer=\"spiffe://cluster.local/ns/bookinfo/sa/stranger\"",
        ])
        .await;

    let no_admin = ("no-admin", "{action: DENY, rules: [{to: [{operation: {paths: [\"/admin*\"]}}]}]}");
    scene.apply("a denied path", &[viewer, no_admin]).await;
    assert_eq!(scene.friend("GET", "/other").await, hello());
    assert_eq!(scene.friend("GET", "/admin/x").await, refused(), "denial comes before permission");
    scene
        .logged(&["/admin/x", "rbac_access_denied_matched_policy[ns[bookinfo]-policy[no-admin]-rule[0]]", "sa/friend"])
        .await;
    assert_eq!(scene.counter("http.inbound_0.0.0.0_9080.rbac.denied").await, 4);
    assert!(!scene.world.output().contains("\"GET /other "), "what is allowed is not logged: {}", scene.world.output());

    scene.apply("nobody", &[("nobody", "{}")]).await;
    assert_eq!((scene.friend("GET", "/").await, plain().await), (refused(), refused()));
    scene.apply("everybody", &[("everybody", "{rules: [{}]}")]).await;
    assert_eq!((scene.friend("GET", "/").await, plain().await), (hello(), hello()));

    // Control: without policies all of them are answered.
    scene.apply("no policy", &[]).await;
    assert_eq!(scene.friend("POST", "/admin/x").await, hello());
    assert_eq!((scene.stranger("GET", "/").await, plain().await), (hello(), hello()));
}

#[tokio::test]
async fn connections_without_requests_are_judged_too() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("authorization_live::connections_without_requests_are_judged_too") {
        return;
    }
    let mut scene = Scene::new().await;
    // With this protocol the server sees a TCP connection, on a port that no service has.
    let call = async |secrets: &Secrets| pod::mutual(secrets, ADDRESS, OTHER, "GET", "/").await;
    let friends = "from: [{source: {principals: [cluster.local/ns/bookinfo/sa/friend]}}]";
    scene.apply("friends", &[("friends", &format!("{{rules: [{{{friends}}}]}}"))]).await;
    assert_eq!((call(&scene.friend).await, call(&scene.stranger).await), (hello(), None));
    assert_eq!(scene.counter("tcp.rbac.denied").await, 1);
    let get = format!("{{rules: [{{{friends}, to: [{{operation: {{methods: [GET]}}}}]}}]}}");
    scene.apply("friends with a method", &[("friends", &get)]).await;
    assert_eq!(call(&scene.friend).await, None, "a rule about requests allows no connection");
    scene.apply("no policy", &[]).await;
    assert_eq!(call(&scene.stranger).await, hello());
}
