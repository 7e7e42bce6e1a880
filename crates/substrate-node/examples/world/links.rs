//! Scenarios of faults and taps on the link between two networks.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use substrate_config::control::{Direction, Link, Marker};
use substrate_node::fabric::{ClusterNetwork, Effect, Fabric, PodNetwork};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::networks::{address, ask, serve};
use crate::scenarios::{Facts, cluster, two_clusters};

/// Two clusters, and a pod on the first.
struct Sides {
    fabric: Fabric,
    one: Arc<ClusterNetwork>,
    two: Arc<ClusterNetwork>,
    pod: PodNetwork,
}

async fn sides() -> Result<Sides, Box<dyn Error>> {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let (one, two) = (cluster(&fabric, "cluster1")?, cluster(&fabric, "cluster2")?);
    let pod = one.create_pod_network("client").await?;
    Ok(Sides { fabric, one, two, pod })
}

fn link(direction: Direction) -> Link {
    Link { from: "network1".to_owned(), to: "network2".to_owned(), direction }
}

/// Sends everything back.
fn echo(listener: TcpListener) {
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.ok();
            });
        }
    });
}

/// What comes back may take its time on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);
/// So long nothing comes back over a way that is closed.
const SILENCE: Duration = Duration::from_millis(500);

/// Sends a word over an open connection and says what comes back in time.
async fn exchange(stream: &mut TcpStream, word: &str, patience: Duration) -> Value {
    let talk = async {
        stream.write_all(word.as_bytes()).await?;
        let mut answer = vec![0; word.len()];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match timeout(patience, talk).await {
        Err(_) => json!("timeout"),
        Ok(Ok(answer)) => json!(answer),
        Ok(Err(error)) => json!(format!("{:?}", error.kind())),
    }
}

/// Cuts both ways: new connections, an open one, and traffic that stays inside its network.
pub(crate) async fn cut() -> Facts {
    let Sides { fabric, two, pod, .. } = sides().await?;
    serve(two.listen(address(two.node_address(), 6443)).await?, "node2");
    echo(two.listen(address(two.node_address(), 7)).await?);
    let far = address(two.node_address(), 6443);
    let links = fabric.links();
    let mut open = pod.dial(address(two.node_address(), 7)).await?;
    let before = json!({"new": ask(pod.dial(far)).await, "open": exchange(&mut open, "one", ANSWER).await});
    let fault = links.start(&link(Direction::Both), Effect::Cut).await?;
    let during = json!({"new": ask(pod.dial(far)).await, "open": exchange(&mut open, "two", SILENCE).await,
        "inside": ask(two.dial(far)).await});
    let counters = links.counters().await?;
    let ended = links.end(&fault).await?;
    // What was sent meanwhile is sent again by TCP.
    let mut late = [0; 3];
    let late = timeout(ANSWER, open.read_exact(&mut late)).await.map(|_| late.to_vec());
    Ok(json!({"before": before, "during": during, "touched": ended.touched, "evidence": ended.evidence,
        "after": {"new": ask(pod.dial(far)).await, "late": late.ok().and_then(|bytes| String::from_utf8(bytes).ok()),
            "open": exchange(&mut open, "new", ANSWER).await},
        "countedRules": counters[0].rules, "links": counters[0].links.iter().map(|link| &link.name).collect::<Vec<_>>(),
        "again": links.end(&fault).await.err().map(|error| error.to_string())}))
}

/// Cuts the way there; datagrams show each way on its own.
pub(crate) async fn one_way() -> Facts {
    let Sides { fabric, one, two, .. } = sides().await?;
    let near = one.bind_udp(address(one.node_address(), 5000)).await?;
    let far = two.bind_udp(address(two.node_address(), 5000)).await?;
    let links = fabric.links();
    let before = ways(&near, &far, one.node_address(), two.node_address()).await?;
    let fault = links.start(&link(Direction::OneWay), Effect::Cut).await?;
    let during = ways(&near, &far, one.node_address(), two.node_address()).await?;
    let ended = links.end(&fault).await?;
    let after = ways(&near, &far, one.node_address(), two.node_address()).await?;
    let unknown = Link { to: "network9".to_owned(), ..link(Direction::Both) };
    let same = Link { to: "network1".to_owned(), ..link(Direction::Both) };
    let refused = |outcome: Result<_, substrate_node::fabric::LinkError>| outcome.err().map(|error| error.to_string());
    Ok(json!({"before": before, "during": during, "after": after, "touched": ended.touched,
        "unknown": refused(links.start(&unknown, Effect::Cut).await),
        "same": refused(links.start(&same, Effect::Cut).await)}))
}

/// Which of the two ways a datagram gets through.
async fn ways(near: &UdpSocket, far: &UdpSocket, near_ip: Ipv4Addr, far_ip: Ipv4Addr) -> Result<Value, io::Error> {
    near.send_to(b"there", address(far_ip, 5000)).await?;
    far.send_to(b"back", address(near_ip, 5000)).await?;
    let mut buffer = [0; 16];
    let patience = Duration::from_secs(2);
    let there = timeout(patience, far.recv_from(&mut buffer)).await.is_ok();
    let back = timeout(patience, near.recv_from(&mut buffer)).await.is_ok();
    Ok(json!({"there": there, "back": back}))
}

/// Delays and loses packets, one after the other and together with a cut.
pub(crate) async fn wire() -> Facts {
    let Sides { fabric, two, pod, .. } = sides().await?;
    echo(two.listen(address(two.node_address(), 7)).await?);
    let links = fabric.links();
    let mut open = pod.dial(address(two.node_address(), 7)).await?;
    let before = quickest(&mut open).await?;
    let delay = Effect::Delay { delay: Duration::from_millis(60), jitter: Duration::from_millis(10) };
    let delayed = links.start(&link(Direction::OneWay), delay).await?;
    let during = quickest(&mut open).await?;
    // More than one packet, and more than the kernel carries in one piece.
    let bulk = bulk(&mut open, 3_000_000).await?;
    let cut = links.start(&link(Direction::Both), Effect::Cut).await?;
    let both = exchange(&mut open, "cut", SILENCE).await;
    let uncut = links.end(&cut).await?;
    let mut late = [0; 3];
    timeout(ANSWER, open.read_exact(&mut late)).await??;
    let ended = links.end(&delayed).await?;
    let after = quickest(&mut open).await?;
    let loss = links.start(&link(Direction::OneWay), Effect::Loss { chance: 1.0 }).await?;
    let lost = exchange(&mut open, "lost", SILENCE).await;
    let restored = links.end(&loss).await?;
    let mut late = [0; 4];
    timeout(ANSWER, open.read_exact(&mut late)).await??;
    let rules = links.counters().await?.swap_remove(0).rules;
    Ok(json!({"beforeMs": before, "duringMs": during, "bulk": bulk, "whileCut": both, "cutTouched": uncut.touched,
        "delayTouched": ended.touched, "delayEvidence": ended.evidence, "afterMs": after, "whileLost": lost,
        "lossTouched": restored.touched, "rules": rules.len(),
        "none": links.start(&link(Direction::Both), Effect::Loss { chance: 0.0 }).await.err().map(|e| e.to_string())}))
}

/// Milliseconds of the quickest of some round trips: a busy machine makes many slow, and none faster than the link.
async fn quickest(stream: &mut TcpStream) -> Result<f64, io::Error> {
    let mut quickest = f64::INFINITY;
    for _ in 0..10 {
        quickest = quickest.min(round_trip(stream).await?);
    }
    Ok(quickest)
}

/// Milliseconds until a word has come back.
async fn round_trip(stream: &mut TcpStream) -> Result<f64, io::Error> {
    let start = std::time::Instant::now();
    stream.write_all(b"ping").await?;
    stream.read_exact(&mut [0; 4]).await?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Sends many bytes and says whether all come back as they were.
async fn bulk(stream: &mut TcpStream, length: usize) -> Result<bool, Box<dyn Error>> {
    let sent: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
    let mut received = vec![0; length];
    let (mut reader, mut writer) = stream.split();
    let both = async { tokio::try_join!(writer.write_all(&sent), reader.read_exact(&mut received)) };
    timeout(Duration::from_secs(20), both).await??;
    Ok(received == sent)
}

/// Taps plain TCP, TLS, and traffic that is none of its business.
pub(crate) async fn tap() -> Facts {
    let Sides { fabric, one, two, pod } = sides().await?;
    echo(two.listen(address(two.node_address(), 7)).await?);
    echo(one.listen(address(one.node_address(), 7)).await?);
    let links = fabric.links();
    let marker = |name: &str, text: &str| Marker { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
    let markers =
        [marker("plain", "a-plaintext-marker"), marker("seam", "half-and-half"), marker("inside", "stays-inside")];
    let file = camino::Utf8Path::new(crate::scenarios::FOLDER).join("link.pcap");
    let tap = links.tap(["network1", "network2"], &markers, &file, 1_000_000).await?;
    let mut near = pod.dial(address(one.node_address(), 7)).await?;
    exchange(&mut near, "stays-inside", ANSWER).await;
    let mut far = pod.dial(address(two.node_address(), 7)).await?;
    exchange(&mut far, "this is a-plaintext-marker", ANSWER).await;
    exchange(&mut far, "half-an", ANSWER).await;
    exchange(&mut far, "d-half", ANSWER).await;
    // What TLS looks like: a handshake record, then records of data that carry no marker.
    let mut sealed = pod.dial(address(two.node_address(), 7)).await?;
    exchange(&mut sealed, "\u{16}\u{3}\u{1}\0\u{5}hello", ANSWER).await;
    exchange(&mut sealed, "\u{17}\u{3}\u{3}\0\u{4}n0t!", ANSWER).await;
    bulk(&mut far, 2_000_000).await?;
    let report = tokio::task::spawn_blocking(move || tap.stop()).await??;
    let size = file.metadata()?.len();
    let again = links.tap(["network1", "network2"], &markers, &file, 1_000_000).await;
    let empty = links.tap(["network1", "network2"], &[marker("none", "")], &file, 1).await;
    let refused = |outcome: Result<_, substrate_node::fabric::LinkError>| outcome.err().map(|error| error.to_string());
    Ok(json!({"report": report, "fileBytes": size, "again": refused(again), "empty": refused(empty),
        "missing": [links.why_no_tap().await, links.why_no_wire().await]}))
}
