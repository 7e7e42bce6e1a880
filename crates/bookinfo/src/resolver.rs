//! A resolver of names as it stands outside of a mesh: it answers every name with one address, and remembers what it was asked. What
//! it was asked is what left the machine.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::probe::print;

/// The port of resolvers.
const PORT: u16 = 53;
/// How long an answer may be kept, in seconds.
const TIME_TO_LIVE: u32 = 5;
/// How long a client of a stream may take for its question.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the machine's own resolvers are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Answers every name with one address
    Serve {
        /// Address to listen on, at port 53
        #[arg(long, default_value_t = Ipv4Addr::new(127, 0, 0, 53))]
        address: Ipv4Addr,
        /// The answer
        #[arg(long, default_value_t = Ipv4Addr::new(198, 51, 100, 53))]
        answer: Ipv4Addr,
        /// Port of loopback that tells what was asked
        #[arg(long, default_value_t = 8053)]
        port: u16,
    },
    /// Prints the names that it was asked, one on a line
    Asked {
        /// Port of loopback that tells what was asked
        #[arg(long, default_value_t = 8053)]
        port: u16,
        /// Fails where a name has this in it
        #[arg(long, value_name = "TEXT")]
        without: Vec<String>,
    },
    /// Prints the addresses of a name as every program of this machine finds them, and whom the machine asks
    LookUp {
        /// The name
        name: String,
    },
}

/// Does what the command line says.
///
/// # Errors
/// Where an address or port cannot be had, nobody serves, or a name has no address.
pub async fn main(command: Command, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { address, answer, port } => serve(address, answer, port, stop).await?,
        Command::Asked { port, without } => asked(port, &without).await?,
        Command::LookUp { name } => look_up(&name).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Names in the order in which they were asked for the first time. Cheap to clone.
#[derive(Clone, Debug, Default)]
struct Names(Arc<Mutex<Vec<String>>>);

impl Names {
    fn add(&self, name: String) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(&name) {
            names.push(name);
        }
    }

    fn text(&self) -> String {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|name| format!("{name}\n")).collect()
    }
}

async fn serve(address: Ipv4Addr, answer: Ipv4Addr, port: u16, stop: CancellationToken) -> anyhow::Result<()> {
    let place = SocketAddr::from((address, PORT));
    let datagrams = UdpSocket::bind(place).await.with_context(|| format!("cannot listen on {place} (UDP)"))?;
    let streams = crate::server::listen(place).await?;
    let listeners = crate::server::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let names = Names::default();
    tracing::info!(%place, "resolving");
    tokio::select! {
        ended = by_datagram(&datagrams, &names, answer) => ended?,
        ended = by_stream(&streams, &names, answer) => ended?,
        ended = tell(&listeners, &names) => ended?,
        () = stop.cancelled() => return Ok(()),
    };
    Ok(())
}

async fn by_datagram(socket: &UdpSocket, names: &Names, address: Ipv4Addr) -> std::io::Result<Infallible> {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let Some((name, reply)) = answered(&buffer[..length], address) else { continue };
        names.add(name);
        if let Err(error) = socket.send_to(&reply, client).await {
            tracing::warn!(%error, %client, "the answer cannot be sent");
        }
    }
}

async fn by_stream(listener: &TcpListener, names: &Names, address: Ipv4Addr) -> std::io::Result<Infallible> {
    loop {
        let (stream, client) = listener.accept().await?;
        let names = names.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(PATIENCE, one_question(stream, &names, address)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, %client, "a question by stream"),
                Err(_) => tracing::warn!(%client, "a question by stream did not come to its end"),
            }
        });
    }
}

async fn one_question(mut stream: TcpStream, names: &Names, address: Ipv4Addr) -> std::io::Result<()> {
    let length = stream.read_u16().await?;
    let mut question = vec![0; usize::from(length)];
    stream.read_exact(&mut question).await?;
    let Some((name, reply)) = answered(&question, address) else { return Ok(()) };
    names.add(name);
    stream.write_u16(u16::try_from(reply.len()).unwrap_or(u16::MAX)).await?;
    stream.write_all(&reply).await
}

/// Writes all names to whoever connects.
async fn tell(listener: &TcpListener, names: &Names) -> std::io::Result<Infallible> {
    loop {
        let (mut stream, client) = listener.accept().await?;
        if let Err(error) = stream.write_all(names.text().as_bytes()).await {
            tracing::warn!(%error, %client, "what was asked cannot be told");
        }
    }
}

