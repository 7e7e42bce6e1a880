//! Services that no cluster has a Service for, and workloads that no pod stands for.

use pilot::translate::Translation;

use crate::fixture::Fixture;
use crate::print;
use crate::translate::BOOKINFO;

pub(crate) const ENTRIES: &str = include_str!("fixtures/entries.yaml");

fn productpage(fixture: &Fixture) -> Translation {
    fixture.translate("sidecar", "cluster1", "bookinfo", "productpage-v1")
}

/// What entries add to a translation; what is there without them is left out.
fn added(mut translation: Translation, before: &Translation) -> Translation {
    translation.clusters.retain(|one| !before.clusters.contains(one));
    translation.endpoints.retain(|one| !before.endpoints.contains(one));
    translation.listeners.retain(|one| !before.listeners.contains(one));
    translation.routes.retain(|one| !before.routes.contains(one));
    translation
}

#[test]
fn a_sidecar_reaches_entries() {
    let before = productpage(&Fixture::read(&[BOOKINFO]));
    let after = productpage(&Fixture::read(&[BOOKINFO, ENTRIES]));
    insta::assert_snapshot!(print::translation(&added(after, &before)));
}

/// Without DNS beside the proxy nobody calls an automatic address, and the server name tells services apart.
#[test]
fn automatic_addresses_are_for_those_who_capture_dns() {
    let of = |fixture: &Fixture| {
        let translation = productpage(fixture);
        let listeners = translation.listeners.iter().map(|one| one.name.clone());
        let domains = translation.routes.iter().flat_map(|one| &one.virtual_hosts).flat_map(|host| &host.domains);
        let automatic = domains.filter(|domain| domain.starts_with("240.240.")).cloned();
        listeners
            .chain(automatic)
            .filter(|name| name.starts_with("240.240.") || name == "0.0.0.0_443")
            .collect::<Vec<_>>()
    };
    let fixture = Fixture::read(&[BOOKINFO, ENTRIES]);
    assert_eq!(of(&fixture), ["0.0.0.0_443"]);
    let captured = ["240.240.119.118_443", "0.0.0.0_443", "240.240.119.118", "240.240.26.246"];
    assert_eq!(of(&fixture.capturing_dns()), captured);
}

