//! A machine on which all is well, and one thing after the other that is not.

use std::collections::BTreeMap;

use rstest::rstest;

use super::*;
use crate::provider::kind::doctor::Unusable;

fn needs() -> Needs {
    Needs {
        nodes: 2,
        clusters: 2,
        networks: 2,
        inside: vec![("pods of cluster1".to_owned(), "10.244.0.0/16".parse().expect("a subnet"))],
        node_image: Lock::read().node_image().to_owned(),
        istio: Lock::read().istio.release(None).ok(),
        installer: None,
        load_balancers: LoadBalancers::BuiltIn,
    }
}

fn machine() -> Machine {
    let docker = Docker {
        api: "1.47".to_owned(),
        cgroup: 2,
        storage: "overlay2".to_owned(),
        containerd_store: false,
        free: Some(100 << 30),
        throughput: Some(400 << 20),
        subnets: vec!["172.17.0.0/16".parse().expect("a subnet")],
        images: [needs().node_image].into(),
        proxies: BTreeMap::new(),
    };
    let tools = [("kind", 0, 33), ("kubectl", 1, 35), ("helm", 3, 19)];
    Machine {
        docker: Ok(docker),
        tools: tools.map(|(name, major, minor)| (name.to_owned(), Ok(Minor::new(major, minor)))).into(),
        limits: INOTIFY.map(|(name, each)| (name.to_owned(), each * 8)).into(),
        memory: 16 << 30,
        cpus: 4,
        proxies: BTreeMap::new(),
        cloud_provider_kind: false,
        registry: Ok(()),
    }
}

/// What is not fine, with its cure.
fn troubles(machine: &Machine, needs: &Needs) -> Vec<(&'static str, State, String, String)> {
    let checks = check(machine, needs, &Lock::read());
    let troubles = checks.into_iter().filter(|check| check.state != State::Fine);
    troubles.map(|check| (check.name, check.state, check.found, check.cure.expect("a cure"))).collect()
}

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    assert_eq!(troubles(&machine(), &needs()), []);
    let names: Vec<&str> = check(&machine(), &needs(), &Lock::read()).iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "docker",
            "cgroup",
            "disk",
            "disk throughput",
            "addresses",
            "image store",
            "node image",
            "proxies",
            "kind",
            "kubectl",
            "helm",
            "kubernetes",
            "inotify",
            "memory",
            "processors"
        ]
    );
}

fn docker(change: impl FnOnce(&mut Docker)) -> impl FnOnce(&mut Machine, &mut Needs) {
    |machine, _| change(machine.docker.as_mut().expect("there"))
}

fn silent() -> Unusable {
    Unusable { why: "nobody answers".to_owned(), cure: "sudo systemctl start docker".to_owned() }
}

type Change = Box<dyn FnOnce(&mut Machine, &mut Needs)>;

