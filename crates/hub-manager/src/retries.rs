//! What is to be tried again later: each thing once, however often it failed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue;

/// Things that are due later.
pub struct Retries<K> {
    queue: DelayQueue<K>,
    entries: BTreeMap<K, delay_queue::Key>,
}

impl<K: Clone + Ord> Retries<K> {
    /// It is due after a pause, and not when it was due before.
    pub fn set(&mut self, key: &K, pause: Duration) {
        match self.entries.get(key) {
            Some(entry) => self.queue.reset(entry, pause),
            None => drop(self.entries.insert(key.clone(), self.queue.insert(key.clone(), pause))),
        }
    }

    /// It need not be tried again.
    pub fn cancel(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.queue.remove(&entry);
        }
    }

    /// The next that is due, when it is; nothing where none is left.
    pub async fn next(&mut self) -> Option<K> {
        let key = self.queue.next().await?.into_inner();
        self.entries.remove(&key);
        Some(key)
    }

    /// Whether nothing is to be tried again.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self { queue: DelayQueue::new(), entries: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_failed_often_is_tried_again_once() {
        let mut retries = Retries::default();
        retries.set(&"a", Duration::from_secs(9));
        retries.set(&"b", Duration::from_millis(50));
        retries.set(&"a", Duration::from_millis(1));
        assert_eq!((retries.next().await, retries.next().await, retries.next().await), (Some("a"), Some("b"), None));
    }

    #[tokio::test]
    async fn what_succeeded_is_not_tried_again() {
        let mut retries = Retries::default();
        retries.set(&"a", Duration::from_secs(1));
        retries.cancel(&"a");
        assert!(retries.is_empty());
        assert_eq!(retries.next().await, None);
    }
}