/// The name in a question, without the dot at its end, and the answer; `None` for what is no question. A name has one address, and
/// nothing of another type.
fn answered(question: &[u8], address: Ipv4Addr) -> Option<(String, Vec<u8>)> {
    let request = Message::from_vec(question).ok()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let query = request.queries.first()?;
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_query(query.clone());
    if query.query_type() == RecordType::A {
        response.add_answer(Record::from_rdata(query.name().clone(), TIME_TO_LIVE, RData::A(A(address))));
    }
    let name = query.name().to_ascii().trim_end_matches('.').to_owned();
    Some((name, response.to_vec().ok()?))
}

async fn asked(port: u16, without: &[String]) -> anyhow::Result<()> {
    let mut stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.context("no resolver tells what it was asked")?;
    let mut names = String::new();
    stream.read_to_string(&mut names).await.context("the resolver did not tell all that it was asked")?;
    print!("{names}");
    match unwanted(&names, without) {
        Some(name) => bail!("it was asked for {name}"),
        None => Ok(()),
    }
}

fn unwanted<'a>(names: &'a str, without: &[String]) -> Option<&'a str> {
    names.lines().find(|name| without.iter().any(|text| name.contains(text)))
}

/// What was found of a name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    name: &'a str,
    addresses: Vec<String>,
    /// The resolvers of this machine, as its file names them.
    resolvers: Vec<String>,
}

async fn look_up(name: &str) -> anyhow::Result<()> {
    let found = tokio::net::lookup_host((name, 0)).await.with_context(|| format!("{name} has no address"))?;
    let mut addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let file = std::fs::read_to_string(RESOLV_CONF).with_context(|| format!("cannot read {RESOLV_CONF}"))?;
    print(&Found { name, addresses, resolvers: resolvers(&file) })
}

fn resolvers(file: &str) -> Vec<String> {
    file.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(|address| address.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, Query};
    use hickory_proto::rr::Name;

    use super::*;

    fn question(kind: RecordType) -> Vec<u8> {
        let mut request = Message::new(7, MessageType::Query, OpCode::Query);
        request.add_query(Query::query(Name::from_ascii("example.org.").unwrap(), kind));
        request.to_vec().unwrap()
    }

    #[test]
    fn a_name_has_one_address_and_nothing_else() {
        let (name, reply) = answered(&question(RecordType::A), Ipv4Addr::new(198, 51, 100, 1)).unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!((name.as_str(), reply.metadata.id, reply.answers.len()), ("example.org", 7, 1));
        assert!(reply.answers[0].to_string().ends_with("198.51.100.1"), "{}", reply.answers[0]);
        let (_, other) = answered(&question(RecordType::AAAA), Ipv4Addr::LOCALHOST).unwrap();
        assert!(Message::from_vec(&other).unwrap().answers.is_empty());
        assert!(answered(b"nonsense", Ipv4Addr::LOCALHOST).is_none());
        assert!(answered(&reply.to_vec().unwrap(), Ipv4Addr::LOCALHOST).is_none(), "an answer is no question");
    }

    #[tokio::test]
    async fn every_name_is_told_once_by_datagram_and_by_stream() {
        let names = Names::default();
        let address = Ipv4Addr::new(198, 51, 100, 1);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (place, stream_place) = (socket.local_addr().unwrap(), listener.local_addr().unwrap());
        let ask = async {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.send_to(&question(RecordType::A), place).await.unwrap();
            client.recv(&mut [0; 512]).await.unwrap();
            let mut client = TcpStream::connect(stream_place).await.unwrap();
            let question = question(RecordType::A);
            client.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
            client.write_all(&question).await.unwrap();
            let length = client.read_u16().await.unwrap();
            let mut reply = vec![0; usize::from(length)];
            client.read_exact(&mut reply).await.unwrap();
            Message::from_vec(&reply).unwrap().answers.len()
        };
        tokio::select! {
            Err(error) = by_datagram(&socket, &names, address) => panic!("{error}"),
            Err(error) = by_stream(&listener, &names, address) => panic!("{error}"),
            answers = ask => assert_eq!(answers, 1),
        }
        assert_eq!(names.text(), "example.org\n");
    }

    #[test]
    fn a_name_that_must_not_have_left_is_found() {
        let names = "example.org\nweb.team.svc\n";
        assert_eq!(unwanted(names, &["team".to_owned()]), Some("web.team.svc"));
        assert_eq!(unwanted(names, &["shop".to_owned()]), None);
    }

    #[test]
    fn resolvers_are_read_from_the_file() {
        assert_eq!(resolvers("# Docker\nnameserver 127.0.0.11\noptions ndots:0\n"), ["127.0.0.11"]);
    }
}
