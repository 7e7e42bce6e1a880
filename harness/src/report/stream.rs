//! The one stream of events of a run: any number of senders, one order, every consumer sees everything.
//!
//! Sending never waits and never fails the engine: an event is a few hundred bytes, and a run has some thousands.
//! Every event is freed of secrets before any consumer sees it. A consumer that cannot write (a full disk) is told at the
//! end, does not stop the others, and makes the outcome of the run worse: what is told and the exit code agree.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::event::{Event, EventKind};
use super::outcome::RunOutcome;
use super::redact;

/// Something that is told every event of a run, in order.
pub trait Consumer: Send {
    /// What it writes, for messages: "the console", "report.json".
    fn name(&self) -> String;

    /// Takes one event.
    ///
    /// # Errors
    /// When its output cannot be written; it is not called again then.
    fn on_event(&mut self, event: &Event) -> io::Result<()>;
}

/// Sends events; cheap to clone.
#[derive(Clone, Debug)]
pub struct EventSender {
    started: Instant,
    sender: mpsc::UnboundedSender<Event>,
}

impl EventSender {
    /// Sends an event, stamped with the time since the stream was started. Lost without harm when the stream has ended.
    pub fn send(&self, kind: EventKind) {
        let event = Event { elapsed: self.started.elapsed(), kind };
        let _ended_stream = self.sender.send(event);
    }

    /// Sends a warning.
    pub fn warn(&self, message: impl Into<String>, cure: Option<String>) {
        self.send(EventKind::Warning { message: message.into(), cure });
    }

    /// A sender without consumers and the receiving end, for tests and for callers that consume events themselves.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { started: Instant::now(), sender }, receiver)
    }
}

/// The running consumers.
#[derive(Debug)]
pub struct EventStream {
    worker: JoinHandle<Ended>,
}

/// How a stream ended.
#[derive(Debug)]
pub struct Ended {
    /// The outcome that was told: worse than the one that was sent where a report could not be written. `None` where the
    /// run ended without one.
    pub outcome: Option<RunOutcome>,
    /// Those who could not show what happened, each with its name and error. Recorders that could not write are told as
    /// failures of the run instead.
    pub mute: Vec<(String, io::Error)>,
}

impl EventStream {
    /// Starts the consumers on the current tokio runtime. Recorders write what the run leaves behind, tellers show it to
    /// people: these learn the end of the run when every recorder has written, so that they can tell what could not be.
    #[must_use]
    pub fn start(recorders: Vec<Box<dyn Consumer>>, tellers: Vec<Box<dyn Consumer>>) -> (EventSender, Self) {
        let (sender, receiver) = EventSender::channel();
        let delivery = Delivery { recorders, tellers, ..Delivery::default() };
        (sender, Self { worker: tokio::spawn(delivery.run(receiver)) })
    }

    /// Waits until every sender is dropped or `RunFinished` was delivered.
    pub async fn finish(self) -> Ended {
        let lost = |error| Ended { outcome: None, mute: vec![("the reports".to_owned(), io::Error::other(error))] };
        self.worker.await.unwrap_or_else(lost)
    }
}

#[derive(Default)]
struct Delivery {
    recorders: Vec<Box<dyn Consumer>>,
    tellers: Vec<Box<dyn Consumer>>,
    /// Recorders that failed and of whom nobody was told yet.
    untold: Vec<(String, io::Error)>,
    mute: Vec<(String, io::Error)>,
}

impl Delivery {
    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Event>) -> Ended {
        let mut outcome = None;
        while let Some(event) = receiver.recv().await {
            let event = redact::event(event);
            if let EventKind::RunFinished { outcome: sent } = event.kind {
                outcome = Some(self.end(event.elapsed, sent));
                break;
            }
            self.hand_out(&event);
        }
        Ended { outcome, mute: self.mute }
    }

    fn hand_out(&mut self, event: &Event) {
        hand_to(&mut self.recorders, event, &mut self.untold);
        hand_to(&mut self.tellers, event, &mut self.mute);
    }

    /// Tells the end. A recorder that cannot write makes the outcome worse, which those that wrote before it must know,
    /// too: they are told again.
    fn end(&mut self, elapsed: Duration, sent: RunOutcome) -> RunOutcome {
        let mut outcome = sent;
        loop {
            while !self.untold.is_empty() {
                // Without its report a run that passed is worth nothing to whoever reads the report.
                outcome = outcome.worse(RunOutcome::EnvironmentFailed);
                let failures: Vec<_> = self.untold.drain(..).collect();
                for (name, error) in failures {
                    self.hand_out(&Event { elapsed, kind: not_written(&name, &error) });
                }
            }
            let finished = Event { elapsed, kind: EventKind::RunFinished { outcome } };
            hand_to(&mut self.recorders, &finished, &mut self.untold);
            if self.untold.is_empty() {
                hand_to(&mut self.tellers, &finished, &mut self.mute);
                return outcome;
            }
        }
    }
}

