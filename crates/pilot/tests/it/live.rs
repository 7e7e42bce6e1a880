//! A real Envoy takes everything over the wire: the whole start, then changes of every kind.

use requirements::{Capability, require};

use crate::entries::ENTRIES;
use crate::fixture::Fixture;
use crate::running::{Secrets, World};
use crate::telemetry::AGENT;
use crate::translate::{BOOKINFO, BREADTH, GATEWAYS, POLICY};

async fn accepts_everything(role: &str, namespace: &str, pod: &str) {
    let strict =
        "kind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n";
    let steps: [(&str, &[&str]); 8] = [
        ("plain", &[BOOKINFO, GATEWAYS]),
        ("shift", &[BOOKINFO, GATEWAYS, POLICY]),
        ("every field", &[BOOKINFO, GATEWAYS, BREADTH]),
        ("entries", &[BOOKINFO, GATEWAYS, ENTRIES]),
        ("strict", &[BOOKINFO, GATEWAYS, POLICY, strict]),
        ("access logs", &[BOOKINFO, GATEWAYS, AGENT]),
        ("without gateways", &[BOOKINFO]),
        ("plain again", &[BOOKINFO, GATEWAYS]),
    ];
    let first = Fixture::read(steps[0].1);
    let mut world = World::start(&first, (role, namespace, pod), Secrets::self_signed(), true);
    for (what, texts) in steps {
        world.converge(&format!("{pod}: {what}"), &Fixture::read(texts)).await;
    }
}

#[tokio::test]
async fn a_sidecar_accepts_everything() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    accepts_everything("sidecar", "bookinfo", "productpage-v1").await;
}

#[tokio::test]
async fn an_east_west_gateway_accepts_everything() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    accepts_everything("router", "istio-system", "eastwest-1").await;
}

#[tokio::test]
async fn an_ingress_gateway_accepts_everything() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    accepts_everything("router", "istio-system", "ingress-1").await;
}
