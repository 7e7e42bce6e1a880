//! Tables of objects that watches keep up to date, and one bell that rings whenever any of them changes: for whoever looks at
//! everything again after each change.

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::reflector::{self, Lookup, Store, store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::describe;
use crate::watch::QuickBackoff;

/// How far a table is that was never read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Begun,
    /// It was asked for, and not given, for the reason.
    Refused(String),
    Listed,
}

/// Objects as they were seen last. Empty until they were listed for the first time.
pub struct Table<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store: Store<K>,
    reading: watch::Receiver<Reading>,
}

impl<K> Clone for Table<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), reading: self.reading.clone() }
    }
}

impl<K> Deref for Table<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    type Target = Store<K>;

    fn deref(&self) -> &Store<K> {
        &self.store
    }
}

impl<K> Table<K>
where
    K: Lookup + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    /// Waits until it was listed once.
    pub async fn listed(&self) {
        self.wait_for(|reading| *reading == Reading::Listed).await;
    }

    /// Waits until it was listed once, or that was refused.
    pub async fn asked(&self) {
        self.wait_for(|reading| *reading != Reading::Begun).await;
    }

    async fn wait_for(&self, enough: impl FnMut(&Reading) -> bool) {
        if self.reading.clone().wait_for(enough).await.is_err() {
            // The watch was cancelled: nothing comes of it any more.
            std::future::pending::<()>().await;
        }
    }

    /// Why it was never listed; `None` once it was.
    pub fn unread(&self) -> Option<String> {
        match &*self.reading.borrow() {
            Reading::Begun => Some("no answer yet".to_owned()),
            Reading::Refused(reason) => Some(reason.clone()),
            Reading::Listed => None,
        }
    }
}

/// Keeps a table of a kind that is known at compile time.
pub fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    changed: &Arc<watch::Sender<()>>,
    cancel: &CancellationToken,
) -> Table<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (reader, writer) = store();
    let name = <K as Resource>::kind(&()).into_owned();
    Table { store: reader, reading: drive(writer, api, config, name, changed, cancel) }
}

/// Keeps a table of a kind that is known by its name only.
pub fn follow_dynamic(
    api: Api<DynamicObject>,
    resource: ApiResource,
    changed: &Arc<watch::Sender<()>>,
    cancel: &CancellationToken,
) -> Table<DynamicObject> {
    let name = resource.kind.clone();
    let writer = reflector::store::Writer::new(resource);
    let reader = writer.as_reader();
    Table { store: reader, reading: drive(writer, api, watcher::Config::default(), name, changed, cancel) }
}

fn drive<K>(
    writer: reflector::store::Writer<K>,
    api: Api<K>,
    config: watcher::Config,
    kind: String,
    changed: &Arc<watch::Sender<()>>,
    cancel: &CancellationToken,
) -> watch::Receiver<Reading>
where
    K: Resource + Lookup + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Lookup>::DynamicType: Eq + Hash + Clone + Send + Sync,
{
    let (changed, cancel) = (Arc::clone(changed), cancel.clone());
    // What nobody reads is not kept: it is the larger part of most objects.
    let watched =
        watcher(api, config).backoff(QuickBackoff::default()).modify(|object| object.meta_mut().managed_fields = None);
    let (reading, receiver) = watch::channel(Reading::Begun);
    tokio::spawn(async move {
        let mut events = std::pin::pin!(reflector::reflector(writer, watched));
        while let Some(Some(event)) = cancel.run_until_cancelled(events.next()).await {
            match event {
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                Ok(event) => {
                    if matches!(event, watcher::Event::InitDone) {
                        reading.send_replace(Reading::Listed);
                    }
                    changed.send_replace(());
                }
                Err(error) => {
                    let reason = describe(&error);
                    tracing::warn!(kind, error = reason, "cannot be watched at the moment");
                    if refused(&reading, reason) {
                        changed.send_replace(());
                    }
                }
            }
        }
    });
    receiver
}

/// Whether this says something new: what was listed once stays known.
fn refused(reading: &watch::Sender<Reading>, reason: String) -> bool {
    reading.send_if_modified(|now| {
        let next = Reading::Refused(reason);
        let news = *now != Reading::Listed && *now != next;
        if news {
            *now = next;
        }
        news
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use http::{Request, Response};
    use k8s_openapi::api::core::v1::Secret;
    use kube::Client;
    use kube::client::Body;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// An API server that forbids everything until it is told otherwise, and then has nothing.
    fn client(allows: &Arc<AtomicBool>) -> Client {
        let allows = Arc::clone(allows);
        let answer = move |request: Request<Body>| {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
            let (status, body) = match allows.load(Ordering::SeqCst) {
                false => (
                    403,
                    r#"{"kind":"Status","status":"Failure","message":"not for you","reason":"Forbidden","code":403}"#,
                ),
                true if watches => (200, ""),
                true => {
                    (200, r#"{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#)
                }
            };
            let response = Response::builder().status(status).body(Body::from(body.as_bytes().to_vec()));
            std::future::ready(response)
        };
        Client::new(tower::service_fn(answer), "default")
    }

    #[tokio::test]
    async fn whoever_waits_is_told_and_a_refusal_is_known_until_it_ends() {
        let allows = Arc::new(AtomicBool::new(false));
        let changed = Arc::new(watch::Sender::new(()));
        let cancel = CancellationToken::new();
        let api: Api<Secret> = Api::all(client(&allows));
        let table = follow(api, watcher::Config::default(), &changed, &cancel);
        tokio::time::timeout(SOON, table.asked()).await.expect("it was asked for");
        assert!(table.unread().is_some_and(|reason| reason.contains("not for you")), "{:?}", table.unread());
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let table = table.clone();
            waiters.spawn(async move { table.listed().await });
        }
        allows.store(true, Ordering::SeqCst);
        let told = async { while waiters.join_next().await.is_some() {} };
        tokio::time::timeout(SOON, told).await.expect("everybody is told");
        assert_eq!(table.unread(), None);
        cancel.cancel();
    }
}
