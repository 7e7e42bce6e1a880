//! The capture rules in a network namespace of their own: who ends up where.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use envoy_types::util::pack_any;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use requirements::{Capability, require};

use crate::control_plane::{self, State};
use crate::pod::Pod;
use crate::support::{in_network_namespace, run};

const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
pub(crate) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A process that keeps another network namespace alive, which plays the rest of the world.
pub(crate) struct World(Child);

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The pod at 10.0.0.5 here, everything else behind a veth.
pub(crate) fn world() -> World {
    let mut child = Command::new("unshare")
        .args(["--net", "--", "sh", "-ec", "ip link set lo up; echo up; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let id = child.id();
    run("ip link add eth0 type veth peer name world");
    run(&format!("ip link set world netns {id}"));
    run("ip addr add 10.0.0.5/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.0.1");
    let there = format!("nsenter -t {id} -n");
    run(&format!(
        "{there} ip addr add 10.0.0.1/24 dev world; {there} ip addr add 192.0.2.1/32 dev world; {there} ip link set world up"
    ));
    World(child)
}

/// Answers every connection to `port` with `name`.
fn answer(port: u16, name: &'static str) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that has gone away needs no answer.
            let _gone = stream.and_then(|mut stream| stream.write_all(name.as_bytes()));
        }
    });
}

fn read(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).map_or_else(|error| error.to_string(), |_| text)
}

/// Who answers a connection from the application.
fn from_application(to: Ipv4Addr, port: u16) -> String {
    TcpStream::connect_timeout(&SocketAddr::from((to, port)), Duration::from_secs(5))
        .map_or_else(|error| error.to_string(), read)
}

/// Who answers a connection from the proxy, from a given source where one is given.
fn from_proxy(to: Ipv4Addr, port: u16, source: Option<Ipv4Addr>, mark: bool) -> String {
    dial(SocketAddrV4::new(to, port), source.map(|source| SocketAddrV4::new(source, 0)), mark)
}

/// Who answers a connection, with the mark of the proxy where it is the proxy's; nobody after half a second.
fn dial(to: SocketAddrV4, source: Option<SocketAddrV4>, mark: bool) -> String {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::milliseconds(500)).unwrap();
    if mark {
        setsockopt(&socket, sockopt::Mark, &agent::settings::PROXY_MARK).unwrap();
    }
    if let Some(source) = source {
        bind(socket.as_raw_fd(), &SockaddrIn::from(source)).unwrap();
    }
    match connect(socket.as_raw_fd(), &SockaddrIn::from(to)) {
        Ok(()) => read(TcpStream::from(socket)),
        Err(errno) => errno.to_string(),
    }
}

