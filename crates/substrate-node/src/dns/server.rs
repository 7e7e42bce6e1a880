//! The DNS server: datagrams and streams in, answers from the current zone out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, CNAME, PTR, SRV};
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::forward::forward;
use super::zone::{Answer, Question, RecordData, Zone};

/// Where the server listens: port 53 of the cluster's DNS address, in the node's namespace.
pub struct DnsSockets {
    /// For datagrams.
    pub udp: UdpSocket,
    /// For streams.
    pub tcp: TcpListener,
}

/// How long an answer may be kept. Short, because endpoints of headless Services come and go.
const TIME_TO_LIVE: u32 = 5;
/// An idle stream is closed.
const STREAM_IDLE: Duration = Duration::from_secs(10);
/// The largest datagram we send, whatever the client allows.
const LARGEST_DATAGRAM: u16 = 1232;
/// What a client without EDNS takes.
const PLAIN_DATAGRAM: u16 = 512;

/// Serves until cancelled. `resolvers` get the names that are not the cluster's; without any, those are refused.
///
/// # Errors
/// A socket that cannot be read any more.
pub async fn serve(
    sockets: DnsSockets,
    zone: watch::Receiver<Arc<Zone>>,
    resolvers: Vec<SocketAddr>,
    cancel: CancellationToken,
) -> io::Result<()> {
    let server = Arc::new(Server { zone, resolvers });
    let datagrams = serve_datagrams(server.clone(), Arc::new(sockets.udp));
    let streams = serve_streams(server, sockets.tcp);
    tokio::select! {
        outcome = datagrams => outcome,
        outcome = streams => outcome,
        () = cancel.cancelled() => Ok(()),
    }
}

struct Server {
    zone: watch::Receiver<Arc<Zone>>,
    resolvers: Vec<SocketAddr>,
}

/// What to do with a message.
#[derive(Debug)]
enum Reply {
    Answer(Vec<u8>),
    /// Ask the resolvers; if none answers, this.
    Forward(Vec<u8>),
    Nothing,
}

impl Server {
    fn reply(&self, question: &[u8], stream: bool) -> Reply {
        let zone = self.zone.borrow().clone();
        reply(&zone, question, stream, !self.resolvers.is_empty())
    }
}

async fn serve_datagrams(server: Arc<Server>, socket: Arc<UdpSocket>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        match server.reply(&buffer[..length], false) {
            Reply::Nothing => {}
            // A client that is gone does not matter to the others.
            Reply::Answer(answer) => drop(socket.send_to(&answer, client).await),
            Reply::Forward(otherwise) => {
                let (server, socket, question) = (server.clone(), socket.clone(), buffer[..length].to_vec());
                tokio::spawn(async move {
                    let answer = forward(&question, &server.resolvers).await.unwrap_or(otherwise);
                    socket.send_to(&answer, client).await.ok();
                });
            }
        }
    }
}

async fn serve_streams(server: Arc<Server>, listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_stream(&server, stream).await {
                tracing::debug!(%error, "a DNS stream ended");
            }
        });
    }
}

async fn serve_stream(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = match tokio::time::timeout(STREAM_IDLE, stream.read_u16()).await {
            Err(_) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(length) => length?,
        };
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let answer = match server.reply(&question, true) {
            Reply::Nothing => return Ok(()),
            Reply::Answer(answer) => answer,
            Reply::Forward(otherwise) => forward(&question, &server.resolvers).await.unwrap_or(otherwise),
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&answer).await?;
    }
}

/// Pure: from a message to what is sent back.
fn reply(zone: &Zone, question: &[u8], stream: bool, resolvers: bool) -> Reply {
    let Ok(request) = Message::from_vec(question) else { return Reply::Nothing };
    // Answering answers would let two servers talk to each other for ever.
    if request.metadata.message_type != MessageType::Query {
        return Reply::Nothing;
    }
    let mut response = response_to(&request);
    let query = match request.queries.as_slice() {
        _ if request.metadata.op_code != OpCode::Query => return failed(response, ResponseCode::NotImp),
        [query] => query,
        _ => return failed(response, ResponseCode::FormErr),
    };
    let question = question_of(query.query_type());
    match zone.answer(&query.name().to_ascii(), question) {
        _ if query.query_class() != DNSClass::IN => return failed(response, ResponseCode::Refused),
        Answer::Records(records) => {
            response.metadata.authoritative = true;
            response.add_answers(records.into_iter().filter_map(|(name, data)| record(query, &name, data)));
        }
        Answer::NoSuchName => {
            response.metadata.authoritative = true;
            response.metadata.response_code = ResponseCode::NXDomain;
        }
        Answer::NotOurs => {
            let code = if resolvers { ResponseCode::ServFail } else { ResponseCode::Refused };
            return match failed(response, code) {
                Reply::Answer(answer) if resolvers => Reply::Forward(answer),
                other => other,
            };
        }
    }
    let largest = if stream { u16::MAX } else { datagram_limit(&request) };
    encode(response, largest)
}

