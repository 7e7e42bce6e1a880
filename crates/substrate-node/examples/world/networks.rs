//! Scenarios of networks, services and names.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use substrate_node::dns::{self, DnsSockets, Question, Zone};
use substrate_node::fabric::{Fabric, PodNetwork};
use substrate_node::services::{PortEntry, Protocol, ServiceEntry, ServiceTable, Synchronizer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::cluster::Kind;
use crate::containers::{script, spec};
use crate::scenarios::{Facts, cluster, two_clusters};

/// Answers every connection with a name and the client's address.
pub(crate) fn serve(listener: TcpListener, name: &str) {
    let name = name.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, client)) = listener.accept().await {
            stream.write_all(format!("{name} saw {}", client.ip()).as_bytes()).await.ok();
        }
    });
}

pub(crate) async fn ask(connection: impl Future<Output = io::Result<TcpStream>>) -> Value {
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

pub(crate) fn address(ip: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddrV4::new(ip, port).into()
}

pub(crate) fn entry(name: &str, addresses: &[Ipv4Addr], port: u16, endpoints: &[SocketAddrV4]) -> ServiceEntry {
    let port = PortEntry { protocol: Protocol::Tcp, port, node_port: None, endpoints: endpoints.to_vec() };
    ServiceEntry {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        addresses: addresses.to_vec(),
        client_affinity: false,
        ports: vec![port],
    }
}

pub(crate) async fn fabric() -> Facts {
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

pub(crate) async fn services() -> Facts {
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
pub(crate) async fn tally(client: &PodNetwork, service: Ipv4Addr, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        let answer = ask(client.dial(address(service, 80))).await;
        let name = answer.as_str().and_then(|text| text.split(' ').next()).unwrap_or_default().to_owned();
        *answers.entry(name).or_default() += 1;
    }
    answers
}

/// Two clusters on one network.
pub(crate) async fn flat() -> Facts {
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
pub(crate) async fn synchronizer() -> Facts {
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

/// Resolves names in a pod as a program there does.
pub(crate) async fn names() -> Facts {
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

/// Pods come and go; what stays of them?
pub(crate) async fn churn() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let one = cluster(&fabric, "cluster1")?;
    let round = async || {
        let pod = one.create_pod_network("pod").await?;
        script(&pod, spec("true", &["true"])).await?;
        let dropped = one.create_pod_network("dropped").await?;
        // Both are deleted by the same thread, one after the other: the second is waited for.
        drop(dropped);
        pod.release().await;
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    // The first round opens what stays open: epoll, resolver threads and the like.
    round().await?;
    let before = resources(&one).await?;
    for _ in 0..25 {
        round().await?;
    }
    let settled =
        eventually::poll("resources to be free again", Duration::from_secs(5), Duration::from_millis(20), async || {
            match resources(&one).await {
                Ok(after) if after == before => Ok(after),
                Ok(after) => Err(after.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
    let after = settled.await.unwrap_or_else(|error| json!(error.last));
    Ok(json!({"before": before, "after": after}))
}

/// Descriptors of this process, processes of the world, and links of a node.
async fn resources(cluster: &substrate_node::fabric::ClusterNetwork) -> Facts {
    let node = cluster.namespace().try_clone_to_owned()?;
    let links = std::thread::spawn(move || {
        nix::sched::setns(node, nix::sched::CloneFlags::CLONE_NEWNET)?;
        std::fs::read_to_string("/proc/thread-self/net/dev")
    });
    let links = links.join().map_err(|_| "the thread failed")??.lines().count() - 2;
    let count = |folder: &str| std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>());
    let processes =
        count("/proc")?.iter().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    Ok(json!({"descriptors": count("/proc/self/fd")?.len(), "processes": processes, "links": links}))
}
