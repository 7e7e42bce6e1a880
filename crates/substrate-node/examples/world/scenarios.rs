//! The scenarios.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use substrate_node::dns::{self, DnsSockets, Question, Zone};
use substrate_node::fabric::{ClusterNetwork, ClusterNetworkConfig, Fabric, FabricConfig, NetworkConfig, PodNetwork};
use substrate_node::runtime::{Container, ContainerSpec, ExecSession, ExecSpec, Mount, MountSource, StartError};
use substrate_node::services::{PortEntry, Protocol, ServiceEntry, ServiceTable, Synchronizer};
use substrate_node::supervision::{self, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::cluster::Kind;

type Facts = Result<Value, Box<dyn Error>>;

/// Runs the scenario of that name.
pub(crate) async fn run(name: &str, world: World) -> Facts {
    supervision::mount_tmpfs(FOLDER.as_ref())?;
    match name {
        "timing" => timing().await,
        "fabric" => fabric().await,
        "services" => services().await,
        "flat" => flat().await,
        "synchronizer" => synchronizer().await,
        "partition" => partition().await,
        "container" => container().await,
        "exec" => exec().await,
        "failures" => failures().await,
        "names" => names().await,
        "idle" => idle(world).await,
        other => Err(format!("no scenario {other:?}").into()),
    }
}

fn two_clusters() -> Result<FabricConfig, Box<dyn Error>> {
    let cluster = |number: u8| -> Result<ClusterNetworkConfig, Box<dyn Error>> {
        Ok(ClusterNetworkConfig {
            name: format!("cluster{number}"),
            network: format!("network{number}"),
            pod_subnet: "10.244.0.0/16".parse()?,
            service_subnet: "10.96.0.0/16".parse()?,
            node_subnet: format!("172.30.{number}.0/24").parse()?,
        })
    };
    let networks = ["network1", "network2"].map(|name| NetworkConfig { name: name.to_owned() }).to_vec();
    Ok(FabricConfig { networks, clusters: vec![cluster(1)?, cluster(2)?] })
}

fn cluster(fabric: &Fabric, name: &str) -> Result<Arc<ClusterNetwork>, Box<dyn Error>> {
    fabric.cluster(name).ok_or_else(|| format!("no {name}").into())
}

async fn timing() -> Facts {
    let start = Instant::now();
    let fabric = Fabric::create(&two_clusters()?).await?;
    let created = start.elapsed();
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let pods = (0..10).flat_map(|number| [(one.clone(), number), (two.clone(), number)]);
    let pods = pods.map(|(cluster, number)| async move { cluster.create_pod_network(&format!("pod-{number}")).await });
    let start = Instant::now();
    let pods = futures::future::try_join_all(pods).await?;
    let networks = start.elapsed();
    let start = Instant::now();
    let containers = pods.iter().zip(0..).map(|(pod, number)| {
        let spec = spec(&format!("c{number}"), &["sleep", "1000"]);
        async move { Container::spawn(spec, pod.namespace()).await }
    });
    let containers = futures::future::try_join_all(containers).await?;
    let started = start.elapsed();
    let start = Instant::now();
    for container in &containers {
        container.signal(9)?;
        container.wait().await;
    }
    let killed = start.elapsed();
    let start = Instant::now();
    futures::future::join_all(pods.into_iter().map(PodNetwork::release)).await;
    let millis = |duration: Duration| duration.as_millis() as u64;
    Ok(json!({"fabricMs": millis(created), "podNetworksMs": millis(networks), "containersMs": millis(started),
        "killMs": millis(killed), "releaseMs": millis(start.elapsed())}))
}

/// Answers every connection with a name and the client's address.
fn serve(listener: TcpListener, name: &str) {
    let name = name.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, client)) = listener.accept().await {
            stream.write_all(format!("{name} saw {}", client.ip()).as_bytes()).await.ok();
        }
    });
}

