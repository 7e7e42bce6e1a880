//! The one stream of events of a run: any number of senders, one order, every consumer sees everything.
//!
//! Sending never waits and never fails the engine: an event is a few hundred bytes, and a run has some thousands.
//! A consumer that cannot write (a full disk) is reported once, at the end, and does not stop the others.

use std::io;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::event::{Event, EventKind};

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
    worker: JoinHandle<Vec<(String, io::Error)>>,
}

impl EventStream {
    /// Starts the consumers on the current tokio runtime.
    #[must_use]
    pub fn start(consumers: Vec<Box<dyn Consumer>>) -> (EventSender, Self) {
        let (sender, receiver) = EventSender::channel();
        (sender, Self { worker: tokio::spawn(deliver(receiver, consumers)) })
    }

    /// Waits until every sender is dropped or `RunFinished` was delivered. Returns the consumers that could not write,
    /// each with its name and error.
    pub async fn finish(self) -> Vec<(String, io::Error)> {
        match self.worker.await {
            Ok(failures) => failures,
            Err(error) => vec![("the reports".to_owned(), io::Error::other(error))],
        }
    }
}

async fn deliver(
    mut receiver: mpsc::UnboundedReceiver<Event>,
    consumers: Vec<Box<dyn Consumer>>,
) -> Vec<(String, io::Error)> {
    let mut consumers: Vec<Option<Box<dyn Consumer>>> = consumers.into_iter().map(Some).collect();
    let mut failures = Vec::new();
    while let Some(event) = receiver.recv().await {
        hand_out(&event, &mut consumers, &mut failures);
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            break;
        }
    }
    failures
}

fn hand_out(event: &Event, consumers: &mut [Option<Box<dyn Consumer>>], failures: &mut Vec<(String, io::Error)>) {
    for slot in consumers {
        let Some(consumer) = slot else { continue };
        if let Err(error) = consumer.on_event(event) {
            failures.push((consumer.name(), error));
            *slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::report::RunOutcome;

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

    struct Full;

    impl Consumer for Full {
        fn name(&self) -> String {
            "report.json".to_owned()
        }
        fn on_event(&mut self, _: &Event) -> io::Result<()> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }

    #[tokio::test]
    async fn every_consumer_sees_every_event_and_a_broken_one_is_named_once() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (sender, stream) = EventStream::start(vec![Box::new(Full), Box::new(Collect(Arc::clone(&seen)))]);
        sender.warn("first", None);
        sender.clone().warn("second", Some("a cure".to_owned()));
        sender.send(EventKind::RunFinished { outcome: RunOutcome::Passed });
        let failures = stream.finish().await;
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].0, "report.json");
        assert_eq!(seen.lock().expect("not poisoned").len(), 3);
    }
}
