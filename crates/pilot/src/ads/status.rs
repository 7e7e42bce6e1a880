//! The account of all proxies: who is connected and has acknowledged which snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::Type;
use super::resources::Resources;
use crate::model::{Problem, WorkloadKey};
use crate::translate::Proxy;

/// The account of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeStatus {
    /// Newest snapshot whose meaning was sent completely.
    pub sent: u64,
    /// Newest snapshot whose meaning the proxy holds.
    pub acked: u64,
    /// Why the proxy refused the last response.
    pub error: Option<String>,
    /// How many responses it refused on this connection.
    pub rejections: u64,
}

/// What a proxy has accepted of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Nonce of the last response that it accepted on this connection.
    pub nonce: Option<String>,
    /// Versions by name of the resource. A proxy that comes back says which it still has.
    pub versions: Arc<BTreeMap<String, String>>,
}

impl Acknowledged {
    /// Notes that a response was accepted.
    pub(super) fn accept(&mut self, nonce: String, set: BTreeMap<String, String>, removed: &BTreeSet<String>) {
        self.nonce = Some(nonce);
        if !set.is_empty() || !removed.is_empty() {
            let versions = Arc::make_mut(&mut self.versions);
            versions.retain(|name, _| !removed.contains(name));
            versions.extend(set);
        }
    }
}

/// The account of one proxy.
#[derive(Clone, Debug)]
pub struct ProxyStatus {
    /// The proxy as it introduced itself.
    pub proxy: Proxy,
    /// Which of its connections this is about.
    pub connection: u64,
    /// Whether that connection is open.
    pub connected: bool,
    /// By type.
    pub types: BTreeMap<Type, TypeStatus>,
    /// What it has accepted, by type.
    pub acknowledged: BTreeMap<Type, Acknowledged>,
    /// What it is to hold.
    pub resources: Arc<Resources>,
    /// What of the configuration has no effect on it.
    pub problems: Vec<Problem>,
    /// When it acknowledged everything that it has acknowledged; the registry fills it in.
    pub acknowledged_at: Option<Timestamp>,
}

impl ProxyStatus {
    /// Everything up to this snapshot is acknowledged.
    fn acked(&self) -> u64 {
        self.types.values().map(|status| status.acked).min().unwrap_or_default()
    }

    /// Whether somebody who waits for acknowledgements sees a difference.
    fn tells_more_than(&self, other: &Self) -> bool {
        let refusals = |status: &Self| status.types.values().map(|one| one.error.clone()).collect::<Vec<_>>();
        (self.connected, self.connection, self.acked()) != (other.connected, other.connection, other.acked())
            || refusals(self) != refusals(other)
    }
}

/// All proxies by node id.
#[derive(Debug)]
pub struct Registry {
    proxies: Mutex<BTreeMap<String, ProxyStatus>>,
    changes: watch::Sender<u64>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { proxies: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ProxyStatus>> {
        // The accounts are plain values, whole after every statement.
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the account of a proxy, unless a newer connection of it has one.
    pub fn set(&self, mut status: ProxyStatus) {
        let changed = {
            let mut proxies = self.lock();
            let known = proxies.get(&status.proxy.id);
            if known.is_some_and(|known| known.connection > status.connection) {
                return;
            }
            let changed = known.is_none_or(|known| status.tells_more_than(known));
            let since = known.filter(|known| known.acked() == status.acked()).and_then(|known| known.acknowledged_at);
            status.acknowledged_at = since.or_else(|| Some(Timestamp::now()));
            proxies.insert(status.proxy.id.clone(), status);
            changed
        };
        if changed {
            self.tell();
        }
    }

    /// Counts the changes of who is connected, of what is acknowledged and of what is refused.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether every proxy that is connected holds a snapshot.
    pub fn has_acknowledged(&self, snapshot: u64) -> bool {
        self.lock().values().filter(|status| status.connected).all(|status| status.acked() >= snapshot)
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Notes the end of a connection.
    pub fn disconnected(&self, id: &str, connection: u64) {
        let known = {
            let mut proxies = self.lock();
            let status = proxies.get_mut(id).filter(|status| status.connection == connection);
            status.map(|status| status.connected = false).is_some()
        };
        if known {
            self.tell();
        }
    }

    /// All accounts.
    pub fn all(&self) -> Vec<ProxyStatus> {
        self.lock().values().cloned().collect()
    }

    /// The account of the proxy with a node id, or of the latest with `<pod>.<namespace>`.
    pub fn find(&self, id: &str) -> Option<ProxyStatus> {
        let wanted = |status: &&ProxyStatus| {
            status.proxy.id == id || format!("{}.{}", status.proxy.name, status.proxy.namespace) == id
        };
        self.lock().values().filter(wanted).max_by_key(|status| (status.connected, status.connection)).cloned()
    }

    /// Drops the accounts of closed connections whose pods are gone.
    pub fn forget_gone(&self, exists: impl Fn(&WorkloadKey) -> bool) {
        self.lock().retain(|_, status| status.connected || exists(&status.proxy.workload_key()));
    }
}