async fn ask(connection: impl Future<Output = io::Result<TcpStream>>) -> Value {
    let answer = async {
        let mut text = String::new();
        connection.await?.read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    match tokio::time::timeout(Duration::from_secs(2), answer).await {
        Err(_) => json!("timeout"),
        Ok(Ok(text)) => json!(text),
        Ok(Err(error)) => json!(format!("{:?}", error.kind())),
    }
}

fn address(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddrV4::new(ip, port).into()
}

fn entry(name: &str, addresses: &[Ipv4Addr], port: u16, endpoints: &[SocketAddrV4]) -> ServiceEntry {
    let port = PortEntry { protocol: Protocol::Tcp, port, node_port: None, endpoints: endpoints.to_vec() };
    ServiceEntry {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: addresses.to_vec(),
        client_affinity: false,
        ports: vec![port],
    }
}

async fn fabric() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let client = one.create_pod_network("client").await?;
    let server = one.create_pod_network("server").await?;
    // The same address in both clusters, and one that only the second has.
    let twin = two.create_pod_network("twin").await?;
    two.create_pod_network("filler").await?.release().await;
    let far = two.create_pod_network("far").await?;
    serve(server.listen(address(Ipv4Addr::UNSPECIFIED, 8080)).await?, "server");
    serve(twin.listen(address(Ipv4Addr::UNSPECIFIED, 8080)).await?, "twin");
    serve(far.listen(address(Ipv4Addr::UNSPECIFIED, 8080)).await?, "far");
    serve(two.listen(address(two.node_address(), 6443)).await?, "node2");
    let balancer = Ipv4Addr::new(172, 30, 2, 100);
    let behind = [SocketAddrV4::new(far.address(), 8080)];
    two.apply_services(&ServiceTable { services: vec![entry("far", &[balancer], 80, &behind)] }).await?;
    Ok(json!({
        "addresses": [client.address(), server.address(), twin.address(), far.address()],
        "podToPod": ask(client.dial(address(server.address(), 8080))).await,
        "nodeToPod": ask(one.dial(address(server.address(), 8080))).await,
        "podToOwnAddressOfOtherNetwork": ask(client.dial(address(twin.address(), 8080))).await,
        "podToFarPod": ask(client.dial(address(far.address(), 8080))).await,
        "nodeToFarPod": ask(one.dial(address(far.address(), 8080))).await,
        "podToLoadBalancer": ask(client.dial(address(balancer, 80))).await,
        "nodeToLoadBalancer": ask(one.dial(address(balancer, 80))).await,
        "podToUnusedLoadBalancer": ask(client.dial(address(Ipv4Addr::new(172, 30, 2, 101), 80))).await,
        "podToUnusedPort": ask(client.dial(address(balancer, 81))).await,
        "podToFarNode": ask(client.dial(address(two.node_address(), 6443))).await,
        "podToNowhere": ask(client.dial(address(Ipv4Addr::new(8, 8, 8, 8), 53))).await,
        "hostToPod": ask(TcpStream::connect(address(server.address(), 8080))).await,
    }))
}

async fn services() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let one = cluster(&fabric, "cluster1")?;
    let mut pods = Vec::new();
    for name in ["client", "a", "b"] {
        let pod = one.create_pod_network(name).await?;
        serve(pod.listen(address(Ipv4Addr::UNSPECIFIED, 8080)).await?, name);
        pods.push(pod);
    }
    let client = &pods[0];
    let ip = |last| Ipv4Addr::new(10, 96, 0, last);
    let endpoints: Vec<_> = pods.iter().map(|pod| SocketAddrV4::new(pod.address(), 8080)).collect();
    let mut sticky = entry("sticky", &[ip(21)], 80, &endpoints[1..]);
    sticky.client_affinity = true;
    let services = vec![
        entry("both", &[ip(20), Ipv4Addr::new(172, 30, 1, 100)], 80, &endpoints[1..]),
        sticky,
        entry("empty", &[ip(22)], 80, &[]),
        entry("itself", &[ip(23)], 80, &endpoints[..1]),
    ];
    one.apply_services(&ServiceTable { services }).await?;
    one.add_node_address(ip(10)).await?;
    serve(one.listen(address(ip(10), 53)).await?, "local");
    let start = Instant::now();
    let empty = ask(client.dial(address(ip(22), 80))).await;
    let refused_after = start.elapsed();
    let facts = json!({
        "both": tally(client, ip(20), 40).await,
        "loadBalancerFromInside": tally(client, Ipv4Addr::new(172, 30, 1, 100), 10).await,
        "sticky": tally(client, ip(21), 20).await,
        "empty": empty,
        "emptyRefusedMs": refused_after.as_millis() as u64,
        "unknownPort": ask(client.dial(address(ip(20), 81))).await,
        "hairpin": ask(client.dial(address(ip(23), 80))).await,
        "fromNode": ask(one.dial(address(ip(23), 80))).await,
        "emptyFromNode": ask(one.dial(address(ip(22), 80))).await,
        "nodeLocal": ask(client.dial(address(ip(10), 53))).await,
    });
    one.apply_services(&ServiceTable::default()).await?;
    let gone = ask(client.dial(address(ip(20), 80))).await;
    let hostile = ServiceEntry { name: "x\n}\n#".to_owned(), ..entry("", &[ip(30)], 80, &endpoints) };
    let hostile = one.apply_services(&ServiceTable { services: vec![hostile] }).await;
    let hostile = hostile.map_err(|error| error.to_string());
    Ok(json!({"facts": facts, "afterRemoval": gone, "hostileName": format!("{hostile:?}")}))
}

