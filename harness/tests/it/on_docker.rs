//! What tests with containers of our own images have in common.

use std::panic::AssertUnwindSafe;

use camino::Utf8PathBuf;
use docker_support::Thing;
use futures::FutureExt as _;
use meshproof::image::{ours, replace};
use meshproof::provider::kind::engine::Engine;
use meshproof::provider::programs::Programs;

/// Answers HTTP, and can ask.
pub(crate) const ECHO: &str = "meshproof/echo:dev";
/// Two networks, with a cluster on each.
pub(crate) const TOPOLOGY: &str = "{apiVersion: meshproof.dev/v1alpha1, kind: Topology, name: t, provider: kind, networks: [{name: east}, {name: west}], \
                                   clusters: [{name: a, network: east}, {name: b, network: west}]}";

/// Does work with an engine that has the images of the router and of echo, and removes all that it has made, whatever an assertion
/// says. Returns what that was. The run's id is the environment's name, which no other process has: what carries it is removed.
pub(crate) async fn with_engine(environment: &str, work: impl AsyncFnOnce(&Engine)) -> Vec<Thing> {
    let engine = Engine::new(environment, environment);
    let folder = Utf8PathBuf::try_from(requirements::programs().expect("built")).expect("UTF-8");
    let wanted = |name: &str| name == ours::ROUTER || name == ECHO;
    let made = ours::some(&Programs::below(&folder, "none".into()), wanted).expect("made");
    let images: Vec<_> = made.into_iter().map(|one| one.image).collect();
    replace(engine.docker().await.expect("an engine"), &images).await.expect("loaded");
    let outcome = AssertUnwindSafe(work(&engine)).catch_unwind().await;
    let swept = engine.sweep().await.expect("swept");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    swept
}

/// How many of three requests from a container to an address are answered.
pub(crate) async fn answered(engine: &Engine, from: &str, to: std::net::Ipv4Addr, patience: &str) -> u64 {
    let url = format!("http://{to}:8080/");
    let ask = ["bookinfo", "probe", "run", "--url", &url, "--requests=3", "--connections=3", "--timeout", patience];
    let said = engine.exec(from, &ask).await.expect("asked");
    let report: serde_json::Value = serde_json::from_str(&said).expect("a report");
    report["answered"].as_u64().expect("a number")
}
