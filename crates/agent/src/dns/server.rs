//! The servers: one for the application, which knows the mesh's names, and one for Envoy, which must not get their
//! virtual addresses and is served by the resolvers alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::NamesWatch;
use super::answer::{self, Reply};
use super::upstream::Resolvers;
use crate::backoff::Backoff;

/// A stream is closed on which nothing comes, or goes, for so long.
const STREAM_IDLE: Duration = Duration::from_secs(10);
/// So many questions by datagram are answered at a time; more wait in the socket, which drops what it has no room for.
const MOST_DATAGRAMS: usize = 1024;
/// So many streams are served at a time; more wait to be accepted.
const MOST_STREAMS: usize = 256;
const STREAMS: StreamLimits = StreamLimits { most: MOST_STREAMS, idle: STREAM_IDLE };
/// Longest pause after an error that may last, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest datagram that UDP can carry.
const DATAGRAM: usize = 64 * 1024;

/// See [`MOST_STREAMS`] and [`STREAM_IDLE`].
#[derive(Clone, Copy)]
struct StreamLimits {
    most: usize,
    idle: Duration,
}

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
    tokio::spawn(datagrams(Arc::clone(&server), socket, MOST_DATAGRAMS));
    tokio::spawn(streams(server, listener, STREAMS));
    Ok(())
}

async fn datagrams(server: Arc<Server>, socket: Arc<UdpSocket>, most: usize) {
    let (mut buffer, places) = (vec![0; DATAGRAM], Arc::new(Semaphore::new(most)));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
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
            let _place = place;
            if let Some(answer) = server.answer(&question, false).await
                && let Err(error) = socket.send_to(&answer, client).await
            {
                tracing::debug!(%client, %error, "a DNS answer was not sent");
            }
        });
    }
}

async fn streams(server: Arc<Server>, listener: TcpListener, limits: StreamLimits) {
    let (places, mut backoff) = (Arc::new(Semaphore::new(limits.most)), Backoff::new(PAUSE));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                backoff = Backoff::new(PAUSE);
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = stream_of(&server, stream, limits.idle).await {
                        tracing::debug!(%error, "a DNS stream ended");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a DNS stream was not accepted");
                backoff.pause().await;
            }
        }
    }
}

async fn stream_of(server: &Server, mut stream: TcpStream, idle: Duration) -> io::Result<()> {
    loop {
        let length = match tokio::time::timeout(idle, stream.read_u16()).await {
            Err(_elapsed) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(length) => length?,
        };
        let mut question = vec![0; usize::from(length)];
        in_time(idle, stream.read_exact(&mut question)).await?;
        let Some(answer) = server.answer(&question, true).await else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        in_time(idle, stream.write_all(&[&length.to_be_bytes()[..], &answer].concat())).await?;
    }
}

/// Fails where the other side of a stream neither sends nor takes what it should.
async fn in_time<T>(limit: Duration, exchange: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const IDLE: Duration = Duration::from_millis(300);

    /// Serves streams, so many at a time, without any resolver: every question fails.
    async fn address(most: usize) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let resolvers = Resolvers::new(Vec::new(), false);
        let server = Server { names: None, resolvers, turn: AtomicUsize::new(0) };
        tokio::spawn(streams(Arc::new(server), listener, StreamLimits { most, idle: IDLE }));
        address
    }

    /// Waits until the server closes a stream.
    async fn closed(stream: &mut TcpStream) {
        let end = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 8])).await;
        assert!(matches!(end, Ok(Ok(0) | Err(_))), "{end:?}");
    }

    #[tokio::test]
    async fn a_question_that_stops_half_way_ends_its_stream() {
        let mut stream = TcpStream::connect(address(8).await).await.unwrap();
        stream.write_all(&[0, 50, 1, 2, 3]).await.unwrap();
        closed(&mut stream).await;
    }

    #[tokio::test]
    async fn no_more_streams_than_there_is_room_for_are_served_at_a_time() {
        let (address, begun) = (address(1).await, Instant::now());
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        // Nothing that could be a question: its stream ends at once, as soon as it is served.
        second.write_all(&[0, 1, 7]).await.unwrap();
        closed(&mut second).await;
        assert!(begun.elapsed() >= IDLE, "it was served beside the first, after {:?}", begun.elapsed());
        closed(&mut first).await;
    }
}
