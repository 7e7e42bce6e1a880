//! Names outside the cluster: passed to the host's resolvers, unchanged.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

/// Resolvers answer within this time or are left out; shorter than the time after which a client asks again.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The resolvers in the host's `/etc/resolv.conf`; empty if there is none.
pub fn host_resolvers() -> Vec<SocketAddr> {
    parse_resolvers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn parse_resolvers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|address| address.trim().parse::<IpAddr>().ok()).map(|address| (address, 53).into()).collect()
}

/// Asks one resolver after the other, from the host's network namespace. `None` if none answers.
pub(super) async fn forward(question: &[u8], resolvers: &[SocketAddr]) -> Option<Vec<u8>> {
    for resolver in resolvers {
        match tokio::time::timeout(PATIENCE, ask(question, *resolver)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver failed"),
            Err(_) => tracing::debug!(%resolver, "a resolver did not answer in time"),
        }
    }
    None
}

async fn ask(question: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 64 * 1024];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Same message id: the answer to this question.
        if length >= 12 && answer[..2] == question[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_resolvers;

    #[test]
    fn reads_resolv_conf() {
        let text = "# made by hand\nsearch example.org\nnameserver 9.9.9.9\nnameserver\t2620:fe::fe\nnameserver x\n";
        let expected = ["9.9.9.9:53".parse().unwrap(), "[2620:fe::fe]:53".parse().unwrap()];
        assert_eq!(parse_resolvers(text), expected);
    }
}