/// How often which server answered.
async fn tally(client: &PodNetwork, service: Ipv4Addr, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let answer = ask(client.dial(address(service, 80))).await;
        let name = answer.as_str().and_then(|text| text.split(' ').next()).unwrap_or_default().to_owned();
        *answers.entry(name).or_default() += 1;
    }
    answers
}

/// Two clusters on one network.
async fn flat() -> Facts {
    let mut config = two_clusters()?;
    config.networks.truncate(1);
    config.clusters[1].network = "network1".to_owned();
    config.clusters[1].pod_subnet = "10.245.0.0/16".parse()?;
    let fabric = Fabric::create(&config).await?;
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let client = one.create_pod_network("client").await?;
    let far = two.create_pod_network("far").await?;
    serve(far.listen(address(Ipv4Addr::UNSPECIFIED, 8080)).await?, "far");
    let balancer = Ipv4Addr::new(172, 30, 2, 100);
    let behind = [SocketAddrV4::new(far.address(), 8080)];
    two.apply_services(&ServiceTable { services: vec![entry("far", &[balancer], 80, &behind)] }).await?;
    Ok(json!({
        "podToFarPod": ask(client.dial(address(far.address(), 8080))).await,
        "podToLoadBalancer": ask(client.dial(address(balancer, 80))).await,
        "podToUnusedAddress": ask(client.dial(address(Ipv4Addr::new(10, 245, 9, 9), 80))).await,
    }))
}

/// Rules and names follow an API server.
async fn synchronizer() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let one = cluster(&fabric, "cluster1")?;
    let client = one.create_pod_network("client").await?;
    let server = one.create_pod_network("server").await?;
    serve(server.listen(address(Ipv4Addr::UNSPECIFIED, 8080)).await?, "server");
    let service = |name: &str, ip: &str| {
        json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": "1"},
            "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})
    };
    let slice = |name: &str, endpoints: Value| {
        json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
            "ports": [{"port": 8080}], "endpoints": endpoints})
    };
    let ready = json!([{"addresses": [server.address()]}]);
    let (services, service_events) = Kind::new("services", json!([service("web", "10.96.0.20")]));
    let (slices, slice_events) = Kind::new("endpointslices", json!([slice("web", ready.clone())]));
    let (zone, mut names) = tokio::sync::watch::channel(Arc::new(Zone::empty("cluster.local")));
    let cancel = CancellationToken::new();
    let synchronizer = Synchronizer {
        client: crate::cluster::client(vec![slices, services]),
        network: one.clone(),
        zone,
        domain: "cluster.local".to_owned(),
    };
    let running = tokio::spawn(synchronizer.run(cancel.clone()));
    let answer = async |last: u8, wanted: &str| {
        let target = address(Ipv4Addr::new(10, 96, 0, last), 80);
        let step = Duration::from_millis(5);
        eventually::poll("the rules to follow", Duration::from_secs(5), step, async || {
            let seen = ask(client.dial(target)).await;
            if seen.as_str().is_some_and(|text| text.contains(wanted)) { Ok(()) } else { Err(seen.to_string()) }
        })
        .await
    };
    answer(20, "server saw").await?;
    let known = |zone: &Zone, name: &str| zone.answer(&format!("{name}.shop.svc.cluster.local"), Question::A);
    let first = format!("{:?}", known(&names.borrow_and_update(), "web"));
    let start = Instant::now();
    service_events.send(json!({"type": "ADDED", "object": service("late", "10.96.0.30")}))?;
    slice_events.send(json!({"type": "ADDED", "object": slice("late", ready)}))?;
    answer(30, "server saw").await?;
    let added = start.elapsed();
    let second = format!("{:?}", known(&names.borrow_and_update(), "late"));
    slice_events.send(json!({"type": "MODIFIED", "object": slice("web", json!([]))}))?;
    answer(20, "Refused").await?;
    cancel.cancel();
    running.await?;
    Ok(json!({"first": first, "second": second, "addedMs": added.as_millis() as u64}))
}