/// Each breaks one thing; that check alone says so, names what it found, and has the cure.
#[rstest]
#[case::silent(Box::new(|m: &mut Machine, _: &mut Needs| m.docker = Err(silent())) as Change, "docker", State::Lacking, "nobody answers", "systemctl start docker")]
#[case::cgroup_1(Box::new(docker(|d| d.cgroup = 1)) as Change, "cgroup", State::Lacking, "version 1", "unified_cgroup_hierarchy")]
#[case::full_disk(Box::new(docker(|d| d.free = Some(1 << 30))) as Change, "disk", State::Lacking, "1.00 GiB free", "docker system prune")]
#[case::slow_disk(Box::new(docker(|d| d.throughput = Some(1 << 20))) as Change, "disk throughput", State::Doubtful, "1.0 MiB/s", "data-root")]
#[case::overlap(Box::new(docker(|d| d.subnets = vec!["10.244.7.0/24".parse().expect("a subnet")])) as Change, "addresses", State::Lacking, "overlaps 10.244.7.0/24", "docker network ls")]
#[case::pool_used_up(Box::new(docker(|d| d.subnets = vec!["172.29.0.0/16".parse().expect("a subnet")])) as Change, "addresses", State::Lacking, "0 subnets", "docker network prune")]
#[case::vfs(Box::new(docker(|d| d.storage = "vfs".to_owned())) as Change, "image store", State::Doubtful, "vfs", "overlay2")]
#[case::node_image(Box::new(|m: &mut Machine, n: &mut Needs| { docker(|d| d.images.clear())(m, n); m.registry = Err("no such host".to_owned()); }) as Change, "node image", State::Lacking, "no such host", "docker load")]
#[case::proxy(Box::new(|m: &mut Machine, _: &mut Needs| m.proxies = [("HTTPS_PROXY".to_owned(), "http://p:1".to_owned())].into()) as Change, "proxies", State::Lacking, "HTTPS_PROXY", ".cluster.local")]
#[case::no_kind(Box::new(|m: &mut Machine, _: &mut Needs| { m.tools.remove("kind"); }) as Change, "kind", State::Lacking, "no program `kind`", "kind.sigs.k8s.io")]
#[case::old_kind(Box::new(|m: &mut Machine, _: &mut Needs| { m.tools.insert("kind".to_owned(), Ok(Minor::new(0, 20))); }) as Change, "kind", State::Lacking, "0.27 or newer", "kind.sigs.k8s.io")]
#[case::broken_kubectl(Box::new(|m: &mut Machine, _: &mut Needs| { m.tools.insert("kubectl".to_owned(), Err("it crashed".to_owned())); }) as Change, "kubectl", State::Lacking, "it crashed", "kubernetes.io")]
#[case::no_helm(Box::new(|m: &mut Machine, _: &mut Needs| { m.tools.remove("helm"); }) as Change, "helm", State::Lacking, "there is no program `helm`", "--mesh embedded")]
#[case::kubernetes(Box::new(|m: &mut Machine, n: &mut Needs| { n.node_image = "kindest/node:v1.31.0".to_owned(); docker(|d| { d.images.insert("kindest/node:v1.31.0".to_owned()); })(m, n); }) as Change, "kubernetes", State::Lacking, "supported on 1.32 to 1.36", "--node-image kindest/node:v1.35")]
#[case::istio(Box::new(|_: &mut Machine, n: &mut Needs| n.istio = Lock::read().istio.release(Some("1.28.2")).ok()) as Change, "kubernetes", State::Lacking, "1.35, and Istio 1.28.2 is supported on 1.29 to 1.34", "--node-image kindest/node:v1.34")]
#[case::istioctl(Box::new(|m: &mut Machine, _: &mut Needs| { m.tools.remove("helm"); m.tools.insert("istioctl".to_owned(), Ok(Minor::new(1, 29))); }) as Change, "helm", State::Lacking, "istioctl: version 1.29, and Istio 1.30.3 needs its own", "istioctl of the release")]
#[case::watches(Box::new(|m: &mut Machine, _: &mut Needs| { m.limits.insert("fs.inotify.max_user_watches".to_owned(), 8192); }) as Change, "inotify", State::Lacking, "8192, 131072 needed for 2 nodes", "sysctl -w fs.inotify.max_user_watches=131072")]
#[case::instances(Box::new(|m: &mut Machine, _: &mut Needs| { m.limits.insert("fs.inotify.max_user_instances".to_owned(), 128); }) as Change, "inotify", State::Lacking, "128, 256 needed", "fs.inotify.max_user_instances=256")]
#[case::memory(Box::new(|m: &mut Machine, _: &mut Needs| m.memory = 1 << 30) as Change, "memory", State::Lacking, "1.00 GiB available, 3.00 GiB needed", "fewer nodes")]
#[case::one_processor(Box::new(|m: &mut Machine, _: &mut Needs| m.cpus = 1) as Change, "processors", State::Lacking, "1 for 2 nodes", "two processors")]
#[case::few_processors(Box::new(|_: &mut Machine, n: &mut Needs| n.nodes = 5) as Change, "processors", State::Doubtful, "4 for 5 nodes", "fewer nodes")]
#[case::metallb(Box::new(|m: &mut Machine, n: &mut Needs| { m.tools.remove("helm"); n.istio = None; n.load_balancers = LoadBalancers::Metallb; }) as Change, "load balancers", State::Lacking, "helm 3.8 or newer installs MetalLB", "helm.sh")]
#[case::cloud_provider_kind(Box::new(|_: &mut Machine, n: &mut Needs| n.load_balancers = LoadBalancers::CloudProviderKind) as Change, "load balancers", State::Lacking, "does not run", "sudo cloud-provider-kind")]
fn one_thing_that_is_broken_is_the_one_that_is_told(
    #[case] change: Change,
    #[case] name: &str,
    #[case] state: State,
    #[case] found: &str,
    #[case] cure: &str,
) {
    let (mut machine, mut needs) = (machine(), needs());
    change(&mut machine, &mut needs);
    let troubles = troubles(&machine, &needs);
    let [trouble] = troubles.as_slice() else { panic!("{troubles:?}") };
    assert_eq!((trouble.0, trouble.1), (name, state));
    assert!(trouble.2.contains(found), "{}", trouble.2);
    assert!(trouble.3.contains(cure), "{}", trouble.3);
}

