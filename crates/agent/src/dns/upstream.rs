//! Asks the pod's resolvers, from sockets that capture leaves alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};

use crate::upstream::mark_socket;

/// A resolver answers within this time, or the next one is asked. Shorter than a client's own patience.
const PATIENCE: Duration = Duration::from_secs(2);
const PORT: u16 = 53;
/// The largest datagram that UDP can carry.
const DATAGRAM: usize = 64 * 1024;
/// Length of a message's header.
const HEADER: usize = 12;

/// The resolvers, and how they are asked.
#[derive(Clone, Debug)]
pub struct Resolvers {
    /// In the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// Whether sockets must be marked.
    pub mark: bool,
    /// Port of the resolvers; another than 53 in tests only.
    pub port: u16,
}

impl Resolvers {
    /// The resolvers on their usual port.
    #[must_use]
    pub fn new(servers: Vec<IpAddr>, mark: bool) -> Self {
        Self { servers, mark, port: PORT }
    }

    /// The answer of the first resolver that gives one. A message that came over a stream is passed on over one. What is
    /// too short to be a message is not passed on.
    pub async fn ask(&self, question: &[u8], stream: bool) -> Option<Vec<u8>> {
        if question.len() < HEADER {
            return None;
        }
        for server in &self.servers {
            let server = SocketAddr::new(*server, self.port);
            let answer = async {
                if stream { self.over_tcp(server, question).await } else { self.over_udp(server, question).await }
            };
            match tokio::time::timeout(PATIENCE, answer).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver failed"),
                Err(_elapsed) => tracing::debug!(%server, "a resolver did not answer in time"),
            }
        }
        None
    }

    async fn over_udp(&self, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // A socket and so a port of its own for every question, which makes answers hard to forge.
        let socket = UdpSocket::bind((any, 0)).await?;
        if self.mark {
            mark_socket(&socket)?;
        }
        socket.connect(server).await?;
        socket.send(question).await?;
        let mut answer = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut answer).await?;
            // The same message id: the answer to this question.
            if length >= HEADER && answer[..2] == question[..2] {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if self.mark {
            mark_socket(&socket)?;
        }
        let mut stream = socket.connect(server).await?;
        let length = u16::try_from(question.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_short_to_be_a_message_is_not_passed_on() {
        let resolver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = resolver.local_addr().unwrap().port();
        let resolvers = Resolvers { servers: vec![Ipv4Addr::LOCALHOST.into()], mark: false, port };
        let answer = async {
            let mut buffer = [0; DATAGRAM];
            loop {
                let (_, client) = resolver.recv_from(&mut buffer).await.unwrap();
                resolver.send_to(&[0; HEADER], client).await.unwrap();
            }
        };
        let ask = async {
            assert_eq!(resolvers.ask(&[0], false).await, None);
            assert_eq!(resolvers.ask(&[], false).await, None);
            assert_eq!(resolvers.ask(&[0; HEADER], false).await, Some(vec![0; HEADER]));
        };
        tokio::select! {
            () = ask => {}
            () = answer => {}
        }
    }
}