async fn partition() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let pod = one.create_pod_network("client").await?;
    serve(two.listen(address(two.node_address(), 6443)).await?, "node2");
    let far = address(two.node_address(), 6443);
    let before = ask(pod.dial(far)).await;
    fabric.set_network_joined("network2", false).await?;
    let cut = ask(pod.dial(far)).await;
    let inside = ask(two.dial(far)).await;
    fabric.set_network_joined("network2", true).await?;
    Ok(json!({"before": before, "cut": cut, "inside": inside, "healed": ask(pod.dial(far)).await}))
}

fn spec(id: &str, command: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: id.to_owned(),
        hostname: "web-0".to_owned(),
        files: BTreeMap::new(),
        mounts: Vec::new(),
        command: command.iter().map(ToString::to_string).collect(),
        environment: vec![("GREETING".to_owned(), "hello world".to_owned())],
        working_directory: None,
        capabilities: Vec::new(),
        resolv_conf: "nameserver 10.96.0.10\n".to_owned(),
        hosts: "127.0.0.1 localhost\n".to_owned(),
        read_only_root: false,
        log_file: PathBuf::from(FOLDER).join("logs").join(id),
    }
}

/// A folder that only the world sees.
const FOLDER: &str = "/run";

/// Runs a shell script in a container to its end. Returns exit code, signal and log lines without their times.
async fn script(pod: &PodNetwork, spec: ContainerSpec) -> Facts {
    let log = spec.log_file.clone();
    let container = Container::spawn(spec, pod.namespace()).await?;
    let status = container.wait().await;
    let text = std::fs::read_to_string(&log)?;
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest)).collect();
    let ran = status.finished_at.duration_since(status.started_at);
    Ok(json!({"code": status.code, "signal": status.signal, "log": lines, "ranMs": ran.as_millis() as u64}))
}