#[test]
fn who_gives_load_balancers_their_addresses_has_to_be_there() {
    let wanted = |load_balancers| Needs { load_balancers, ..needs() };
    assert_eq!(troubles(&machine(), &wanted(LoadBalancers::Metallb)), []);
    let runs = Machine { cloud_provider_kind: true, ..machine() };
    assert_eq!(troubles(&runs, &wanted(LoadBalancers::CloudProviderKind)), []);
}

#[test]
fn two_things_that_do_not_fit_each_other_are_told() {
    let mut machine = machine();
    machine.docker.as_mut().expect("there").containerd_store = true;
    assert_eq!(troubles(&machine, &needs()), [], "a new kind can");
    machine.tools.insert("kind".to_owned(), Ok(Minor::new(0, 27)));
    let troubles = troubles(&machine, &needs());
    assert_eq!(troubles[0].0, "image store");
    assert!(troubles[0].3.contains("kind 0.28"), "{}", troubles[0].3);
}

#[test]
fn an_image_is_found_by_its_digest_whatever_its_tag_is() {
    let docker = Docker { images: ["kindest/node@sha256:07".to_owned()].into(), ..Docker::default() };
    assert!(has(&docker, "kindest/node:v1.35.8@sha256:07"));
    assert!(!has(&docker, "kindest/node:v1.35.8@sha256:08"));
    assert!(!has(&docker, "kindest/node:v1.35.8"));
}

#[test]
fn istioctl_of_the_release_stands_in_for_helm() {
    let mut machine = machine();
    machine.tools.remove("helm");
    machine.tools.insert("istioctl".to_owned(), Ok(Minor::new(1, 30)));
    assert_eq!(troubles(&machine, &needs()), []);
    let demanded = |installer| Needs { installer: Some(installer), ..needs() };
    assert_eq!(troubles(&machine, &demanded(Installer::Istioctl)), []);
    assert_eq!(troubles(&machine, &demanded(Installer::Helm))[0].0, "helm", "it is what the user says, or nothing");
    machine.tools.remove("istioctl");
    machine.tools.insert("helm".to_owned(), Ok(Minor::new(3, 19)));
    let (name, state, found, cure) = troubles(&machine, &demanded(Installer::Istioctl)).remove(0);
    assert_eq!((name, state), ("istioctl", State::Lacking));
    assert!(found.contains("no program `istioctl`") && cure.contains("install istioctl 1.30.3"), "{found}: {cure}");
}

#[test]
fn istio_is_not_asked_for_where_nobody_wants_it() {
    let mut machine = machine();
    machine.tools.remove("helm");
    assert_eq!(troubles(&machine, &Needs { istio: None, ..needs() }), []);
}