fn response_to(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_DATAGRAM);
        response.set_edns(edns);
    }
    response
}

fn failed(mut response: Message, code: ResponseCode) -> Reply {
    response.metadata.response_code = code;
    encode(response, u16::MAX)
}

fn encode(response: Message, largest: u16) -> Reply {
    let encoded = response
        .to_vec()
        .and_then(|bytes| if bytes.len() <= usize::from(largest) { Ok(bytes) } else { response.truncate().to_vec() });
    match encoded {
        Ok(bytes) => Reply::Answer(bytes),
        Err(error) => {
            tracing::debug!(%error, "a DNS answer cannot be encoded");
            Reply::Nothing
        }
    }
}

fn datagram_limit(request: &Message) -> u16 {
    let offered = request.edns.as_ref().map_or(PLAIN_DATAGRAM, Edns::max_payload);
    offered.clamp(PLAIN_DATAGRAM, LARGEST_DATAGRAM)
}

fn question_of(kind: RecordType) -> Question {
    match kind {
        RecordType::A => Question::A,
        RecordType::SRV => Question::Srv,
        RecordType::PTR => Question::Ptr,
        RecordType::CNAME => Question::Cname,
        RecordType::ANY => Question::Any,
        _ => Question::Other,
    }
}

/// `None` for names that are not valid in DNS; such objects cannot be created in the first place.
fn record(query: &Query, owner: &str, data: RecordData) -> Option<Record> {
    // The owner is repeated as it was asked, upper and lower case included: some clients check that.
    let asked = query.name().to_ascii();
    let same = asked.trim_end_matches('.').eq_ignore_ascii_case(owner);
    let owner = if same { query.name().clone() } else { absolute(owner)? };
    let data = match data {
        RecordData::A(address) => RData::A(A(address)),
        RecordData::Srv { port, target } => RData::SRV(SRV::new(0, 100, port, absolute(&target)?)),
        RecordData::Ptr(name) => RData::PTR(PTR(absolute(&name)?)),
        RecordData::Cname(name) => RData::CNAME(CNAME(absolute(&name)?)),
    };
    Some(Record::from_rdata(owner, TIME_TO_LIVE, data))
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::fixtures;

    fn ask(name: &str, kind: RecordType, resolvers: bool) -> (Message, bool) {
        let (services, slices) = fixtures::objects();
        let zone = Zone::build("cluster.local", &services, &slices);
        let mut request = Message::new(7, MessageType::Query, OpCode::Query);
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        match reply(&zone, &request.to_vec().unwrap(), false, resolvers) {
            Reply::Answer(bytes) => (Message::from_vec(&bytes).unwrap(), false),
            Reply::Forward(bytes) => (Message::from_vec(&bytes).unwrap(), true),
            Reply::Nothing => panic!("no reply"),
        }
    }

    #[test]
    fn an_existing_name_without_ipv6_is_no_error() {
        let (answer, _) = ask("web.shop.svc.cluster.local.", RecordType::AAAA, false);
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        let (answer, _) = ask("none.shop.svc.cluster.local.", RecordType::AAAA, false);
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn answers_repeat_the_question() {
        let (answer, _) = ask("Web.shop.svc.cluster.local.", RecordType::A, false);
        assert_eq!(answer.metadata.id, 7);
        assert_eq!(answer.answers[0].to_string(), "Web.shop.svc.cluster.local. 5 IN A 10.96.0.20");
    }

    #[test]
    fn foreign_names_are_refused_or_passed_on() {
        let (answer, forwarded) = ask("example.com.", RecordType::A, false);
        assert_eq!((answer.metadata.response_code, forwarded), (ResponseCode::Refused, false));
        assert!(ask("example.com.", RecordType::A, true).1);
        assert!(!ask("web.shop.svc.cluster.local.", RecordType::A, true).1);
    }

    #[test]
    fn garbage_and_answers_are_not_answered() {
        let zone = Zone::empty("cluster.local");
        assert!(matches!(reply(&zone, b"garbage", false, false), Reply::Nothing));
        let response = Message::response(7, OpCode::Query).to_vec().unwrap();
        assert!(matches!(reply(&zone, &response, false, false), Reply::Nothing));
    }
}