async fn container() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let folder = PathBuf::from(FOLDER);
    std::fs::create_dir_all(folder.join("volume"))?;
    std::fs::write(folder.join("volume/key"), "value")?;
    std::fs::write(folder.join("program"), "#!/bin/sh\necho \"$0 $*\"\n")?;
    std::fs::set_permissions(folder.join("program"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mount = |target: &str, read_only| Mount {
        source: MountSource::Bind(folder.join("volume")),
        target: target.into(),
        read_only,
    };
    let look = "echo $$; hostname; echo $GREETING; echo \"$HOSTNAME $HOME $PATH\"; cat /etc/resolv.conf; echo problem >&2; \
        ls /; ls /proc | grep -c '^[0-9]'; cat /vol/key; echo x > /vol/new && echo wrote; \
        echo x > /var/run/secrets/ro/new || echo refused; ls -l /dev/null; echo x > /usr/bin/x || echo read-only; \
        echo 1 > /proc/sys/kernel/core_uses_pid || echo no-sysctl; grep -E '^(Cap|NoNew)' /proc/self/status; \
        printf unterminated; exit 7";
    let mut looking = spec("look", &["sh", "-c", look]);
    looking.mounts = vec![mount("/vol", false), mount("/var/run/secrets/ro", true)];
    let regain = "nft flush ruleset || echo nft-refused; unshare -Urn true; echo own-ns=$?; \
        unshare -Ur nft add table ip x || echo nft-refused-in-own-user-namespace; \
        unshare -Urpm --fork mount -t proc proc /proc || echo proc-refused; mount -o remount,rw /usr || echo remount-refused; \
        nsenter -t 1 -n true; echo nsenter=$?";
    let regaining = spec("regain", &["sh", "-c", regain]);
    let mut keeping = spec(
        "keep",
        &[
            "sh",
            "-c",
            "grep CapEff /proc/self/status; nft add table ip kept && nft list tables; nft delete table ip kept",
        ],
    );
    keeping.capabilities = vec!["NET_ADMIN".to_owned()];
    let mut program = spec("program", &["greet", "a", "b c"]);
    program.files.insert("/usr/local/bin/greet".into(), folder.join("program"));
    let mut strict =
        spec("strict", &["sh", "-c", "echo x > /tmp/x || echo refused; echo x > /scratch/x && echo wrote; pwd"]);
    strict.read_only_root = true;
    strict.working_directory = Some("/scratch".into());
    strict.mounts =
        vec![Mount { source: MountSource::Tmpfs { size: Some(1 << 20) }, target: "/scratch".into(), read_only: false }];
    Ok(json!({
        "look": script(&pod, looking).await?,
        "regain": script(&pod, regaining).await?,
        "keep": script(&pod, keeping).await?,
        "program": script(&pod, program).await?,
        "strict": script(&pod, strict).await?,
        "killed": script(&pod, spec("killed", &["sh", "-c", "sleep 1000 & kill -9 $!; wait $!; exit $?"])).await?,
    }))
}

async fn collect(mut session: ExecSession, input: Option<&str>) -> Facts {
    if let (Some(mut stdin), Some(input)) = (session.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).await?;
        stdin.shutdown().await?;
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    session.stdout.read_to_string(&mut stdout).await?;
    if let Some(mut stream) = session.stderr.take() {
        stream.read_to_string(&mut stderr).await?;
    }
    Ok(json!({"stdout": stdout, "stderr": stderr, "code": session.exit.await?}))
}

fn command(script: &str) -> ExecSpec {
    ExecSpec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..Default::default() }
}

async fn exec() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let main =
        spec("main", &["sh", "-c", "echo $$ > /tmp/pid; trap 'exit 3' TERM; while :; do sleep 1000 & wait $!; done"]);
    let container = Container::spawn(main, pod.namespace()).await?;
    let look = "cat /tmp/pid; hostname; echo $GREETING; grep CapBnd /proc/self/status; echo err >&2; exit 5";
    let looked = collect(container.exec(command(look)).await?, None).await?;
    let stdin = ExecSpec { stdin: true, ..command("cat; echo done") };
    let echoed = collect(container.exec(stdin).await?, Some("to and fro\n")).await?;
    let terminal = ExecSpec {
        tty: true,
        terminal_size: Some((132, 43)),
        ..command("tty; stty size; read line; echo got $line; stty size")
    };
    let mut session = container.exec(ExecSpec { stdin: true, ..terminal }).await?;
    session.resize.as_ref().ok_or("no resize")?.send((80, 24)).await?;
    let mut stdin = session.stdin.take().ok_or("no stdin")?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stdin.write_all(b"input\n").await?;
    let terminal = collect(session, None).await?;
    drop(stdin);
    let missing = container.exec(ExecSpec { command: vec!["nonsense".to_owned()], ..Default::default() }).await;
    let start = Instant::now();
    for _ in 0..20 {
        collect(container.exec(command("true")).await?, None).await?;
    }
    let twenty = start.elapsed();
    let mut dropped = container.exec(command("sleep 4321 & echo started; wait")).await?;
    dropped.stdout.read_u8().await?;
    drop(dropped);
    let left = "for i in $(seq 100); do ps ax | grep -q '[s]leep 4321' || break; sleep 0.05; done; \
        ps ax | grep -c '[s]leep 4321'";
    let left = collect(container.exec(command(left)).await?, None).await?;
    container.signal(15)?;
    let status = container.wait().await;
    let late = container.exec(command("true")).await;
    Ok(json!({"looked": looked, "echoed": echoed, "terminal": terminal, "missing": start_error(missing.map(drop)),
        "twentyMs": twenty.as_millis() as u64, "left": left["stdout"], "code": status.code, "late": start_error(late.map(drop))}))
}

