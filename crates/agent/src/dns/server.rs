//! The servers: one for the application, which knows the mesh's names, and one for Envoy, which must not get their
//! virtual addresses and is served by the resolvers alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::NamesWatch;
use super::answer::{self, Reply};
use super::upstream::Resolvers;

/// An idle stream is closed.
const STREAM_IDLE: Duration = Duration::from_secs(10);
/// The largest datagram that UDP can carry.
const DATAGRAM: usize = 64 * 1024;

/// Answers by names and resolvers.
struct Server {
    /// Absent where the resolvers answer everything.
    names: Option<NamesWatch>,
    resolvers: Resolvers,
    turn: AtomicUsize,
}

impl Server {
    async fn answer(&self, question: &[u8], stream: bool) -> Option<Vec<u8>> {
        let Some(names) = &self.names else {
            return self.resolvers.ask(question, stream).await.or_else(|| answer::failed(question));
        };
        let names = names.borrow().clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match answer::reply(names.as_deref(), question, stream, turn) {
            Reply::Answer(answer) => Some(answer),
            Reply::Nothing => None,
            Reply::Forward => match self.resolvers.ask(question, stream).await {
                Some(answer) if names.is_none() => Some(answer::provisional(answer)),
                Some(answer) => Some(answer),
                None => answer::failed(question),
            },
        }
    }
}

/// Listens on a port of the loopback address and serves from then on. Without `names` the resolvers answer everything.
///
/// # Errors
/// The port is taken.
pub async fn serve(port: u16, names: Option<NamesWatch>, resolvers: Resolvers) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = Arc::new(UdpSocket::bind(address).await?);
    let listener = TcpListener::bind(address).await?;
    let server = Arc::new(Server { names, resolvers, turn: AtomicUsize::new(0) });
    tokio::spawn(datagrams(Arc::clone(&server), socket));
    tokio::spawn(streams(server, listener));
    Ok(())
}

async fn datagrams(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // What an earlier answer met at a client that is gone; the socket itself stays good.
            Err(error) => {
                tracing::debug!(%error, "a DNS datagram was not received");
                continue;
            }
        };
        let (server, socket, question) = (Arc::clone(&server), Arc::clone(&socket), buffer[..length].to_vec());
        tokio::spawn(async move {
            if let Some(answer) = server.answer(&question, false).await
                && let Err(error) = socket.send_to(&answer, client).await
            {
                tracing::debug!(%client, %error, "a DNS answer was not sent");
            }
        });
    }
}

async fn streams(server: Arc<Server>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    if let Err(error) = stream_of(&server, stream).await {
                        tracing::debug!(%error, "a DNS stream ended");
                    }
                });
            }
            Err(error) => tracing::debug!(%error, "a DNS stream was not accepted"),
        }
    }
}

async fn stream_of(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = match tokio::time::timeout(STREAM_IDLE, stream.read_u16()).await {
            Err(_elapsed) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(length) => length?,
        };
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = server.answer(&question, true).await else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}
