//! The application's DNS queries, led to the agent: the mesh's names from the control plane, others from the resolvers.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use agent::proto::{NAME_TABLE, NameInfo, NameTable};
use envoy_types::pb::google::protobuf::Any;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use prost::Message as _;
use requirements::{Capability, require};

use crate::capture::{ELSEWHERE, capture, elsewhere, world};
use crate::control_plane::{self, State};
use crate::pod::Pod;
use crate::support::{in_network_namespace, run};

/// What the resolver of the test says about every name that does not begin with `none`.
pub(crate) const FROM_THE_RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
pub(crate) const OF_THE_MESH: Ipv4Addr = Ipv4Addr::new(240, 240, 0, 1);

#[test]
#[ignore = "not a test: the resolver that the test starts in another namespace"]
fn resolver_elsewhere() {
    // Not any address: an answer would come from another one of this namespace than was asked.
    let socket = UdpSocket::bind((ELSEWHERE, 53)).unwrap();
    println!("listening");
    let mut buffer = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&resolved(&buffer[..length]).1, client).unwrap();
    }
}

/// The name in a message, and what a resolver of the test answers.
pub(crate) fn resolved(question: &[u8]) -> (String, Vec<u8>) {
    let request = Message::from_vec(question).unwrap();
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.add_queries(request.queries.iter().cloned());
    let name = request.queries[0].name().clone();
    let text = name.to_ascii();
    if text.starts_with("none") {
        response.metadata.response_code = ResponseCode::NXDomain;
    } else {
        response.add_answer(Record::from_rdata(name, 5, RData::A(A(FROM_THE_RESOLVER))));
    }
    (text, response.to_vec().unwrap())
}

fn question(name: &str) -> Vec<u8> {
    let mut request = Message::new(7, MessageType::Query, OpCode::Query);
    request.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    request.to_vec().unwrap()
}

fn addresses(answer: &[u8]) -> Result<Vec<Ipv4Addr>, ResponseCode> {
    let answer = Message::from_vec(answer).unwrap();
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(answer.metadata.response_code);
    }
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(address.0),
        _ => None,
    };
    Ok(answer.answers.iter().filter_map(address).collect())
}

/// What the application learns of a name by a datagram.
pub(crate) fn asked(to: (Ipv4Addr, u16), name: &str) -> Result<Vec<Ipv4Addr>, ResponseCode> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(SocketAddr::from(to)).unwrap();
    socket.send(&question(name)).unwrap();
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{name}: {error}"));
    addresses(&buffer[..length])
}

/// The same by a stream.
pub(crate) fn asked_by_stream(to: (Ipv4Addr, u16), name: &str) -> Result<Vec<Ipv4Addr>, ResponseCode> {
    let mut stream = TcpStream::connect(to).unwrap();
    let question = question(name);
    stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&question).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    addresses(&answer)
}

pub(crate) fn names() -> (String, Any) {
    let info = NameInfo { ips: vec![OF_THE_MESH.to_string()], registry: "External".to_owned(), ..NameInfo::default() };
    let table = NameTable { table: BTreeMap::from([("a.global".to_owned(), info)]) };
    ("names".to_owned(), Any { type_url: NAME_TABLE.to_owned(), value: table.encode_to_vec() })
}

#[test]
fn queries_are_answered_beside_the_application() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Envoy);
    if !in_network_namespace("dns::queries_are_answered_beside_the_application") {
        return;
    }
    let world = world();
    let _resolver = elsewhere(&world, "dns::resolver_elsewhere");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    std::fs::write(&path, format!("nameserver {ELSEWHERE}\nsearch bookinfo.svc.cluster.local\n")).unwrap();
    run(&format!("mount --bind {} /etc/resolv.conf", path.display()));
    let resolver = (ELSEWHERE, 53);
    assert_eq!(asked(resolver, "a.global."), Ok(vec![FROM_THE_RESOLVER]), "without rules");

    capture("--redirect-dns");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pod = Pod::new("sidecar", &[("INSTANCE_IP", "10.0.0.5"), ("ISTIO_META_DNS_CAPTURE", "true")]);
        let state = State::new(vec![names()]);
        pod.mount(&state);
        let _running = pod.start(&requirements::envoy().unwrap());
        // Before the control plane has said anything, nothing is said not to exist.
        let early = async || {
            tokio::task::spawn_blocking(move || match asked(resolver, "none.example.org.") {
                Err(ResponseCode::ServFail) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await
            .map_err(|error| error.to_string())?
        };
        eventually::poll("the agent to answer", Duration::from_secs(20), Duration::from_millis(50), early)
            .await
            .unwrap();
        let _control_plane = control_plane::start(pod.ports.control_plane, &state);
        pod.ready().await;
        tokio::task::spawn_blocking(move || {
            assert_eq!(asked(resolver, "a.global."), Ok(vec![OF_THE_MESH]));
            assert_eq!(asked(resolver, "a.global.bookinfo.svc.cluster.local."), Ok(vec![OF_THE_MESH]));
            assert_eq!(asked(resolver, "example.org."), Ok(vec![FROM_THE_RESOLVER]));
            assert_eq!(asked(resolver, "none.example.org."), Err(ResponseCode::NXDomain));
            assert_eq!(asked_by_stream(resolver, "a.global."), Ok(vec![OF_THE_MESH]));
            assert_eq!(asked((Ipv4Addr::LOCALHOST, 15055), "a.global."), Ok(vec![FROM_THE_RESOLVER]), "Envoy's own");
        })
        .await
        .unwrap();
        assert_eq!(state.seen.lock().unwrap().nacks, Vec::<String>::new());
    });
}
