//! A command on a host, with its streams on a connection of the control socket. It ends with the connection.

use substrate_config::control::{Attached, ControlResponse};
use substrate_node::runtime::ExecSession;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc;

/// So many pieces of what the command writes may wait for the client.
const WAITING: usize = 16;

/// Carries what the client writes to the command and back what it writes, until it has ended or the client is gone.
pub(super) async fn serve(session: ExecSession, input: impl AsyncRead + Unpin, mut output: impl AsyncWrite + Unpin) {
    let ExecSession { stdin, stdout, stderr, exit, .. } = session;
    let (send, mut pieces) = mpsc::channel(WAITING);
    let run = async move {
        tokio::join!(pump(stdout, &send, |text| Attached::Stdout { text }), async {
            if let Some(stderr) = stderr {
                pump(stderr, &send, |text| Attached::Stderr { text }).await;
            }
        });
        let last = match exit.await {
            Ok(code) => Attached::Exit { code },
            Err(error) => Attached::Lost { message: error.to_string() },
        };
        // Whoever took the pieces may be gone, and then nobody wants to know.
        let _gone = send.send(last).await;
    };
    let tell = async move {
        write(&mut output, &ControlResponse::Attached).await?;
        while let Some(piece) = pieces.recv().await {
            write(&mut output, &piece).await?;
        }
        std::io::Result::Ok(())
    };
    // The command is killed when `run` is dropped.
    tokio::select! {
        (_, _told) = async { tokio::join!(run, tell) } => {}
        () = until_gone(input, stdin) => {}
    }
}

/// Returns when the client has gone. One that has closed its side only has ended the command's input, where it has one.
async fn until_gone(mut input: impl AsyncRead + Unpin, stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    match stdin {
        Some(mut stdin) => {
            // A command that reads no more, or has ended, says so itself.
            let _ended = tokio::io::copy(&mut input, &mut stdin).await;
            drop(stdin);
            std::future::pending::<()>().await;
        }
        None => {
            let mut ignored = [0; 64];
            while matches!(input.read(&mut ignored).await, Ok(1..)) {}
        }
    }
}

async fn pump(stream: impl AsyncRead + Unpin, to: &mpsc::Sender<Attached>, piece: fn(String) -> Attached) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        // What came before a stream broke is worth as much as the rest.
        let read = stream.read_until(b'\n', &mut line).await;
        if line.is_empty() || to.send(piece(String::from_utf8_lossy(&line).into_owned())).await.is_err() {
            return;
        }
        if read.is_err() {
            return;
        }
    }
}

async fn write(output: &mut (impl AsyncWrite + Unpin), value: &impl serde::Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(value).expect("invariant: plain data serialises");
    text.push(b'\n');
    output.write_all(&text).await
}
