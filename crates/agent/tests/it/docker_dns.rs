//! The DNS of a container on a network of Docker's user: its resolv.conf names a resolver of Docker's, which rules of Docker's
//! lead elsewhere inside of the container's own network namespace.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use requirements::{Capability, require};

use crate::capture::capture;
use crate::control_plane::{self, State};
use crate::dns::{FROM_THE_RESOLVER, OF_THE_MESH, asked, asked_by_stream, names, resolved};
use crate::pod::Pod;
use crate::support::{go_inside, is_inside, run};

/// What the resolv.conf of a container on such a network names.
const DOCKER: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);
/// Whom Docker's resolver asks in turn, from inside of the container's network.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

/// A network of its own with a container that waits. Both are removed with this value, and the image.
struct Container {
    name: String,
}

impl Container {
    fn start() -> Self {
        let container = Self { name: format!("meshproof-test-dns-{}", std::process::id()) };
        let name = &container.name;
        let files = "/bin/sleep $(ldd /bin/sleep | grep -o '/[^ ]*')";
        run(&format!("tar --create --dereference --absolute-names {files} | docker import - {name}"));
        run(&format!("docker network create --internal {name}"));
        run(&format!("docker run --detach --name {name} --network {name} --dns {OUTSIDE} {name} /bin/sleep 600"));
        container
    }

    fn inspect(&self, what: &str) -> String {
        run(&format!("docker inspect --format '{{{{{what}}}}}' {}", self.name)).trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let name = &self.name;
        run(&format!("docker rm --force {name}; docker network rm {name}; docker image rm {name}"));
    }
}

/// Names that came to whom Docker's resolver asks.
type Leaked = Arc<Mutex<Vec<String>>>;

fn outside() -> Leaked {
    let socket = UdpSocket::bind((OUTSIDE, 53)).unwrap();
    let listener = TcpListener::bind((OUTSIDE, 53)).unwrap();
    let leaked = Leaked::default();
    let (seen, seen_by_stream) = (Arc::clone(&leaked), Arc::clone(&leaked));
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            let (name, answer) = resolved(&buffer[..length]);
            seen.lock().unwrap().push(name);
            socket.send_to(&answer, client).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let (name, answer) = resolved(&question);
            seen_by_stream.lock().unwrap().push(name);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    leaked
}

#[test]
fn names_of_the_mesh_do_not_reach_the_resolver_of_docker() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    if !is_inside() {
        let container = Container::start();
        let network = format!("--net=/proc/{}/ns/net", container.inspect(".State.Pid"));
        // Its file as it is: in the place of this machine's, for the agent and the test.
        let mount =
            format!("mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"", container.inspect(".ResolvConfPath"));
        let test = "docker_dns::names_of_the_mesh_do_not_reach_the_resolver_of_docker";
        return go_inside(test, &["nsenter", &network, "unshare", "--mount", "sh", "-ec", &mount]);
    }
    let resolv_conf = std::fs::read_to_string(Path::new("/etc/resolv.conf")).unwrap();
    assert!(resolv_conf.contains("nameserver 127.0.0.11"), "{resolv_conf}");
    let leaked = outside();
    // Control: without the rules the name of the mesh is asked for outside.
    assert_eq!(asked(DOCKER, "a.global."), Ok(vec![FROM_THE_RESOLVER]));
    assert_eq!(leaked.lock().unwrap().split_off(0), ["a.global."]);

    capture("--redirect-dns");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pod = Pod::new("sidecar", &[("ISTIO_META_DNS_CAPTURE", "true")]);
        let state = State::new(vec![names()]);
        pod.mount(&state);
        let _running = pod.start(&requirements::envoy().unwrap());
        let _control_plane = control_plane::start(pod.ports.control_plane, &state);
        pod.ready().await;
        let resolved = async || {
            let asked = tokio::task::spawn_blocking(|| asked(DOCKER, "a.global.")).await.unwrap();
            if asked == Ok(vec![OF_THE_MESH]) { Ok(()) } else { Err(format!("{asked:?}")) }
        };
        eventually::poll("the mesh's names", Duration::from_secs(20), Duration::from_millis(50), resolved)
            .await
            .unwrap();
        leaked.lock().unwrap().clear();
        tokio::task::spawn_blocking(|| {
            assert_eq!(asked(DOCKER, "a.global."), Ok(vec![OF_THE_MESH]));
            assert_eq!(asked_by_stream(DOCKER, "a.global."), Ok(vec![OF_THE_MESH]));
            assert_eq!(asked(DOCKER, "example.org."), Ok(vec![FROM_THE_RESOLVER]), "through Docker's own rules");
            assert_eq!(asked_by_stream(DOCKER, "stream.example.org."), Ok(vec![FROM_THE_RESOLVER]));
        })
        .await
        .unwrap();
        assert_eq!(*leaked.lock().unwrap(), ["example.org.", "stream.example.org."]);
    });
}