/// Who answers a connection to the pod from outside.
fn from_outside(world: &World, port: u16) -> String {
    let script = format!("exec 3<>/dev/tcp/{POD}/{port} && cat <&3");
    let output = Command::new("nsenter")
        .args(["-t", &world.0.id().to_string(), "-n", "timeout", "5", "bash", "-c", &script])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn serve_elsewhere(world: &World) -> World {
    elsewhere(world, "capture::server_elsewhere")
}

/// Starts an ignored test of this program as a server in the other namespace, and waits until it listens.
pub(crate) fn elsewhere(world: &World, server: &str) -> World {
    // The test binary itself is the server there: it answers in the namespace it is started in.
    let child = Command::new("nsenter")
        .args(["-t", &world.0.id().to_string(), "-n"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", server, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = World(child);
    let mut seen = String::new();
    while !seen.contains("listening") {
        let mut byte = [0; 1];
        server.0.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        seen.push(char::from(byte[0]));
    }
    server
}

#[test]
#[ignore = "not a test: the server that the capture test starts in another namespace"]
fn server_elsewhere() {
    answer(80, "elsewhere");
    println!("listening");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

pub(crate) fn capture(arguments: &str) {
    run(&format!("{} istio-iptables {arguments}", env!("CARGO_BIN_EXE_pilot-agent")));
}

#[test]
fn traffic_goes_where_istio_sends_it() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("capture::traffic_goes_where_istio_sends_it") {
        return;
    }
    let world = world();
    let _server = serve_elsewhere(&world);
    for (port, name) in [
        (80, "application"),
        (15001, "outbound"),
        (15006, "inbound"),
        (15020, "agent"),
        (15021, "health"),
        (15090, "stats"),
        (15008, "tunnel"),
        (9100, "metrics"),
    ] {
        answer(port, name);
    }
    assert_eq!(from_application(ELSEWHERE, 80), "elsewhere", "without rules");
    capture("-p 15001 -z 15006 -m REDIRECT -i '*' -b '*' -d 15090,15021,15020,9100");
    assert_eq!(from_application(ELSEWHERE, 80), "outbound");
    assert_eq!(from_proxy(ELSEWHERE, 80, None, true), "elsewhere", "the proxy's own connections are left alone");
    assert_eq!(from_application(POD, 80), "application", "the application reaches itself");
    assert_eq!(from_application(Ipv4Addr::LOCALHOST, 80), "application");
    assert_eq!(
        from_proxy(POD, 80, None, true),
        "inbound",
        "through a service address to itself, a request enters as any other"
    );
    assert_eq!(
        from_proxy(POD, 80, Some(Ipv4Addr::new(127, 0, 0, 6)), true),
        "application",
        "the inbound proxy's last step"
    );
    assert_eq!(from_proxy(POD, 80, Some(Ipv4Addr::new(127, 0, 0, 6)), false), "application", "a probe by the agent");
    assert_eq!(from_proxy(Ipv4Addr::LOCALHOST, 80, None, true), "application");
    assert_eq!(from_outside(&world, 80), "inbound");
    for (port, name) in [(15020, "agent"), (15021, "health"), (15090, "stats"), (15008, "tunnel"), (9100, "metrics")] {
        assert_eq!(from_outside(&world, port), name);
    }
    capture("-i 198.51.100.0/24 -x 198.51.100.7 -b 443 -o 81");
    assert_eq!(from_application(ELSEWHERE, 80), "elsewhere", "a range that is not included");
    assert_eq!(from_application(Ipv4Addr::new(198, 51, 100, 1), 80), "outbound");
    assert_eq!(from_outside(&world, 80), "application", "a port that is not included");
    assert_eq!(from_outside(&world, 443), "inbound");
    capture("-i '' -q 80");
    assert_eq!(from_application(ELSEWHERE, 80), "outbound", "a port that is included whatever the range");
    capture("-x 192.0.2.0/24");
    assert_eq!(from_application(ELSEWHERE, 80), "elsewhere", "an exempt range");
    capture("-o 80");
    assert_eq!(from_application(ELSEWHERE, 80), "elsewhere", "an exempt port");
    capture("--cleanup-only");
    assert_eq!(from_outside(&world, 80), "application", "no rules are left");
}

/// The kernel remembers for two minutes where it led a connection that nobody has answered. One of the proxy's leads nowhere, and
/// an application's that gets the same source port afterwards is captured all the same.
#[test]
fn what_the_proxy_tried_in_vain_leads_no_application_around_it() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    if !in_network_namespace("capture::what_the_proxy_tried_in_vain_leads_no_application_around_it") {
        return;
    }
    let _world = world();
    answer(15001, "outbound");
    capture("");
    let nobody = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 80);
    let source = Some(SocketAddrV4::new(POD, 40_000));
    assert_ne!(dial(nobody, source, true), "outbound");
    assert_eq!(dial(nobody, source, false), "outbound");
}

/// Sends everything on to where it was going.
fn passthrough() -> Vec<(String, Any)> {
    let name = "PassthroughCluster";
    let onward = cluster::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::OriginalDst.into(),
        )),
        lb_policy: cluster::cluster::LbPolicy::ClusterProvided.into(),
        ..cluster::Cluster::default()
    };
    let proxy = TcpProxy {
        stat_prefix: name.to_owned(),
        cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(name.to_owned())),
        ..TcpProxy::default()
    };
    let filter = listener::Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(pack_any(proxy))),
    };
    let outbound = listener::Listener {
        name: "virtualOutbound".to_owned(),
        address: Some(core::Address {
            address: Some(core::address::Address::SocketAddress(core::SocketAddress {
                address: "0.0.0.0".to_owned(),
                port_specifier: Some(core::socket_address::PortSpecifier::PortValue(15001)),
                ..core::SocketAddress::default()
            })),
        }),
        use_original_dst: Some(BoolValue { value: true }),
        filter_chains: vec![listener::FilterChain { filters: vec![filter], ..listener::FilterChain::default() }],
        ..listener::Listener::default()
    };
    vec![(name.to_owned(), pack_any(onward)), ("virtualOutbound".to_owned(), pack_any(outbound))]
}

#[test]
fn envoy_passes_captured_connections_on_without_meeting_them_again() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    if !in_network_namespace("capture::envoy_passes_captured_connections_on_without_meeting_them_again") {
        return;
    }
    let world = world();
    let _server = serve_elsewhere(&world);
    capture("");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pod = Pod::new("sidecar", &[("INSTANCE_IP", "10.0.0.5")]);
        let state = State::new(passthrough());
        pod.mount(&state);
        let _control_plane = control_plane::start(pod.ports.control_plane, &state);
        let _running = pod.start(&requirements::envoy().unwrap());
        pod.ready().await;
        let answer = tokio::task::spawn_blocking(|| from_application(ELSEWHERE, 80)).await.unwrap();
        assert_eq!(answer, "elsewhere");
        let stats = pod.page(pod.ports.admin, "/stats?filter=PassthroughCluster.upstream_cx_total").await.unwrap().1;
        assert_eq!(stats.trim(), "cluster.PassthroughCluster.upstream_cx_total: 1", "once through the proxy");
    });
}
