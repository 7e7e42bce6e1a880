//! Becoming a program of the host, and running a command beside one.
//!
//! A command's input comes in pieces, each with its length before it; an empty one is the end of the command's input. The end
//! of the stream without one means that whoever asked is gone, and the command is killed.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command as Process, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, setsid};

use super::keeper::code;
use super::{Command, PROGRAM};
use crate::runtime::{close_descriptors_on_exec, give_up_capabilities_but};

/// What a shell says where a program cannot be started.
const CANNOT_START: i32 = 127;
/// Far above any command line and any piece.
const LONGEST: u32 = 16 << 20;

/// Gives up all capabilities but those of the first argument and becomes the program of the rest.
pub(super) fn become_program(mut arguments: impl Iterator<Item = String>) -> i32 {
    let capabilities: Vec<String> =
        arguments.next().unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let Some(program) = arguments.next() else { return CANNOT_START };
    let prepared = give_up_capabilities_but(&capabilities)
        .and_then(|()| close_descriptors_on_exec().map_err(|error| error.to_string()))
        .and_then(|()| setsid().map(drop).map_err(|error| error.to_string()));
    let error = match prepared {
        Ok(()) => Process::new(&program).args(arguments).exec().to_string(),
        Err(error) => error,
    };
    eprintln!("exec: {program:?}: {error}");
    CANNOT_START
}

/// Runs a command. Gives its exit code.
pub(super) fn run() -> i32 {
    let mut input = io::stdin().lock();
    let started = piece(&mut input).and_then(|text| Ok((start(&text)?, input)));
    match started {
        Ok((mut child, input)) => {
            let pid = Pid::from_raw(child.id().cast_signed());
            let stdin = child.stdin.take();
            drop(input);
            // It ends with this process, whatever it waits for.
            std::thread::spawn(move || carry(stdin, pid));
            let ended = child.wait();
            let _none = killpg(pid, Signal::SIGKILL);
            ended.map_or(255, code)
        }
        Err(error) => {
            eprintln!("the command cannot be started: {error}");
            CANNOT_START
        }
    }
}

fn start(text: &[u8]) -> io::Result<Child> {
    let Command { command, environment, capabilities, stdin } = serde_json::from_slice(text)?;
    let mut process = Process::new("/proc/self/exe");
    process.arg(PROGRAM).arg(capabilities.join(",")).args(command).env_clear().envs(environment).current_dir("/");
    process.stdin(if stdin { Stdio::piped() } else { Stdio::null() }).spawn()
}

/// Carries pieces to the command, and kills it with all that it has started once nobody is there to send any.
fn carry(mut stdin: Option<ChildStdin>, child: Pid) {
    let mut input = io::stdin().lock();
    while let Ok(piece) = piece(&mut input) {
        let taken = match &mut stdin {
            Some(stdin) if !piece.is_empty() => stdin.write_all(&piece).and_then(|()| stdin.flush()),
            _ => Ok(()),
        };
        // A command that reads no more has its input closed; its end is waited for.
        if piece.is_empty() || taken.is_err() {
            stdin = None;
        }
    }
    // Itself too: it may not have begun its session yet.
    let _ended = (killpg(child, Signal::SIGKILL), kill(child, Signal::SIGKILL));
}

/// One piece; an error at the end of the stream.
fn piece(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_one_by_one_until_the_stream_ends() {
        let mut input: &[u8] = b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01";
        assert_eq!(piece(&mut input).unwrap(), b"ab");
        assert_eq!(piece(&mut input).unwrap(), b"");
        assert!(piece(&mut input).is_err(), "a piece that is cut off is none");
        assert!(piece(&mut &b"\xff\xff\xff\xff"[..]).is_err());
    }
}
