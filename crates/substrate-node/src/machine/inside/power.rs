//! The first process of a host that is a container.

use std::io;
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::{Boot, Said, Told};
use crate::machine::STOPPING;
use crate::supervision;

/// So many lines may wait for whoever reads them.
const WAITING: usize = 1024;
/// How long what was said last may take to be read, after the programs have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the host until its power goes. Gives the exit code.
pub(super) fn run() -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let lived = runtime.and_then(|runtime| {
        let lived = runtime.block_on(live());
        // A thread that waits for more input must not keep the process.
        runtime.shutdown_background();
        lived
    });
    match lived {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

async fn live() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (say, said) = mpsc::channel(WAITING);
    let told = tokio::spawn(tell(said));
    tokio::spawn(supervision::reap_orphans());
    let power = CancellationToken::new();
    let mut input = BufReader::new(tokio::io::stdin());
    let boot = tokio::select! {
        boot = boot(&mut input) => boot?,
        _ = terminate.recv() => return Ok(()),
    };
    let mut keepers = Vec::new();
    if let Some(boot) = boot {
        if let Err(error) = configure(&boot) {
            let _unheard = say.send(Said::Failed { problem: error.to_string() }).await;
        }
        for (number, program) in boot.programs.iter().enumerate() {
            let before = keepers.last().map(Keeper::ready);
            keepers.push(Keeper::start(number, program, &boot.name, before, power.clone(), say.clone()));
        }
        tokio::select! {
            _ = terminate.recv() => {}
            () = obey(&mut input, &keepers) => {}
        }
    }
    power.cancel();
    join_all(keepers.into_iter().map(|keeper| keeper.stop(STOPPING))).await;
    drop(say);
    let _unread = tokio::time::timeout(LAST_WORDS, told).await;
    Ok(())
}

/// What is to run; nothing where the input ends before it was said.
async fn boot(input: &mut BufReader<tokio::io::Stdin>) -> io::Result<Option<Boot>> {
    let mut line = String::new();
    match input.read_line(&mut line).await? {
        0 => Ok(None),
        _ => Ok(Some(serde_json::from_str(&line)?)),
    }
}

/// Does what it is told until nobody is there to tell it anything.
async fn obey(input: &mut BufReader<tokio::io::Stdin>, keepers: &[Keeper]) {
    let mut line = String::new();
    while input.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        match serde_json::from_str::<Told>(&line) {
            Ok(Told { program, off }) => keepers.iter().skip(program).take(1).for_each(|keeper| keeper.keep_off(off)),
            Err(error) => eprintln!("{line:?} is nothing to do: {error}"),
        }
        line.clear();
    }
}

/// Written through, and not replaced: the engine has mounted both files.
fn configure(boot: &Boot) -> io::Result<()> {
    let write = |path: &str, text: &str| {
        std::fs::write(path, text)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write {path}: {error}")))
    };
    write("/etc/hosts", &boot.hosts)?;
    boot.resolv_conf.as_ref().map_or(Ok(()), |text| write("/etc/resolv.conf", text))
}

async fn tell(mut said: mpsc::Receiver<Said>) {
    let mut output = tokio::io::stdout();
    while let Some(said) = said.recv().await {
        let mut line = serde_json::to_vec(&said).expect("invariant: plain data serialises");
        line.push(b'\n');
        // Whoever read is gone; the end of the input follows.
        if output.write_all(&line).await.and(output.flush().await).is_err() {
            return;
        }
    }
}
