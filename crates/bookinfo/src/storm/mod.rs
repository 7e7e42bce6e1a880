//! A storm: a share of the requests to this server is answered with an error, on request.
//!
//! It is asked for at an abstract Unix socket, which only processes in the same network namespace reach: for a pod, its own
//! containers. It lasts while the connection that asked for it is open, and at most as long as was said. Whoever asked may
//! die: that ends the connection, and with it the storm. Probes of health are spared: the pod stays ready.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

mod lease;

pub use lease::{StormArgs, main};

/// What is asked for, on one line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// Status of the answers.
    pub status: u16,
    /// How many of a hundred requests.
    pub percent: f64,
    /// For how long at most.
    pub milliseconds: u64,
}

/// What a storm did, on one line, when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// Requests that came meanwhile.
    pub requests: u64,
    /// Those that it struck.
    pub struck: u64,
    /// Whether it ended because its time was up.
    pub expired: bool,
}

/// The storm of a server: none, or one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Storm(Arc<Mutex<Option<Raging>>>);

#[derive(Debug)]
struct Raging {
    status: StatusCode,
    percent: f64,
    damage: Damage,
}

impl Storm {
    /// The status that the next request is answered with, where the storm strikes it. The share is kept exactly: with 25
    /// percent it is every fourth request.
    pub fn strikes(&self) -> Option<StatusCode> {
        let mut storm = self.lock();
        let raging = storm.as_mut()?;
        raging.damage.requests += 1;
        let due = (raging.damage.requests as f64 * raging.percent / 100.0).floor() as u64;
        (due > raging.damage.struck).then(|| {
            raging.damage.struck += 1;
            raging.status
        })
    }

    /// Begins, unless one rages already.
    fn begin(&self, wish: Wish) -> Result<(), String> {
        let status = StatusCode::from_u16(wish.status).ok().filter(|status| status.is_server_error());
        let status = status.ok_or_else(|| format!("{} is no status of a server's error", wish.status))?;
        let mut storm = self.lock();
        if storm.is_some() {
            return Err("a storm rages already".to_owned());
        }
        *storm = Some(Raging { status, percent: wish.percent.clamp(0.0, 100.0), damage: Damage::default() });
        Ok(())
    }

    fn end(&self) -> Damage {
        self.lock().take().map(|raging| raging.damage).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Raging>> {
        // It is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes wishes for as long as the program runs. `port` is that of the server, by which the socket is found.
///
/// # Errors
/// Where the socket cannot be had.
pub fn listen(storm: Storm, port: u16) -> anyhow::Result<()> {
    let listener = StdListener::bind_addr(&address(port)?).context("cannot listen for storms")?;
    listener.set_nonblocking(true).context("cannot listen for storms")?;
    let listener = UnixListener::from_std(listener).context("cannot listen for storms")?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let storm = storm.clone();
            tokio::spawn(async move {
                // Whoever asked may be gone before the answer.
                let _ = serve(&storm, stream).await;
            });
        }
    });
    Ok(())
}

async fn serve(storm: &Storm, stream: UnixStream) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let begun = serde_json::from_str::<Wish>(&line)
        .map_err(|error| error.to_string())
        .and_then(|wish| storm.begin(wish).map(|()| wish));
    let wish = match begun {
        Ok(wish) => wish,
        Err(message) => return Ok(stream.write_all(format!("{message}\n").as_bytes()).await?),
    };
    // Whatever happens to the connection from here on, the storm ends.
    let told = stream.write_all(b"storm\n").await;
    line.clear();
    let lasting = tokio::time::timeout(Duration::from_millis(wish.milliseconds), stream.read_line(&mut line));
    let expired = told.is_ok() && lasting.await.is_err();
    let damage = Damage { expired, ..storm.end() };
    stream.write_all(format!("{}\n", serde_json::to_string(&damage)?).as_bytes()).await?;
    Ok(())
}

fn connect(port: u16) -> anyhow::Result<UnixStream> {
    let stream = StdStream::connect_addr(&address(port)?);
    let stream = stream.with_context(|| format!("no server with port {port} takes wishes here"))?;
    stream.set_nonblocking(true).context("cannot wait for the server")?;
    UnixStream::from_std(stream).context("cannot wait for the server")
}

fn address(port: u16) -> anyhow::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("bookinfo-storm-{port}")).context("this machine has no such sockets")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raging(percent: f64) -> Storm {
        let storm = Storm::default();
        storm.begin(Wish { status: 500, percent, milliseconds: 1 }).expect("none rages");
        storm
    }

    #[test]
    fn the_share_is_kept_exactly() {
        for (percent, struck) in [(100.0, 200), (25.0, 50), (0.5, 1), (0.0, 0)] {
            let storm = raging(percent);
            let hits = (0..200).filter_map(|_| storm.strikes()).count();
            assert_eq!(hits, struck, "{percent} %");
            assert_eq!(storm.end(), Damage { requests: 200, struck: struck as u64, expired: false });
            assert_eq!(storm.strikes(), None);
        }
    }

    #[test]
    fn one_storm_at_a_time_and_only_with_errors() {
        let storm = raging(100.0);
        let wish = Wish { status: 503, percent: 1.0, milliseconds: 1 };
        assert!(storm.begin(wish).is_err());
        storm.end();
        assert!(storm.begin(Wish { status: 200, ..wish }).is_err());
        assert_eq!(storm.begin(wish), Ok(()));
    }
}
