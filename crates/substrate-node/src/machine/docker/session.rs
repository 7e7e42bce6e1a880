//! What happens in a container that plays a host, for as long as it has power.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;
use docker_support::bollard::container::LogOutput;
use docker_support::bollard::errors::Error;
use futures::{Stream, StreamExt as _};
use substrate_config::machine::ProgramStatus;
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex, watch};
use tokio_util::io::StreamReader;

use crate::machine::inside::{Said, Told};
use crate::machine::program::log_file;
use crate::runtime::logs::LogWriter;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Hears a container. Dropping it is the end of the container's input, and so of the host.
pub(super) struct Session {
    state: watch::Receiver<State>,
    /// What the host is told; its end would take the power.
    input: Mutex<Input>,
}

#[derive(Clone, Default)]
struct State {
    programs: Vec<ProgramStatus>,
    ended: bool,
}

impl Session {
    /// `programs` are the names; their logs go into files of the folder `logs`, with the number of the host's start.
    pub(super) fn start(programs: Vec<String>, (logs, number): (&Path, u64), output: Output, input: Input) -> Self {
        let (publish, state) =
            watch::channel(State { programs: programs.iter().map(ProgramStatus::off).collect(), ended: false });
        let hearing = Hearing { logs: logs.to_owned(), number, names: programs, files: BTreeMap::new() };
        tokio::spawn(hearing.run(output, publish));
        Self { state, input: Mutex::new(input) }
    }

    pub(super) fn is_on(&self) -> bool {
        !self.state.borrow().ended
    }

    pub(super) fn programs(&self) -> Vec<ProgramStatus> {
        self.state.borrow().programs.clone()
    }

    /// Kills a program and keeps it off, or lets it be started again, and waits until the host says so.
    pub(super) async fn keep_off(&self, program: usize, off: bool) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&Told { program, off }).expect("invariant: plain data serialises");
        line.push(b'\n');
        {
            let mut input = self.input.lock().await;
            input.write_all(&line).await?;
            input.flush().await?;
        }
        let mut state = self.state.clone();
        let is_so = |state: &State| state.programs.get(program).is_some_and(|status| status.kept_off == off);
        // A host that has ended runs no program.
        let _gone = state.wait_for(|state| state.ended || is_so(state)).await;
        Ok(())
    }

    /// Waits until the container has said everything.
    pub(super) async fn ended(&self) {
        let mut state = self.state.clone();
        // Without a sender nothing more is said either.
        let _ended = state.wait_for(|state| state.ended).await;
    }
}

struct Hearing {
    logs: PathBuf,
    /// Of the host's start.
    number: u64,
    names: Vec<String>,
    /// The log that is written, by program, with the start that it is of.
    files: BTreeMap<usize, (u64, LogWriter)>,
}

impl Hearing {
    async fn run(mut self, output: Output, publish: watch::Sender<State>) {
        let own = output.filter_map(async |piece| match piece {
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => Some(Ok(message)),
            Ok(LogOutput::StdErr { message }) => {
                tracing::warn!(said = %String::from_utf8_lossy(&message).trim(), "the first process of a machine");
                None
            }
            Ok(LogOutput::StdIn { .. }) => None,
            Err(error) => Some(Err(std::io::Error::other(error))),
        });
        let mut lines = BufReader::new(StreamReader::<_, Bytes>::new(Box::pin(own))).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(said) => self.take(said, &publish),
                Err(error) => {
                    tracing::warn!(%error, line, "the first process of a machine said what nobody understands")
                }
            }
        }
        publish.send_modify(|state| {
            state.ended = true;
            for program in &mut state.programs {
                program.running = false;
            }
        });
    }

    fn take(&mut self, said: Said, publish: &watch::Sender<State>) {
        match said {
            Said::Line { program, start, error, text } => self.write(program, start, error, &text),
            Said::Failed { problem } => tracing::error!(problem, "a machine"),
            Said::Started { program, start } => with(publish, program, |status| {
                (status.running, status.starts, status.problem) = (true, start, None);
            }),
            Said::Ended { program, start, problem } => with(publish, program, |status| {
                (status.running, status.starts, status.problem) = (false, start, Some(problem));
            }),
            Said::Kept { program, off } => with(publish, program, |status| {
                (status.kept_off, status.ready) = (off, status.ready && !off);
            }),
            Said::Ready { program } => with(publish, program, |status| status.ready = true),
        }
    }

    fn write(&mut self, program: usize, start: u64, error: bool, text: &str) {
        let Some(name) = self.names.get(program) else { return };
        if self.files.get(&program).is_none_or(|(written, _)| *written != start) {
            let path = log_file(&log_file(&self.logs.join(format!("{name}.log")), self.number), start);
            match LogWriter::create(&path) {
                Ok((file, _)) => drop(self.files.insert(program, (start, file))),
                Err(error) => {
                    tracing::error!(%error, path = %path.display(), "the log of a machine cannot be written");
                    return;
                }
            }
        }
        if let Some(Err(error)) = self.files.get(&program).map(|(_, file)| file.line(error, text)) {
            tracing::warn!(%error, "the log of a machine is incomplete");
        }
    }
}

/// Changes what is known of a program; of one that there is not, nothing is.
fn with(publish: &watch::Sender<State>, program: usize, change: impl FnOnce(&mut ProgramStatus)) {
    publish.send_modify(|state| {
        if let Some(status) = state.programs.get_mut(program) {
            change(status);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &'static str) -> Result<LogOutput, Error> {
        Ok(LogOutput::StdOut { message: Bytes::from_static(text.as_bytes()) })
    }

    #[tokio::test]
    async fn what_is_said_becomes_status_and_log_whatever_pieces_it_comes_in() {
        let folder = tempfile::tempdir().unwrap();
        let pieces = vec![
            said("{\"said\":\"started\",\"program\":0,\"start\":1}\n{\"said\":\"li"),
            said("ne\",\"program\":0,\"start\":1,\"error\":true,\"text\":\"hello\"}\nnonsense\n"),
            said("{\"said\":\"ready\",\"program\":0}\n{\"said\":\"started\",\"program\":7,\"start\":1}\n"),
            said("{\"said\":\"ended\",\"program\":1,\"start\":2,\"problem\":\"it ended with code 3\"}\n"),
            said("{\"said\":\"kept\",\"program\":1,\"off\":true}\n"),
        ];
        let names = vec!["proxy".to_owned(), "details".to_owned()];
        let output = Box::pin(futures::stream::iter(pieces));
        let session = Session::start(names, (folder.path(), 3), output, Box::pin(tokio::io::sink()));
        session.ended().await;
        assert!(!session.is_on());
        let programs = session.programs();
        assert_eq!((programs[0].ready, programs[0].running, programs[0].starts), (true, false, 1));
        assert_eq!((programs[1].starts, programs[1].problem.as_deref()), (2, Some("it ended with code 3")));
        assert_eq!((programs[0].kept_off, programs[1].kept_off), (false, true));
        let log = std::fs::read_to_string(folder.path().join("proxy.3.1.log")).unwrap();
        assert!(log.ends_with(" stderr F hello\n"), "{log}");
    }
}
