//! What a writer tells: how far owners got, to whoever waits, and to whoever looks.

use std::collections::VecDeque;

use hub::progress::Progress;
use tokio::sync::oneshot;

use super::{Desk, Inspection, Key, Owners, ResourceKind};

impl<T: Clone + Ord + Send + Sync + 'static> Desk<T> {
    fn progress(&self, key: &Key) -> Progress {
        match (self.current.get(key), &self.proxies) {
            (Some(_), _) if self.settings.unheard.contains(&key.kind) => Progress::Acknowledged,
            (Some(version), Some(proxies)) => proxies.progress(&key.path(), version),
            _ => Progress::Pending,
        }
    }

    /// Tells owners how far they got, and whoever waits.
    pub(super) fn tell(&mut self) {
        let mut owners = std::mem::replace(&mut self.owners, Owners::new());
        for (owner, revision, progress) in owners.news(|key| self.progress(key)) {
            self.settings.outcomes.progress(&owner, revision, progress);
        }
        self.owners = owners;
        let idle = self.queue.is_empty() && self.writing.is_empty() && self.held.iter().all(VecDeque::is_empty);
        // What was not listed may have objects that have to go.
        let listed = self.settings.kinds.iter().all(|kind| self.listed.contains(kind));
        if idle && listed && self.failures.is_empty() && self.retries.is_empty() {
            answer(&mut self.waiting);
        }
        let read = |kind: &ResourceKind| self.listed.contains(kind) || self.blind.contains_key(kind);
        let settled = idle && self.proxies.is_some() && self.settings.kinds.iter().all(read);
        if settled || self.unreachable.is_some() {
            answer(&mut self.settling);
        }
    }

    pub(super) fn inspection(&self) -> Inspection {
        let ours = self.there.values().filter(|there| there.is_of(&self.settings.owner)).count();
        Inspection {
            wanted: self.wanted.values().filter(|wanted| wanted.manifest.is_some()).count(),
            there: ours,
            queued: self.queue.iter().chain(self.held.iter().flatten()).map(Key::to_string).collect(),
            writing: self.writing.len(),
            failures: self.failures.iter().map(|(key, reason)| (key.to_string(), reason.clone())).collect(),
        }
    }
}

/// Whoever asked may have gone.
fn answer(waiting: &mut Vec<oneshot::Sender<()>>) {
    for one in waiting.drain(..) {
        let _gone = one.send(());
    }
}
