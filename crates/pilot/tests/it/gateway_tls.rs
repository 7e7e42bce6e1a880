//! Gateways that terminate TLS, and such that pass it through.

use pilot::ads::Type;
use pilot::ads::resources::Resources;
use pilot::translate::Translation;

use crate::fixture::Fixture;
use crate::print;
use crate::translate::BOOKINFO;

/// The certificates are real ones where Envoy reads them.
pub(crate) const GATEWAY_TLS: &str = include_str!("fixtures/gateway-tls.yaml");

fn secret(name: &str, entries: &str) -> String {
    format!(
        "cluster: cluster1\n---\n{{kind: Secret, metadata: {{name: {name}, namespace: istio-system}}, data: {{{entries}}}}}\n"
    )
}

fn ingress(fixture: &Fixture) -> Translation {
    let mut translation = fixture.translate("router", "cluster1", "istio-system", "ingress-1");
    translation.clusters.clear();
    translation.endpoints.clear();
    translation
}

fn with_certificates() -> Fixture {
    let web = secret("web", "tls.crt: YQ==, tls.key: Yg==");
    let partners = secret("partners", "tls.crt: YQ==, tls.key: Yg==, ca.crt: Yw==");
    Fixture::read(&[BOOKINFO, &web, &partners, GATEWAY_TLS])
}

#[test]
fn servers_with_tls_have_chains_routes_and_certificates() {
    let translation = ingress(&with_certificates());
    let names: Vec<&str> = translation.secrets.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["kubernetes://partners", "kubernetes://partners-cacert", "kubernetes://web"]);
    insta::assert_snapshot!(print::translation(&translation));
}

/// Envoy would hold the whole listener back for one certificate that does not come.
#[test]
fn a_server_without_its_certificate_is_left_out_and_named() {
    let web = secret("web", "tls.crt: YQ==, tls.key: Yg==");
    let translation = ingress(&Fixture::read(&[BOOKINFO, &web, GATEWAY_TLS]));
    let names: Vec<&str> = translation.secrets.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["kubernetes://web"]);
    let said: Vec<String> =
        translation.problems.iter().map(|problem| format!("{}: {}", problem.object, problem.message)).collect();
    assert_eq!(
        said,
        ["Gateway/istio-system/secure: server on port 443: there is no Secret partners with certificate and key"]
    );
    let listener = translation.listeners.iter().find(|one| one.name == "0.0.0.0_443").unwrap();
    assert!(!listener.filter_chains.is_empty(), "the other servers of the port stay");
}

#[test]
fn server_names_are_passed_through_for_the_namespaces_that_a_host_admits() {
    let chains = |host: &str| {
        let gateway = GATEWAY_TLS.replace("\"*.passed.example.org\"", host);
        assert_ne!(gateway, GATEWAY_TLS);
        let translation = ingress(&Fixture::read(&[BOOKINFO, &gateway]));
        let listener = translation.listeners.iter().find(|one| one.name == "0.0.0.0_8443");
        listener.map_or(0, |listener| listener.filter_chains.len())
    };
    for (host, passed) in [("'bookinfo/*.passed.example.org'", 2), ("'*/*.passed.example.org'", 2)] {
        assert_eq!(chains(host), passed, "{host}");
    }
    for host in ["'another/*.passed.example.org'", "'./*.passed.example.org'"] {
        assert_eq!(chains(host), 0, "{host} is not for virtual services of bookinfo");
    }
}

#[test]
fn certificates_are_for_gateways_of_the_control_planes_namespace() {
    let pod = "kind: Pod\nmetadata: {name: own-ingress, namespace: bookinfo, labels: {istio: ingressgateway}}\nspec: {nodeName: node1, serviceAccountName: a, containers: [{name: istio-proxy}]}\nstatus: {podIP: 10.244.0.77}\n";
    let web = secret("web", "tls.crt: YQ==, tls.key: Yg==");
    let fixture = Fixture::read(&[BOOKINFO, &web, pod, GATEWAY_TLS]);
    let translation = fixture.translate("router", "cluster1", "bookinfo", "own-ingress");
    assert_eq!(translation.secrets, []);
    assert!(translation.problems.iter().any(|problem| problem.message.contains("istio-system only")));
}

#[test]
fn a_new_certificate_changes_one_resource() {
    let encode = |key: &str| {
        let web = secret("web", &format!("tls.crt: YQ==, tls.key: {key}"));
        Resources::encode(ingress(&Fixture::read(&[BOOKINFO, &web, GATEWAY_TLS])))
    };
    let (before, after) = (encode("Yg=="), encode("Yw=="));
    let changed = |kind: Type| before.table(kind) != after.table(kind);
    assert_eq!(Type::ALL.into_iter().filter(|kind| changed(*kind)).collect::<Vec<_>>(), [Type::Sds]);
}

/// As machines outside the cluster reach the control plane; the manifest is what is installed.
#[test]
fn the_control_plane_is_passed_through_by_an_east_west_gateway() {
    let istiod = "cluster: cluster1\n---\nkind: Service\nmetadata: {name: istiod, namespace: istio-system}\nspec: {clusterIP: 10.96.0.12, selector: {app: istiod}, ports: [{name: https-dns, port: 15012}]}\n---\nkind: Pod\nmetadata: {name: istiod-1, namespace: istio-system, labels: {app: istiod}}\nspec: {nodeName: node1, serviceAccountName: istiod, containers: [{name: discovery}]}\nstatus: {podIP: 10.244.0.12}\n";
    let exposed = include_str!("../../../../manifests/istio/51-expose-istiod.yaml");
    let fixture = Fixture::read(&[BOOKINFO, istiod, exposed]);
    let translation = fixture.translate("router", "cluster1", "istio-system", "eastwest-1");
    let own = |name: &str| name == "outbound|15012||istiod.istio-system.svc.cluster.local";
    let only = Translation {
        listeners: translation.listeners.into_iter().filter(|one| one.name == "0.0.0.0_15012").collect(),
        clusters: translation.clusters.into_iter().filter(|one| own(&one.name)).collect(),
        endpoints: translation.endpoints.into_iter().filter(|one| own(&one.cluster_name)).collect(),
        ..Translation::default()
    };
    insta::assert_snapshot!(print::translation(&only));
}
