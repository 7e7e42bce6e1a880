//! A real Envoy terminates TLS with a certificate that the control plane serves.

use requirements::{Capability, require};

use crate::fixture::Fixture;
use crate::gateway_tls::GATEWAY_TLS;
use crate::running::{Secrets, World};
use crate::translate::BOOKINFO;

fn secret(name: &str) -> String {
    use base64::Engine as _;
    let made = rcgen::generate_simple_self_signed(vec![format!("{name}.example.org")]).unwrap();
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "cluster: cluster1\n---\n{{kind: Secret, metadata: {{name: {name}, namespace: istio-system}}, data: {{tls.crt: {}, tls.key: {}, ca.crt: {}}}}}\n",
        encode(made.cert.pem()),
        encode(made.signing_key.serialize_pem()),
        encode(made.cert.pem()),
    )
}

#[tokio::test]
async fn a_gateway_takes_certificates_from_the_control_plane() {
    require!(Capability::Envoy);
    require!(Capability::UserNamespaces);
    let (web, partners) = (secret("web"), secret("partners"));
    let without = Fixture::read(&[BOOKINFO, &web, GATEWAY_TLS]);
    let which = ("router", "istio-system", "ingress-1");
    let mut world = World::start(&without, which, Secrets::self_signed(), true);
    world.converge("one certificate", &without).await;
    let certificates = world.admin("/certs").await;
    assert!(
        certificates.contains("web.example.org") && !certificates.contains("partners.example.org"),
        "{certificates}"
    );
    world.converge("another", &Fixture::read(&[BOOKINFO, &web, &partners, GATEWAY_TLS])).await;
    assert!(world.admin("/certs").await.contains("partners.example.org"));
    let renewed = secret("web");
    world.converge("renewed", &Fixture::read(&[BOOKINFO, &renewed, &partners, GATEWAY_TLS])).await;
    world.converge("none", &Fixture::read(&[BOOKINFO, GATEWAY_TLS])).await;
}
