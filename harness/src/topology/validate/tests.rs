//! Every mistake that a topology can have, and the shipped one without any.

use super::*;
use crate::topology::{draw, kind};

const SHIPPED: &str = include_str!("../../../../scenarios/topologies/two-clusters.yaml");

const HEAD: &str = "apiVersion: meshproof.dev/v1alpha1\nkind: Topology\nname: t\n";

/// Severity, place and message of each problem, a line each.
fn problems(text: &str) -> String {
    let found = match read("t.yaml", text) {
        Ok(_) => return "none".to_owned(),
        Err(problems) => problems,
    };
    let line = |problem: &Problem| {
        let location = problem.location();
        let help = problem.help.as_deref().unwrap_or("-");
        format!("{}:{} {} [{help}]", location.line, location.column, problem.message)
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A topology of two clusters, with lines of the second replaced.
fn with(second: &str) -> String {
    format!(
        "{HEAD}networks: [{{name: n1}}, {{name: n2}}]\nclusters:\n- name: a\n  network: n1\n- {}\n",
        second.replace('\n', "\n  ")
    )
}

#[test]
fn the_shipped_topology_is_right() {
    let topology = read("two-clusters.yaml", SHIPPED).expect("no problems");
    let workloads = |cluster: &str| -> Vec<String> {
        let on = topology.workloads().into_iter().filter(|workload| workload.cluster == cluster);
        on.map(|workload| format!("{}/{}", workload.namespace, workload.name)).collect()
    };
    assert!(workloads("cluster1").contains(&"bookinfo/reviews-v2".to_owned()));
    assert!(!workloads("cluster1").contains(&"bookinfo/reviews-v3".to_owned()));
    assert_eq!(workloads("cluster2").iter().filter(|name| name.contains("reviews")).count(), 1);
    assert_eq!(topology.clusters[0].pod_subnet, topology.clusters[1].pod_subnet, "on purpose");
    insta::assert_json_snapshot!(topology);
}

#[test]
fn it_is_drawn_within_100_columns() {
    let drawing = draw::draw(&read("two-clusters.yaml", SHIPPED).expect("no problems"));
    assert!(drawing.lines().all(|line| line.chars().count() <= 100), "{drawing}");
    insta::assert_snapshot!(drawing);
}

#[test]
fn kind_gets_its_own_configuration() {
    let files = kind::files(&read("two-clusters.yaml", SHIPPED).expect("no problems"), "origin.yaml");
    assert_eq!(files[0].0, "two-clusters/cluster1.yaml");
    let config: serde_json::Value = serde_saphyr::from_str(&files[1].1).expect("YAML");
    assert_eq!(config["apiVersion"], "kind.x-k8s.io/v1alpha4");
    assert_eq!(config["networking"]["podSubnet"], "10.244.0.0/16");
    assert_eq!(config["nodes"][0]["labels"]["topology.kubernetes.io/region"], "region2");
}

#[test]
fn a_cluster_may_have_a_trust_domain_of_its_own() {
    let topology = read("t.yaml", &with("name: b\nnetwork: n2\ntrustDomain: west.example")).expect("no problems");
    assert_eq!((topology.trust_domain("a"), topology.trust_domain("b")), ("cluster.local", "west.example"));
    let wrong = problems(&with("name: b\nnetwork: n2\ntrustDomain: West_Example"));
    assert!(wrong.starts_with("10:16 `West_Example` is no trust domain"), "{wrong}");
}

#[test]
fn all_mistakes_are_reported_at_once_with_place_and_cure() {
    let text = "apiVersion: meshproof.dev/v1alpha1\nkind: Topology\nname: Two_Clusters\nnetworks:\n- name: network1\n\
                clusters:\n- name: a\n  netwrok: network1\n  network: network1\n  podSubnet: 10.244.0.0/16\n- name: a\n  \
                network: network2\n- name: c\n  network: network1\n  podSubnet: 10.244.128.0/17\n";
    let problems = read("topologies/broken.yaml", text).expect_err("mistakes");
    insta::assert_snapshot!(problems.render(false));
}

#[test]
fn each_mistake_has_a_message() {
    let cases = [
        with("name: b"),
        with("name: b\nnetwork: 1"),
        with("name: b\nnetwork: n2\nnodes: 0"),
        with("name: b\nnetwork: n2\nnodes: many"),
        with("name: b\nnetwork: n2\nzoone: z"),
        with("name: b\nnetwork: n3"),
        with("name: a\nnetwork: n2"),
        with("name: -b\nnetwork: n2"),
        with("name: ''\nnetwork: n2"),
        with("name: b\nnetwork: n1"),
        with("name: b\nnetwork: n1\npodSubnet: 10.96.0.0/17\nserviceSubnet: 10.97.0.0/16"),
        with("name: b\nnetwork: n2\npodSubnet: 10.96.0.0/12"),
        with("name: b\nnetwork: n2\npodSubnet: 10.244.1.0/16"),
        with("name: b\nnetwork: n2\npodSubnet: ten"),
        with("name: b\nnetwork: n2\npodSubnet: 10.244.0.0/30"),
        with("name: b\nnetwork: n2\npodSubnet: 172.30.0.0/16"),
        with("name: b\nnetwork: n2\npodSubnet: 127.0.0.0/8"),
        with("name: b\nnetwork: n2") + "provider: docker\n",
        with("name: b\nnetwork: n2\nprovider: kind"),
        with("name: b\nnetwork: n1\npodSubnet: 10.1.0.0/16\nprovider: existing") + "provider: kind\n",
        with("name: b\nnetwork: n2") + "discovery: hub\nmesh: {gateways: [ingress, ingress]}\n",
        with("name: b\nnetwork: n2") + "trust: {domain: Cluster.local}\n",
        with("name: b\nnetwork: n2") + "apps: [{app: bookinfo, namespace: shop, clusters: []}]\n",
        with("name: b\nnetwork: n2") + "apps: [{app: bookstore, namespace: shop, clusters: [{name: a}]}]\n",
        with("name: b\nnetwork: n2")
            + "apps: [{app: bookinfo, namespace: shop, clusters: [{name: x}, {name: a}, {name: a}]}]\n",
        with("name: b\nnetwork: n2")
            + "apps: [{app: bookinfo, namespace: shop, clusters: [{name: a, versions: {review: [v1], reviews: [v4]}}]}]\n",
        with("name: b\nnetwork: n2")
            + "apps:\n- {app: bookinfo, namespace: shop, clusters: [{name: a}]}\n- {app: probe, namespace: shop, sidecar: false, clusters: [{name: a}]}\n",
        with("name: b\nnetwork: n2")
            + "apps:\n- {app: probe, namespace: shop, clusters: [{name: a}]}\n- {app: probe, namespace: shop, clusters: [{name: b}]}\n",
        format!("{HEAD}networks: []\nclusters: []\n"),
        String::new(),
        "- a list".to_owned(),
        "name: [".to_owned(),
        "apiVersion: v2\nkind: Topologie\nname: t\nnetworks: []\nclusters: []\n".to_owned(),
    ];
    let report: Vec<String> = cases.iter().map(|text| problems(text)).collect();
    assert!(!report.iter().any(|found| found == "none"), "{report:#?}");
    insta::assert_snapshot!(report.join("\n\n"));
}

#[test]
fn an_unused_network_is_worth_a_warning() {
    let text = format!("{HEAD}networks: [{{name: y}}, {{name: on}}]\nclusters: [{{name: a, network: y}}]\n");
    let (topology, problems) = check("t.yaml", &text);
    assert!(topology.is_some(), "and `y` is a name, not a boolean");
    assert_eq!(problems.counts(), (0, 1));
    assert_eq!(problems.iter().next().expect("a warning").message, "nothing is on network `on`");
}

#[test]
fn there_are_only_so_many_clusters() {
    let clusters: Vec<String> = (0..=MOST_CLUSTERS)
        .map(|index| {
            format!("{{name: c{index}, network: n, podSubnet: 10.{index}.0.0/16, serviceSubnet: 10.10{index}.0.0/16}}")
        })
        .collect();
    let text = format!("{HEAD}networks: [{{name: n}}]\nclusters: [{}]\n", clusters.join(", "));
    assert!(problems(&text).contains("17 clusters are more than the 16"), "{}", problems(&text));
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_file_makes_it_panic(at in 0..SHIPPED.len(), cut in 0_usize..40, insert in "[ -~\n]{0,6}") {
        let end = (at + cut).min(SHIPPED.len());
        let text = format!("{}{insert}{}", &SHIPPED[..at], &SHIPPED[end..]);
        match read("t.yaml", &text) {
            Ok(topology) => proptest::prop_assert!(!draw::draw(&topology).is_empty()),
            Err(problems) => proptest::prop_assert!(!problems.render(false).is_empty()),
        }
    }
}

#[test]
fn a_hub_has_a_place_and_meshes_to_join() {
    let clusters = "networks: [{name: n1}, {name: n2}]\nclusters:\n- {name: a, network: n1}\n- {name: b, network: n2}\n\
                    - {name: hub, network: n1, podSubnet: 10.9.0.0/16, mesh: false}\n";
    let with = |rest: &str| format!("{HEAD}{clusters}{rest}");
    let text = with("discovery: hub\nmanagement: {cluster: hub}\n");
    let topology = read("t.yaml", &text).expect("no problems");
    assert!(topology.is_federated() && !topology.trust_is_managed());
    assert_eq!(topology.meshed().count(), 2);
    let apart = with("discovery: hub\nmanagement: {cluster: hub, virtualMesh: {create: false}}\n");
    assert!(!read("t.yaml", &apart).expect("no problems").is_federated());
    let drawing = draw::draw(&topology);
    assert!(drawing.contains("meshproof-hub: the management plane") && drawing.contains("names *.global"), "{drawing}");
    insta::assert_snapshot!(
        [
            "discovery: hub\n",
            "management: {cluster: hbu}\n",
            "management: {cluster: hub, virtualMesh: {create: false, trust: shared}}\n",
            "apps: [{app: probe, namespace: x, clusters: [{name: hub}]}]\n",
        ]
        .map(|rest| problems(&with(rest)))
        .join("\n")
    );
}

/// A topology of one cluster with a mesh and one without, and these virtual machines.
fn with_machines(vms: &str) -> String {
    format!(
        "{HEAD}networks: [{{name: n1}}, {{name: n2}}]\nclusters:\n- name: a\n  network: n1\n- name: bare\n  network: n2\n  mesh: false\nvms:\n{vms}\n"
    )
}

const DETAILS: &str = "{name: vm1, network: n2, cluster: a, namespace: books, ports: {http: 9080}, programs: [{name: details, image: i}]}";

#[test]
fn the_shipped_machines_are_right() {
    let text = include_str!("../../../../scenarios/topologies/virtual-machines.yaml");
    let topology = read("virtual-machines.yaml", text).expect("no problems");
    let details = topology.vm("details-vm").expect("it is there");
    assert_eq!(details.identity, "spiffe://cluster.local/ns/bookinfo/sa/details-vm");
    assert_eq!(details.entry(), "details-vm-172.30.200.1-machines");
    assert_eq!(details.workload().container, "details");
    let drawing = draw::draw(&topology);
    let machines: Vec<&str> = drawing.lines().filter(|line| line.contains("virtual machine with")).collect();
    assert!(machines.iter().all(|line| line.chars().count() <= 100), "{drawing}");
    insta::assert_snapshot!(machines.join("\n"));
}

#[test]
fn a_machine_is_of_its_own_name_and_group_where_nothing_else_is_said() {
    let topology = read("t.yaml", &with_machines(&format!("- {DETAILS}"))).expect("no problems");
    let vm = &topology.vms[0];
    assert_eq!((vm.workload_group.as_str(), vm.service_account.as_str()), ("vm1", "default"));
    assert!(topology.networks.contains(&"n2".to_owned()));
}

#[test]
fn machines_of_one_kind_are_numbered() {
    let three = DETAILS.replace("name: vm1,", "name: web, replicas: 3,");
    let topology = read("t.yaml", &with_machines(&format!("- {three}\n- {DETAILS}"))).expect("no problems");
    let machines: Vec<String> =
        topology.vms.iter().map(|vm| format!("{} {} {}", vm.name, vm.workload_group, vm.address)).collect();
    let expected =
        ["web-1 web 172.30.200.1", "web-2 web 172.30.200.2", "web-3 web 172.30.200.3", "vm1 vm1 172.30.200.4"];
    assert_eq!(machines, expected);
}

#[test]
fn mistakes_of_numbers_and_hosts_of_machines_are_reported() {
    let none = DETAILS.replace("name: vm1,", "name: none, replicas: 0,");
    let two = DETAILS.replace("name: vm1,", "name: vm, replicas: 2,");
    let own = DETAILS.replace("name: vm1,", "name: vm-2,");
    let hosts = DETAILS.replace("name: vm1,", "name: vm5, hosts: [echo.echo],");
    let short = DETAILS.replace("name: vm1,", "name: vm6, captureDns: false, hosts: [echo, A.b],");
    insta::assert_snapshot!(problems(&with_machines(&format!("- {none}\n- {two}\n- {own}\n- {hosts}\n- {short}"))));
}

#[test]
fn mistakes_of_machines_are_reported_with_place_and_cure() {
    let vms = format!(
        "- {DETAILS}\n- {DETAILS}\n\
         - {{name: a, network: n3, cluster: c, namespace: books, programs: []}}\n\
         - {{name: vm2, network: n2, cluster: bare, namespace: books, ports: {{http: 80, web: 80, admin: 15000}}, programs: [{{name: proxy, image: i}}]}}\n\
         - {{name: vm3, network: n1, cluster: a, namespace: books, workloadGroup: vm1, ports: {{http: 9080}}, image: my/vm:1, programs: [{{name: details, image: i}}]}}\n"
    );
    insta::assert_snapshot!(problems(&with_machines(&vms)));
}

#[test]
fn machines_reach_the_control_plane_through_a_gateway() {
    let text = with_machines(&format!("- {DETAILS}\nmesh: {{gateways: [ingress]}}"));
    assert!(problems(&text).contains("virtual machines reach the control plane through the gateway `eastwest`"));
}

#[test]
fn a_remote_has_a_primary() {
    let with = |clusters: &str| format!("{HEAD}networks: [{{name: n1}}, {{name: n2}}]\nclusters:\n{clusters}");
    let primary = "- {name: a, network: n1}\n";
    let text = with(&format!("{primary}- {{name: b, network: n2, controlPlane: a}}\n"));
    let topology = read("t.yaml", &text).expect("no problems");
    let names = |clusters: Vec<&Cluster>| clusters.into_iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(topology.primaries().collect()), ["a"]);
    assert_eq!(names(topology.remotes("a").collect()), ["b"]);
    let drawing = draw::draw(&topology);
    assert!(drawing.contains("the control plane of a") && drawing.matches("istiod").count() == 1, "{drawing}");
    insta::assert_snapshot!(
        [
            "- {name: b, network: n2, controlPlane: b}\n",
            "- {name: b, network: n2, controlPlane: aa}\n",
            "- {name: b, network: n2, controlPlane: a, trustDomain: other.example}\n",
            "- {name: b, network: n2, controlPlane: a, mesh: false}\n",
            "- {name: b, network: n2, controlPlane: a}\nmesh: {gateways: [ingress]}\ndiscovery: hub\nmanagement: {cluster: a}\n",
            "- {name: b, network: n2, controlPlane: a}\n- {name: c, network: n2, podSubnet: 10.9.0.0/16, controlPlane: b}\n",
        ]
        .map(|rest| problems(&with(&format!("{primary}{rest}"))))
        .join("\n")
    );
}
