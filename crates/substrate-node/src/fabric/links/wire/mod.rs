//! A wire: carries the packets of one way between two networks through this process, later or not at all.
//!
//! A kernel may lack what delays and loses packets by itself, and what there is does that for a whole link instead of
//! one way between two networks. So the backbone's own forwarding of that way is switched off by a rule, and the wire
//! takes the packets where they enter the backbone and puts them on the link where they leave it. Large packets that
//! the kernel has not cut into segments yet, and checksums that it has not computed yet, are carried over as they are.

mod queue;
mod socket;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Port;
use super::effects::{Fate, Sum};
use queue::Queue;
use socket::{Incoming, Outgoing};

/// So long at most until a wire notices that it has to end.
const GLANCE: Duration = Duration::from_millis(20);
/// Packets that wait hold at most so many bytes.
const ROOM: usize = 64 * 1024 * 1024;

/// What a wire has done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) delayed: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Lost against the wire's will: there was no room, or a link took none.
    pub(super) failed: AtomicU64,
}

/// A running wire. Dropping it ends it.
pub(super) struct Wire {
    sum: Arc<Mutex<Sum>>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The two ends of a wire, opened in the backbone's namespace. What arrives waits.
pub(super) struct Ends(Incoming, Outgoing);

pub(super) fn open(from: &Port, to: &Port) -> io::Result<Ends> {
    Ok(Ends(Incoming::open(from.index)?, Outgoing::open(to.index, to.near, to.far)?))
}

impl Wire {
    /// Carries packets from now on.
    pub(super) fn start(Ends(incoming, outgoing): Ends, sum: Sum) -> io::Result<Self> {
        let (sum, tally, stop) = (Arc::new(Mutex::new(sum)), Arc::<Tally>::default(), Arc::<AtomicBool>::default());
        let carrier = Carrier {
            incoming,
            outgoing,
            queue: Queue::new(ROOM),
            sum: sum.clone(),
            tally: tally.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::Builder::new().name("wire".to_owned()).spawn(move || carrier.run())?;
        Ok(Self { sum, tally, stop, thread: Some(thread) })
    }

    /// Changes what becomes of packets that arrive from now on; those that wait arrive when they were to.
    pub(super) fn set(&self, sum: Sum) {
        *self.sum.lock().unwrap_or_else(PoisonError::into_inner) = sum;
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Ends it, when the packets that wait are delivered. Blocks that long.
    pub(super) fn end(mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic is told by the thread itself, and what it carried is gone.
            drop(thread.join());
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

struct Carrier {
    incoming: Incoming,
    outgoing: Outgoing,
    queue: Queue<Vec<u8>>,
    sum: Arc<Mutex<Sum>>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

impl Carrier {
    fn run(mut self) {
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            if stopping {
                // Later than they should and not never: whoever sent them still waits for their answers.
                while let Some(frame) = self.queue.take_any() {
                    self.send(&frame);
                }
                return;
            }
            let patience = self.queue.next_due().map_or(GLANCE, |due| due.duration_since(Instant::now()).min(GLANCE));
            if let Err(error) = self.incoming.wait(patience) {
                tracing::error!(%error, "a wire cannot read and ends");
                return;
            }
            self.receive();
            while let Some(frame) = self.queue.take_due(Instant::now()) {
                self.send(&frame);
            }
        }
    }

    fn receive(&mut self) {
        let sum = *self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(frame) = self.incoming.receive() {
            match sum.fate(rand::random(), rand::random()) {
                Fate::Cut => {}
                Fate::Lost => count(&self.tally.lost),
                Fate::Delivered(after) => {
                    count(&self.tally.delayed);
                    let size = frame.len();
                    if !self.queue.put(Instant::now() + after, frame, size) {
                        count(&self.tally.failed);
                    }
                }
            }
        }
        let dropped = self.incoming.dropped();
        self.tally.failed.fetch_add(dropped, Ordering::Relaxed);
    }

    fn send(&mut self, frame: &[u8]) {
        if let Err(error) = self.outgoing.send(frame) {
            tracing::debug!(%error, "a wire could not deliver a packet");
            count(&self.tally.failed);
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
