//! Asks every pod of the control plane for its account, again and again: each answer comes when there is something new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::account::{SyncStatus, Table, judge};
use crate::pods::Pods;

/// Where a control plane answers questions about itself.
const MONITORING: u16 = 15014;
/// How long a control plane waits for something new.
const WAIT: u64 = 30;
/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(WAIT + 10);
/// Longest account that is read.
const LONGEST: usize = 256 << 20;
/// Pause after a question that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Accounts by pod of the control plane; `None` says that it does not answer.
type Told = (String, Option<SyncStatus>);

/// Keeps the table up to date until cancelled.
pub async fn run(pods: Pods, table: watch::Sender<Arc<Table>>, cancel: CancellationToken) {
    let (told, mut answers) = mpsc::channel(16);
    let mut changed = pods.subscribe();
    let work = async {
        pods.ready().await;
        let mut planes = Planes { told, running: BTreeMap::new(), accounts: BTreeMap::new() };
        loop {
            planes.keep(&pods.control_planes());
            let accounts: Vec<SyncStatus> = planes.accounts.values().cloned().collect();
            // Without any account nothing is known; what was acknowledged stays so until there is one again.
            if !accounts.is_empty() {
                let expected = pods.proxies();
                table.send_if_modified(|table| {
                    let next = judge(&accounts, &expected, table);
                    let differs = next != **table;
                    if differs {
                        *table = Arc::new(next);
                    }
                    differs
                });
            }
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some((pod, Some(account))) => drop(planes.accounts.insert(pod, account)),
                    Some((pod, None)) => drop(planes.accounts.remove(&pod)),
                    None => return,
                },
                event = changed.changed() => if event.is_err() { return },
            }
        }
    };
    cancel.run_until_cancelled(work).await;
}

/// The pods of the control plane that are asked.
struct Planes {
    told: mpsc::Sender<Told>,
    running: BTreeMap<String, JoinHandle<()>>,
    accounts: BTreeMap<String, SyncStatus>,
}

impl Planes {
    /// Asks these pods, name to address, and no others.
    fn keep(&mut self, wanted: &BTreeMap<String, String>) {
        let gone: BTreeSet<String> = self.running.keys().filter(|pod| !wanted.contains_key(*pod)).cloned().collect();
        for pod in gone {
            if let Some(task) = self.running.remove(&pod) {
                task.abort();
            }
            self.accounts.remove(&pod);
        }
        for (pod, address) in wanted {
            if !self.running.contains_key(pod) {
                let task = tokio::spawn(ask_for_ever(pod.clone(), address.clone(), self.told.clone()));
                self.running.insert(pod.clone(), task);
            }
        }
    }
}

impl Drop for Planes {
    fn drop(&mut self) {
        self.running.values().for_each(JoinHandle::abort);
    }
}

async fn ask_for_ever(pod: String, address: String, told: mpsc::Sender<Told>) {
    let mut connection = None;
    let mut revision = String::new();
    let mut failing = false;
    loop {
        let answer = tokio::time::timeout(PATIENCE, ask(&mut connection, &address, &revision)).await;
        let answer = answer.unwrap_or_else(|_elapsed| Err("no answer in time".to_owned()));
        let message = match answer {
            Ok(account) if account.revision == revision && !failing => continue,
            Ok(account) => {
                failing = false;
                revision.clone_from(&account.revision);
                Some(account)
            }
            Err(error) => {
                connection = None;
                if failing {
                    if tokio::time::timeout(PAUSE, told.closed()).await.is_ok() {
                        return;
                    }
                    continue;
                }
                tracing::warn!(pod, error, "the control plane does not tell what proxies hold");
                failing = true;
                revision.clear();
                None
            }
        };
        if told.send((pod.clone(), message)).await.is_err() {
            return;
        }
    }
}

type Connection = Option<SendRequest<Empty<Bytes>>>;

async fn ask(connection: &mut Connection, address: &str, revision: &str) -> Result<SyncStatus, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let mut known = connection.take();
    if let Some(sender) = &mut known
        && sender.ready().await.is_err()
    {
        known = None;
    }
    let sender = match known {
        Some(sender) => connection.insert(sender),
        None => connection.insert(connect(address).await?),
    };
    let path = format!("/debug/syncz?after={revision}&seconds={WAIT}");
    let request = Request::get(path).header("host", "istiod").body(Empty::new()).map_err(|error| words(&error))?;
    let response = sender.send_request(request).await.map_err(|error| words(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("it answers with {status}"));
    }
    let account: SyncStatus =
        serde_json::from_slice(&body.to_bytes()).map_err(|error| format!("its account is not understood: {error}"))?;
    if account.revision.is_empty() {
        return Err("its account has no revision, so nobody can wait for the next one".to_owned());
    }
    Ok(account)
}

async fn connect(address: &str) -> Result<SendRequest<Empty<Bytes>>, String> {
    let stream = TcpStream::connect((address, MONITORING)).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with its sender, and its error is the error of the request under way.
    tokio::spawn(connection);
    Ok(sender)
}
