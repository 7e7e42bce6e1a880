//! One program inside of a host, kept running for as long as the host has power.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use substrate_config::machine::MachineProgram;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{PROGRAM, Said};
use crate::machine::again::{Again, STEP};
use crate::machine::docker::environment;

/// See the module.
pub(super) struct Keeper {
    ready: watch::Receiver<bool>,
    patience: watch::Sender<Duration>,
    keep_off: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What one program is kept running with.
struct Kept {
    number: usize,
    name: String,
    program: MachineProgram,
    power: CancellationToken,
    say: mpsc::Sender<Said>,
    patience: watch::Receiver<Duration>,
    killed: watch::Receiver<bool>,
}

impl Keeper {
    /// Starts it once the one `before` it is ready.
    pub(super) fn start(
        number: usize,
        program: &MachineProgram,
        name: &str,
        before: Option<watch::Receiver<bool>>,
        power: CancellationToken,
        say: mpsc::Sender<Said>,
    ) -> Self {
        let (is_ready, ready) = watch::channel(false);
        let (patience, allowed) = watch::channel(Duration::ZERO);
        let (keep_off, killed) = watch::channel(false);
        let (name, program) = (name.to_owned(), program.clone());
        let kept = Kept { number, name, program, power, say, patience: allowed, killed };
        let task = tokio::spawn(async move {
            if let Some(mut before) = before {
                let waited = kept.power.run_until_cancelled(before.wait_for(|ready| *ready)).await;
                if !matches!(waited, Some(Ok(_))) {
                    return;
                }
            }
            let announce = kept.announce(is_ready);
            tokio::join!(kept.power.run_until_cancelled(announce), kept.run());
        });
        Self { ready, patience, keep_off, task }
    }

    /// Kills it and keeps it from being started again, or lets it be started.
    pub(super) fn keep_off(&self, off: bool) {
        self.keep_off.send_replace(off);
    }

    /// Turns true once it is ready.
    pub(super) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Waits for its end after the power has gone: it has been asked to end, and is killed where it takes too long.
    pub(super) async fn stop(self, patience: Duration) {
        self.patience.send_replace(patience);
        let _panicked = self.task.await;
    }
}

impl Kept {
    async fn say(&self, said: Said) {
        // Without anybody who listens the host ends.
        let _unheard = self.say.send(said).await;
    }

    /// Says that it is ready: at once, or when its port takes connections; and after it was kept off, anew.
    async fn announce(&self, ready: watch::Sender<bool>) {
        let mut killed = self.killed.clone();
        loop {
            if let Some(port) = self.program.ready_port {
                let mut step = tokio::time::interval(STEP);
                while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                    step.tick().await;
                }
            }
            // An answer of the one before its end is none of the next one.
            if !*killed.borrow() {
                self.say(Said::Ready { program: self.number }).await;
                ready.send_replace(true);
            }
            if killed.wait_for(|killed| *killed).await.is_err() || killed.wait_for(|killed| !*killed).await.is_err() {
                return;
            }
        }
    }

    async fn run(&self) {
        let (mut again, mut start) = (Again::default(), 0);
        let mut killed = self.killed.clone();
        while !self.power.is_cancelled() {
            if *killed.borrow() {
                self.say(Said::Kept { program: self.number, off: true }).await;
                let let_go = async { killed.wait_for(|killed| !*killed).await.is_ok() };
                if self.power.run_until_cancelled(let_go).await != Some(true) {
                    return;
                }
                self.say(Said::Kept { program: self.number, off: false }).await;
                again = Again::default();
            }
            start += 1;
            let began = tokio::time::Instant::now();
            let problem = match self.spawn() {
                Ok(child) => self.look_after(child, start).await,
                Err(error) => format!("it cannot be started: {error}"),
            };
            self.say(Said::Ended { program: self.number, start, problem }).await;
            let waited = async {
                tokio::select! {
                    () = tokio::time::sleep(again.pause(began.elapsed())) => {}
                    Ok(_) = killed.wait_for(|killed| *killed) => {}
                }
            };
            if self.power.run_until_cancelled(waited).await.is_none() {
                return;
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(PROGRAM).arg(self.program.capabilities.join(",")).args(&self.program.command);
        command.env_clear().envs(environment(&self.name, &self.program.environment));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// Waits for its end, and asks for it once the power goes. What it has started ends with it.
    async fn look_after(&self, mut child: Child, start: u64) -> String {
        self.say(Said::Started { program: self.number, start }).await;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let written = async { tokio::join!(self.hear(stdout, start, false), self.hear(stderr, start, true)) };
        let ended = async {
            let ended = match self.power.run_until_cancelled(self.killed_or_ended(&mut child)).await {
                Some(ended) => ended,
                None => self.end(&mut child, pid).await,
            };
            // Its group is its own, as it has begun a session; whoever holds its pipes would keep them open.
            let _none = pid.map(|pid| killpg(pid, Signal::SIGKILL));
            ended
        };
        let (ended, _) = tokio::join!(ended, written);
        match ended {
            Ok(status) => format!("it ended with code {}", code(status)),
            Err(error) => format!("nobody knows how it ended: {error}"),
        }
    }

    /// Waits for its end, or brings it about where it is killed.
    async fn killed_or_ended(&self, child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
        let mut killed = self.killed.clone();
        tokio::select! {
            ended = child.wait() => return ended,
            Ok(_) = killed.wait_for(|killed| *killed) => {}
        }
        child.start_kill()?;
        child.wait().await
    }

    async fn end(&self, child: &mut Child, pid: Option<Pid>) -> std::io::Result<std::process::ExitStatus> {
        let _ended = pid.map(|pid| kill(pid, Signal::SIGTERM));
        let mut patience = self.patience.clone();
        let patience = patience.wait_for(|patience| !patience.is_zero()).await.map(|patience| *patience);
        match tokio::time::timeout(patience.unwrap_or_default(), child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                child.start_kill()?;
                child.wait().await
            }
        }
    }

    async fn hear(&self, stream: Option<impl AsyncRead + Unpin>, start: u64, error: bool) {
        let Some(stream) = stream else { return };
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            line.clear();
            self.say(Said::Line { program: self.number, start, error, text }).await;
        }
    }
}

/// As a shell counts: 128 plus the signal's number where one ended it.
pub(super) fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}