fn start_error(outcome: Result<(), StartError>) -> Value {
    match outcome {
        Ok(()) => json!(null),
        Err(error) => json!(format!("{}: {error}", error.reason())),
    }
}

async fn failures() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let mut cases = BTreeMap::new();
    let missing_mount = Mount { source: MountSource::Bind("/no/such".into()), target: "/x".into(), read_only: true };
    for (name, change) in [
        ("notFound", spec("f", &["nonsense"])),
        ("noFile", spec("f", &["/no/such/program"])),
        ("notExecutable", spec("f", &["/etc/passwd"])),
        ("folder", spec("f", &["/usr"])),
        ("empty", spec("f", &[])),
        ("directory", ContainerSpec { working_directory: Some("/nowhere".into()), ..spec("f", &["true"]) }),
        ("capability", ContainerSpec { capabilities: vec!["FLY".into()], ..spec("f", &["true"]) }),
        ("mount", ContainerSpec { mounts: vec![missing_mount], ..spec("f", &["true"]) }),
        ("log", ContainerSpec { log_file: "/proc/nowhere/x.log".into(), ..spec("f", &["true"]) }),
    ] {
        let outcome = Container::spawn(change, pod.namespace()).await;
        cases.insert(name, start_error(outcome.map(drop)));
    }
    let children = std::fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    Ok(json!({"cases": cases, "processes": children.count()}))
}

/// Resolves names in a pod as a program there does.
async fn names() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let one = cluster(&fabric, "cluster1")?;
    let server = Ipv4Addr::new(10, 96, 0, 10);
    one.add_node_address(server).await?;
    let sockets =
        DnsSockets { udp: one.bind_udp(address(server, 53)).await?, tcp: one.listen(address(server, 53)).await? };
    let (zone, receiver) = tokio::sync::watch::channel(Arc::new(Zone::empty("cluster.local")));
    let cancel = CancellationToken::new();
    let serving = tokio::spawn(dns::serve(sockets, receiver, Vec::new(), cancel.clone()));
    let service = serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80}]}}))?;
    zone.send_replace(Arc::new(Zone::build("cluster.local", [&service], [])));
    let pod = one.create_pod_network("client").await?;
    let mut facts = serde_json::Map::new();
    let mut slowest = Duration::ZERO;
    for (key, name, options) in [
        ("web", "web.shop.svc.cluster.local", ""),
        ("short", "web", ""),
        ("missing", "nothing.shop", ""),
        ("foreign", "example.com", ""),
        ("overStream", "web", "use-vc"),
    ] {
        let mut resolving = spec(key, &["getent", "ahosts", name]);
        resolving.resolv_conf = format!(
            "nameserver {server}\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 {options}\n"
        );
        let start = Instant::now();
        let ran = script(&pod, resolving).await?;
        slowest = slowest.max(start.elapsed());
        let address =
            ran.pointer("/log/0").and_then(Value::as_str).and_then(|line| line.split_ascii_whitespace().nth(2));
        facts.insert(key.to_owned(), json!(address));
    }
    facts.insert("slowestMs".to_owned(), json!(slowest.as_millis() as u64));
    cancel.cancel();
    serving.await??;
    Ok(facts.into())
}

/// Brings up pods, says so, and waits for the end of standard input.
async fn idle(world: World) -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let mut pods = Vec::new();
    for name in ["cluster1", "cluster2"] {
        let pod = cluster(&fabric, name)?.create_pod_network("web-0").await?;
        let mut sleeper = spec(name, &["sh", "-c", "sleep 86399 & exec sleep 86399"]);
        sleeper.log_file = "/dev/null".into();
        let container = Container::spawn(sleeper, pod.namespace()).await?;
        pods.push((pod, container));
    }
    println!("{}", serde_json::to_string(&world)?);
    supervision::stdin_closed().await?;
    Ok(json!("ended"))
}