/// Names that resolvers know, or nobody, are left to them.
#[test]
fn names_are_said_where_dns_is_captured() {
    let fixture = Fixture::read(&[BOOKINFO, ENTRIES]);
    assert_eq!(productpage(&fixture).names, None);
    let mut text = String::new();
    for (host, info) in productpage(&fixture.capturing_dns()).names.unwrap().table {
        let short = format!("{} {}", info.shortname, info.namespace);
        text.push_str(&format!("{host} {:?} {} {}\n", info.ips, info.registry, short.trim()));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_east_west_gateway_passes_to_entries_of_its_namespace() {
    let gateway = |fixture: &Fixture| fixture.translate("router", "cluster1", "istio-system", "eastwest-1");
    let mut after = gateway(&Fixture::read(&[BOOKINFO, ENTRIES]));
    after.clusters.retain(|cluster| cluster.name.starts_with("outbound_."));
    after.endpoints.retain(|endpoints| endpoints.cluster_name.starts_with("outbound_."));
    insta::assert_snapshot!(print::translation(&after));
}

fn cluster_names(translation: &Translation) -> Vec<String> {
    translation.clusters.iter().map(|cluster| cluster.name.clone()).collect()
}

#[test]
fn an_entry_is_seen_where_it_is_exported_to() {
    let entry = |export: &str| {
        format!(
            "kind: ServiceEntry\nmetadata: {{name: e, namespace: elsewhere}}\nspec: {{hosts: [a.global], exportTo: {export}, ports: [{{number: 80, name: http, protocol: HTTP}}]}}\n"
        )
    };
    let seen = |export: &str| {
        cluster_names(&productpage(&Fixture::read(&[BOOKINFO, &entry(export)])))
            .contains(&"outbound|80||a.global".to_owned())
    };
    assert_eq!(["[]", "['*']", "[bookinfo]", "['.']", "[other]"].map(seen), [true, true, true, false, false]);
}

/// Several namespaces may know a host by different entries.
#[test]
fn the_own_namespaces_entry_comes_first() {
    let entry = |namespace: &str, address: &str| {
        format!(
            "kind: ServiceEntry\nmetadata: {{name: e, namespace: {namespace}}}\nspec: {{hosts: [a.global], resolution: STATIC, ports: [{{number: 80, name: http, protocol: HTTP}}], endpoints: [{{address: {address}}}]}}\n"
        )
    };
    let address = |texts: &[&str]| {
        let texts: Vec<&str> = std::iter::once(&BOOKINFO).chain(texts).copied().collect();
        let translation = productpage(&Fixture::read(&texts));
        let found = translation.endpoints.iter().find(|one| one.cluster_name == "outbound|80||a.global").cloned();
        let mut only = translation;
        only.clusters.clear();
        only.listeners.clear();
        only.routes.clear();
        only.endpoints = found.into_iter().collect();
        print::translation(&only)
    };
    let both = address(&[&entry("another", "10.9.0.1"), &entry("bookinfo", "10.9.0.2")]);
    assert!(both.contains("10.9.0.2") && !both.contains("10.9.0.1"), "{both}");
    assert!(address(&[&entry("another", "10.9.0.1")]).contains("10.9.0.1"));
}

/// What lies behind a gateway of another network has the gateway's address, and subsets choose by labels.
#[test]
fn endpoints_of_one_address_with_other_labels_are_others() {
    let entry = "kind: ServiceEntry\nmetadata: {name: e, namespace: bookinfo}\nspec: {hosts: [a.global], resolution: STATIC, location: MESH_INTERNAL, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.9.0.1, labels: {version: v1}}, {address: 10.9.0.1, labels: {version: v2}}, {address: 10.9.0.1, labels: {version: v2}}]}\n---\nkind: DestinationRule\nmetadata: {name: e, namespace: bookinfo}\nspec: {host: a.global, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}\n";
    let translation = productpage(&Fixture::read(&[BOOKINFO, entry]));
    let count = |cluster: &str| {
        let found = translation.endpoints.iter().filter(|one| one.cluster_name == cluster);
        found.flat_map(|one| &one.endpoints).map(|group| group.lb_endpoints.len()).sum::<usize>()
    };
    assert_eq!([count("outbound|80|v1|a.global"), count("outbound|80|v2|a.global")], [1, 1]);
    assert_eq!(count("outbound|80||a.global"), 1, "it is one address all the same");
}

#[test]
fn a_service_of_a_cluster_is_not_replaced() {
    let entry = "kind: ServiceEntry\nmetadata: {name: e, namespace: bookinfo}\nspec: {hosts: [reviews.bookinfo.svc.cluster.local], resolution: STATIC, ports: [{number: 9080, name: http, protocol: HTTP}], endpoints: [{address: 10.9.0.1}]}\n";
    let fixture = Fixture::read(&[BOOKINFO, entry]);
    assert_eq!(productpage(&fixture), productpage(&Fixture::read(&[BOOKINFO])));
    let problems = &fixture.state("cluster1").configs.problems;
    assert!(problems.len() == 1 && problems[0].object == "ServiceEntry/bookinfo/e", "{problems:?}");
}

#[test]
fn a_workload_entry_that_is_no_address_is_not_behind_a_service() {
    let entry = "kind: WorkloadEntry\nmetadata: {name: vm, namespace: bookinfo}\nspec: {address: vm.example.org, labels: {app: reviews}}\n";
    let fixture = Fixture::read(&[BOOKINFO, entry]);
    let problems = &fixture.state("cluster1").configs.problems;
    assert!(problems.len() == 1 && problems[0].object == "WorkloadEntry/bookinfo/vm", "{problems:?}");
    assert_eq!(productpage(&fixture).endpoints, productpage(&Fixture::read(&[BOOKINFO])).endpoints);
}

/// A network may be entered by several gateways: each endpoint's share is divided evenly among them.
#[test]
fn several_gateways_share_what_lies_behind_them() {
    let second = "cluster: cluster2\n---\nkind: Service\nmetadata: {name: second-way-in, namespace: istio-system, labels: {topology.istio.io/network: network2, networking.istio.io/gatewayPort: \"16443\"}}\nspec: {type: LoadBalancer, clusterIP: 10.97.0.9, selector: {istio: eastwestgateway}, ports: [{name: tls, port: 16443, targetPort: 15443}]}\nstatus: {loadBalancer: {ingress: [{ip: 172.30.2.101}, {ip: 172.30.2.102}]}}\n";
    let mut translation = productpage(&Fixture::read(&[BOOKINFO, ENTRIES, second]));
    translation.endpoints.retain(|one| one.cluster_name == "outbound|9080||reviews.global");
    translation.clusters.clear();
    translation.listeners.clear();
    translation.routes.clear();
    let text = print::translation(&translation);
    // Weight 3 for the endpoint, multiplied so that it divides by three gateways.
    for expected in ["172.30.2.100:15443 w3 mtls", "172.30.2.101:16443 w3 mtls", "172.30.2.102:16443 w3 mtls"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.contains("172.30.9.100:15443 w3 mtls"), "the other endpoint keeps its proportion: {text}");
}
