//! The work queue of one controller: which keys are due, which are being worked on, which wait for a time.
//!
//! A key is worked on by one reconcile at a time; a trigger that arrives meanwhile makes it due once more. There
//! is no periodic resync: a key waits for time only when its plan asks for that or when a write was refused.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue;

use crate::controllers::Controller;
use crate::executor::{Executor, Outcome};
use crate::objects::Key;
use crate::world::World;

/// Back-off after a refused write. The usual cause in a small world is a webhook or an account that is just
/// coming up, so the first tries follow each other closely and the longest pause stays short.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// What a finished reconcile asks for.
enum Next {
    Nothing,
    Now,
    After(Duration),
    Retry,
}

/// See the module.
pub(crate) struct Worker {
    controller: Controller,
    world: Arc<World>,
    executor: Executor,
    due: Vec<Key>,
    running: HashSet<Key>,
    failures: HashMap<Key, u32>,
    delays: DelayQueue<Key>,
    delayed: HashMap<Key, delay_queue::Key>,
}

impl Worker {
    pub(crate) fn new(controller: Controller, world: Arc<World>, executor: Executor) -> Self {
        Self {
            controller,
            world,
            executor,
            due: Vec::new(),
            running: HashSet::new(),
            failures: HashMap::new(),
            delays: DelayQueue::new(),
            delayed: HashMap::new(),
        }
    }

    /// Works until the senders of `triggers` are gone.
    pub(crate) async fn run(mut self, mut triggers: mpsc::UnboundedReceiver<Key>) {
        let mut tasks = FuturesUnordered::new();
        loop {
            for key in self.startable() {
                tasks.push(reconcile(self.controller, self.world.clone(), self.executor.clone(), key));
            }
            tokio::select! {
                trigger = triggers.recv() => match trigger {
                    Some(key) => self.make_due(key),
                    None => return,
                },
                Some((key, next)) = tasks.next(), if !tasks.is_empty() => self.finished(key, next),
                Some(expired) = self.delays.next(), if !self.delays.is_empty() => {
                    let key = expired.into_inner();
                    self.delayed.remove(&key);
                    self.make_due(key);
                }
            }
            // A burst of triggers is taken as a whole, so that ten events of one key cost one reconcile.
            while let Ok(key) = triggers.try_recv() {
                self.make_due(key);
            }
        }
    }

    fn make_due(&mut self, key: Key) {
        if !self.due.contains(&key) {
            self.due.push(key);
        }
    }

    fn startable(&mut self) -> Vec<Key> {
        let room = self.controller.concurrency().saturating_sub(self.running.len());
        let (ready, waiting): (Vec<_>, Vec<_>) = self.due.drain(..).partition(|key| !self.running.contains(key));
        let mut ready = ready;
        self.due = ready.split_off(ready.len().min(room));
        self.due.extend(waiting);
        for key in &ready {
            self.running.insert(key.clone());
            if let Some(handle) = self.delayed.remove(key) {
                self.delays.remove(&handle);
            }
        }
        ready
    }

    fn finished(&mut self, key: Key, next: Next) {
        self.running.remove(&key);
        if !matches!(next, Next::Retry) {
            self.failures.remove(&key);
        }
        match next {
            Next::Nothing => {}
            Next::Now => self.make_due(key),
            Next::After(delay) => self.delay(key, delay),
            Next::Retry => {
                let failures = self.failures.entry(key.clone()).or_default();
                let delay = FIRST_RETRY.saturating_mul(1 << (*failures).min(10)).min(LONGEST_RETRY);
                *failures += 1;
                self.delay(key, delay);
            }
        }
    }

    fn delay(&mut self, key: Key, delay: Duration) {
        let handle = self.delays.insert(key.clone(), delay);
        self.delayed.insert(key, handle);
    }
}

async fn reconcile(controller: Controller, world: Arc<World>, executor: Executor, key: Key) -> (Key, Next) {
    let plan = controller.reconcile(&world, &key, Timestamp::now());
    let check_again = plan.check_again;
    let next = match executor.execute(&world, plan).await {
        Outcome::Settled => check_again.map_or(Next::Nothing, Next::After),
        Outcome::Changed => Next::Now,
        Outcome::Refused(refusals) => {
            for refusal in &refusals {
                tracing::debug!(?controller, %key, reason = refusal.reason, message = refusal.message, "a write was refused");
            }
            let consequence = controller.refused(&world, &key, &refusals, Timestamp::now());
            // A consequence that is refused as well adds nothing to the retry that is due anyway.
            executor.execute(&world, consequence).await;
            if refusals.iter().all(crate::plan::Refusal::is_final) { Next::Nothing } else { Next::Retry }
        }
    };
    (key, next)
}
