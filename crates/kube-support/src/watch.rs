//! Follows one kind of one cluster and hands every change on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Namespace and name.
pub type Key = (String, String);

/// One change of a table.
#[derive(Debug)]
pub enum Change<S> {
    /// The table as it was listed.
    All(BTreeMap<Key, S>),
    /// An object is there, or is there in another form; nothing where it is of no interest.
    Set(Key, Option<S>),
    /// An object is gone.
    Gone(Key),
    /// The cluster does not answer, or refuses; the watcher goes on trying.
    Failed(watcher::Error),
}

/// Watches `api` for ever: the list first, then every change. Errors are items, never the end.
pub fn follow<K, S>(api: Api<K>, config: watcher::Config, read: fn(K) -> Option<S>) -> impl Stream<Item = Change<S>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    S: Send,
{
    let mut listed = BTreeMap::new();
    watch(api, config).backoff(QuickBackoff::default()).filter_map(move |event| {
        let change = match event {
            Ok(Event::Init) => {
                listed = BTreeMap::new();
                None
            }
            Ok(Event::InitApply(object)) => {
                let key = key(&object);
                if let Some(value) = read(object) {
                    listed.insert(key, value);
                }
                None
            }
            Ok(Event::InitDone) => Some(Change::All(std::mem::take(&mut listed))),
            Ok(Event::Apply(object)) => {
                let key = key(&object);
                Some(Change::Set(key, read(object)))
            }
            Ok(Event::Delete(object)) => Some(Change::Gone(key(&object))),
            Err(error) => Some(Change::Failed(error)),
        };
        std::future::ready(change)
    })
}

/// Quick at first, because a control plane often starts together with what it watches.
#[derive(Clone, Debug)]
pub struct QuickBackoff(Duration);

impl Default for QuickBackoff {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl QuickBackoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);
}

impl Iterator for QuickBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.0;
        self.0 = (delay * 2).min(Self::LONGEST);
        Some(delay)
    }
}

impl Backoff for QuickBackoff {
    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

/// Namespace and name of an object.
pub fn key<K: Resource>(object: &K) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