fn not_written(name: &str, error: &io::Error) -> EventKind {
    let cure = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on that disk, or choose another folder with --out"
        }
        _ => "choose another folder with --out",
    };
    EventKind::Failure {
        message: format!("cannot write {name}: {error}"),
        cure: Some(cure.to_owned()),
        evidence: Vec::new(),
    }
}

/// Hands an event to each consumer in order. Those that fail get nothing more; at the end of a run, which is told again
/// then, those behind them get it the next time.
fn hand_to(consumers: &mut Vec<Box<dyn Consumer>>, event: &Event, failures: &mut Vec<(String, io::Error)>) {
    let last = matches!(event.kind, EventKind::RunFinished { .. });
    let mut position = 0;
    while let Some(consumer) = consumers.get_mut(position) {
        match consumer.on_event(event) {
            Ok(()) => position += 1,
            Err(error) => {
                failures.push((consumer.name(), error));
                drop(consumers.remove(position));
                if last {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Collect(Arc<Mutex<Vec<EventKind>>>);

    impl Consumer for Collect {
        fn name(&self) -> String {
            "collect".to_owned()
        }
        fn on_event(&mut self, event: &Event) -> io::Result<()> {
            self.0.lock().expect("not poisoned").push(event.kind.clone());
            Ok(())
        }
    }

    /// A disk that is full from some event on.
    struct Full(usize);

    impl Consumer for Full {
        fn name(&self) -> String {
            "report.json".to_owned()
        }
        fn on_event(&mut self, _: &Event) -> io::Result<()> {
            match self.0.checked_sub(1) {
                Some(left) => self.0 = left,
                None => return Err(io::Error::from(io::ErrorKind::StorageFull)),
            }
            Ok(())
        }
    }

    type Seen = Arc<Mutex<Vec<EventKind>>>;

    async fn ended(room: usize) -> (Ended, Vec<EventKind>, Vec<EventKind>) {
        let (recorded, told) = (Seen::default(), Seen::default());
        let recorders: Vec<Box<dyn Consumer>> = vec![Box::new(Collect(Arc::clone(&recorded))), Box::new(Full(room))];
        let (sender, stream) = EventStream::start(recorders, vec![Box::new(Collect(Arc::clone(&told)))]);
        sender.warn("first", None);
        sender.clone().warn("second", Some("a cure".to_owned()));
        sender.send(EventKind::RunFinished { outcome: RunOutcome::Passed });
        let ended = stream.finish().await;
        let take = |seen: Seen| seen.lock().expect("not poisoned").clone();
        (ended, take(recorded), take(told))
    }

    fn last(events: &[EventKind]) -> Option<RunOutcome> {
        match events.last() {
            Some(EventKind::RunFinished { outcome }) => Some(*outcome),
            _ => None,
        }
    }

    #[tokio::test]
    async fn who_can_write_changes_nothing() {
        let (ended, recorded, told) = ended(9).await;
        assert_eq!(ended.outcome, Some(RunOutcome::Passed));
        assert_eq!((recorded.len(), told.len()), (3, 3), "everybody sees every event once");
    }

    #[tokio::test]
    async fn a_report_that_cannot_be_written_is_named_and_changes_what_everybody_is_told() {
        // The disk is full from the start, in the middle, and for the last event only.
        for room in [0, 1, 2] {
            let (ended, recorded, told) = ended(room).await;
            assert_eq!(ended.outcome, Some(RunOutcome::EnvironmentFailed), "{room}");
            assert_eq!((last(&recorded), last(&told)), (ended.outcome, ended.outcome), "{room}");
            let failure = |kind: &&EventKind| matches!(kind, EventKind::Failure { message, .. } if message.starts_with("cannot write report.json: "));
            assert_eq!(told.iter().filter(failure).count(), 1, "{told:?}");
            assert_eq!(recorded.iter().filter(failure).count(), 1, "{recorded:?}");
            assert_eq!(told.iter().filter(|kind| matches!(kind, EventKind::RunFinished { .. })).count(), 1);
        }
    }

    #[tokio::test]
    async fn secrets_reach_nobody() {
        let told = Seen::default();
        let (sender, stream) = EventStream::start(Vec::new(), vec![Box::new(Collect(Arc::clone(&told)))]);
        sender.warn("password=hunter2", None);
        drop(sender);
        assert_eq!(stream.finish().await.outcome, None);
        assert_eq!(
            *told.lock().expect("not poisoned"),
            [EventKind::Warning { message: "password=[redacted]".into(), cure: None }]
        );
    }
}
