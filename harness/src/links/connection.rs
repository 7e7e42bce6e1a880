//! One connection to the control socket of a world: questions and answers, one line of JSON each.

use std::io;
use std::os::fd::AsRawFd as _;

use camino::{Utf8Path, Utf8PathBuf};
use substrate_config::control::{ControlRequest, ControlResponse};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::Error;

/// See the module. What was started over it ends with it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Utf8PathBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    pub(crate) async fn open(socket: &Utf8Path) -> Result<Self, Error> {
        let stream = connect(socket).await.map_err(unreachable(socket))?;
        let (reader, writer) = stream.into_split();
        Ok(Self { socket: socket.to_owned(), reader: BufReader::new(reader), writer })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Refused`] with the provider's words, or a broken connection.
    pub(crate) async fn ask(&mut self, request: &ControlRequest) -> Result<ControlResponse, Error> {
        let answer = self.exchange(request).await.map_err(unreachable(&self.socket))?;
        match answer {
            ControlResponse::Refused { message } => Err(Error::Refused(message)),
            answer => Ok(answer),
        }
    }

    /// Its two directions, for what an answer gives the connection to.
    pub(crate) fn into_parts(self) -> (BufReader<OwnedReadHalf>, OwnedWriteHalf) {
        (self.reader, self.writer)
    }

    async fn exchange(&mut self, request: &ControlRequest) -> io::Result<ControlResponse> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.writer.write_all(&line).await?;
        let mut answer = String::new();
        if self.reader.read_line(&mut answer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed without an answer"));
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

/// Connects through the folder's descriptor: the address of a Unix socket has room for 107 bytes, a path may be longer.
async fn connect(socket: &Utf8Path) -> io::Result<UnixStream> {
    let folder = std::fs::File::open(socket.parent().unwrap_or(Utf8Path::new("/")))?;
    let name = socket.file_name().unwrap_or_default();
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())).await
}

fn unreachable(socket: &Utf8Path) -> impl FnOnce(io::Error) -> Error {
    let socket = socket.to_owned();
    move |source| Error::Unreachable { socket, source }
}

/// An answer to another question.
pub(crate) fn unexpected(response: &ControlResponse) -> Error {
    Error::Unexpected(serde_json::to_string(response).unwrap_or_default())
}
