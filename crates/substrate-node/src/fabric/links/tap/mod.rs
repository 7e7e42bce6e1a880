//! Captures what two networks send each other, and searches all of it.
//!
//! Each packet is taken where it enters the backbone: once, whichever way it goes, and before a fault can take it.

mod packet;
mod pcap;
mod ring;
mod search;
mod stream;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use camino::Utf8Path;
use substrate_config::control::{Marker, TapReport};

use super::Port;
use crate::fabric::Cidr;
use pcap::CaptureFile;
use ring::{Frame, HAND_OVER, Ring};
use search::Search;

/// A running tap. Dropping it ends it.
#[derive(Debug)]
pub struct LinkTap {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<TapReport>>>,
}

/// Where a packet enters, and where it goes to.
struct Way {
    link: u32,
    to: Vec<Cidr>,
}

struct Capture {
    ring: Ring,
    ways: [Way; 2],
    file: CaptureFile,
    search: Search,
    report: TapReport,
}

/// What a tap is asked for.
pub(super) struct Request<'a> {
    pub(super) between: [&'a Port; 2],
    pub(super) markers: &'a [Marker],
    pub(super) file: &'a Utf8Path,
    pub(super) limit: u64,
}

/// Makes a tap; runs in the backbone's namespace. Everything that arrives from now on is captured.
pub(super) fn prepare(request: &Request<'_>) -> io::Result<Prepared> {
    let [one, two] = request.between;
    let way = |from: &Port, to: &Port| Way { link: from.index, to: to.subnets.clone() };
    Ok(Prepared(Capture {
        // First, since the file stays where the ring cannot be had.
        ring: Ring::open()?,
        ways: [way(one, two), way(two, one)],
        file: CaptureFile::create(request.file.as_std_path(), request.limit)?,
        search: Search::new(request.markers),
        report: TapReport { file: request.file.to_owned(), ..TapReport::default() },
    }))
}

/// Whether a tap could be had; runs in the backbone's namespace.
pub(super) fn try_open() -> io::Result<()> {
    Ring::open().map(drop)
}

/// A tap that captures already, and that nobody reads yet.
pub(super) struct Prepared(Capture);

impl Prepared {
    /// Starts the thread that reads it.
    pub(super) fn start(self) -> io::Result<LinkTap> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::Builder::new().name("tap".to_owned()).spawn(move || self.0.run(&asked))?;
        Ok(LinkTap { stop, thread: Some(thread) })
    }
}

impl LinkTap {
    /// Ends the tap; all that was on the link before is in the report. Blocks for some milliseconds.
    ///
    /// # Errors
    /// Those of the socket and of the capture file.
    pub fn stop(mut self) -> io::Result<TapReport> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().ok_or_else(|| io::Error::other("the tap has ended"))?;
        thread.join().map_err(|_| io::Error::other("the thread of a tap panicked; this is a defect"))?
    }
}

impl Drop for LinkTap {
    fn drop(&mut self) {
        // The thread ends by itself; its capture file is complete up to then.
        self.stop.store(true, Ordering::Release);
    }
}

impl Capture {
    fn run(mut self, stop: &AtomicBool) -> io::Result<TapReport> {
        loop {
            let last = stop.load(Ordering::Acquire);
            // Nothing within twice the time after which the kernel hands over what it has: there is nothing more.
            let more = self.read(HAND_OVER * 2)?;
            self.report.dropped += self.ring.dropped()?;
            if last && !more {
                break;
            }
        }
        let mut report = self.report;
        report.written = self.file.finish()?;
        self.search.report(&mut report);
        Ok(report)
    }

    fn read(&mut self, patience: Duration) -> io::Result<bool> {
        let Self { ring, ways, file, search, report } = self;
        let mut outcome = Ok(());
        let more = ring.read(patience, |frame| {
            if outcome.is_ok() {
                outcome = book(&frame, ways, file, search, report);
            }
        })?;
        outcome.map(|()| more)
    }
}

fn book(
    frame: &Frame<'_>,
    ways: &[Way; 2],
    file: &mut CaptureFile,
    search: &mut Search,
    report: &mut TapReport,
) -> io::Result<()> {
    let Some(way) = ways.iter().find(|way| way.link == frame.link) else { return Ok(()) };
    let packet = packet::parse(frame.bytes);
    let elsewhere = |address: Ipv4Addr| !way.to.iter().any(|subnet| subnet.contains(address));
    // What cannot be read may have gone anywhere, so that it counts.
    if packet.as_ref().is_some_and(|packet| elsewhere(packet.flow.receiver())) {
        return Ok(());
    }
    report.packets += 1;
    report.bytes += u64::from(frame.length);
    // Never with rings of this size; what was cut off was not searched.
    report.dropped += u64::from((frame.bytes.len() as u64) < u64::from(frame.length));
    match packet {
        Some(packet) => search.add(&packet),
        None => {
            report.unread += 1;
            search.add_unread(frame.bytes);
        }
    }
    file.append(frame.time, frame.bytes, frame.length)
}
