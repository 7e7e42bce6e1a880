//! `probe run`: connections that send what the pacer hands out.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::RunArgs;
use super::clock::Noted;
use super::connection::{Answer, Connection, Sent, Target};
use super::control::{self, Begun};
use super::failure::{ErrorClass, Failure};
use super::pace::{Lane, Pacer};
use super::report::{Frame, Report, Resolved};
use super::tally::{Exchange, Tally};
use super::target::target;

/// What all connections of a run share.
struct Plan {
    target: Target,
    pacer: Pacer,
    timeout: Duration,
    new_connection_per_request: bool,
    opened: AtomicU64,
    tally: Mutex<Tally>,
}

impl Plan {
    /// Counts stay usable after a panic elsewhere: each update is complete in itself.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs to its end, or until it is stopped; then tells what was counted so far.
pub(super) async fn run(args: &RunArgs, stop: CancellationToken) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let unlimited = args.duration.is_some() || args.controlled;
    let total = args.requests.or(if unlimited { None } else { Some(1) });
    let (resolved, failure) = resolve(args).await;
    let mut looked_up = begun.elapsed();
    let mut input = args.controlled.then(control::Input::new);
    if let Some(input) = input.as_mut().filter(|_| args.held) {
        control::announce_held(&resolved)?;
        input.started(&stop).await;
        // What was done before the beginning is no part of the run.
        looked_up = Duration::ZERO;
    }
    let offset = args.offset.unwrap_or_default();
    let pacer = Pacer::new(total, args.duration, args.rate, stop.clone()).delayed(offset);
    let started_at = jiff::Timestamp::now().checked_add(offset).context("--offset is too long")?;
    if let Some(input) = input {
        control::announce(&Begun::new(started_at, &resolved))?;
        input.stops(stop.clone());
    }
    let (start, planned) = (pacer.start(), pacer.planned());
    let mut tally = Tally::new(args.hop.clone(), args.samples)
        .showing(args.show_headers.iter().map(|name| name.as_str().to_owned()));
    if let Some(failure) = failure {
        // Without an address nothing can be sent: the one look-up is the one attempt.
        tally.failed(failure);
    }
    if let Some(address) = resolved.used {
        tally = send_all(plan(args, address, pacer, tally)?, args).await?;
    }
    let interrupted = stop.is_cancelled();
    Ok(Report::new(args, Frame { started_at, start, looked_up, planned, interrupted, resolved }, tally))
}

async fn resolve(args: &RunArgs) -> (Resolved, Option<Failure>) {
    let mut resolved = Resolved { host: args.url.host.clone(), ..Resolved::default() };
    if args.connect_to.is_some() {
        resolved.used = args.connect_to;
        return (resolved, None);
    }
    let lookup = tokio::net::lookup_host((args.url.host.as_str(), args.url.port));
    let failure = match tokio::time::timeout(args.timeout, lookup).await {
        Ok(Ok(addresses)) => {
            resolved.addresses = addresses.collect();
            resolved.used = resolved.addresses.first().copied();
            let none = || Failure::new(ErrorClass::Dns, format!("{} has no address", args.url.host));
            resolved.used.is_none().then(none)
        }
        Ok(Err(error)) => Some(Failure::new(ErrorClass::Dns, error.to_string())),
        Err(_) => Some(Failure::new(ErrorClass::Dns, format!("no answer from the resolver within {:?}", args.timeout))),
    };
    (resolved, failure)
}

fn plan(args: &RunArgs, address: SocketAddr, pacer: Pacer, tally: Tally) -> anyhow::Result<Plan> {
    Ok(Plan {
        target: target(args, address)?,
        pacer,
        timeout: args.timeout,
        new_connection_per_request: args.new_connection_per_request,
        opened: AtomicU64::new(0),
        tally: Mutex::new(tally),
    })
}

/// Sends everything: a closed loop on this thread, an open one on two where there are two processors.
async fn send_all(plan: Plan, args: &RunArgs) -> anyhow::Result<Tally> {
    let (plan, connections) = (Arc::new(plan), usize::from(args.connections));
    let more = usize::from(args.max_connections.unwrap_or(0)).saturating_sub(connections);
    let elsewhere = if threads(args) == 2 { connections / 2 } else { 0 };
    let (other, here) = (Arc::clone(&plan), Arc::clone(&plan));
    let other = (elsewhere > 0).then(|| tokio::task::spawn_blocking(move || send_on_this_thread(other, elsewhere)));
    send(here, connections - elsewhere, more).await.context("cannot keep time: no timer")?;
    if let Some(other) = other {
        other.await?.context("cannot keep time on a second thread")?;
    }
    let plan = Arc::into_inner(plan).context("a connection of the run did not end")?;
    Ok(plan.tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn send_on_this_thread(plan: Arc<Plan>, connections: usize) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(send(plan, connections, 0))
}

/// A closed loop is fastest on one thread. An open loop is the more punctual the less it depends on one processor: where
/// another process holds that up, requests that are due would wait for it.
fn threads(args: &RunArgs) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if args.rate.is_some() { processors.min(usize::from(args.connections)).min(2) } else { 1 }
}

/// Starts connections on this thread, and in an open loop so many more as they are lacking; ends with the run.
async fn send(plan: Arc<Plan>, connections: usize, mut more: usize) -> io::Result<()> {
    let lane = Arc::new(Lane::new()?);
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(work(Arc::clone(&plan), Arc::clone(&lane)));
    }
    if more > 0 {
        let open_another = || {
            if more > 0 {
                more -= 1;
                workers.spawn(work(Arc::clone(&plan), Arc::clone(&lane)));
            }
        };
        plan.pacer.watch(open_another).await?;
    }
    workers.join_all().await.into_iter().collect()
}

/// One connection: sends one request after the other, and opens itself anew after a failure.
async fn work(plan: Arc<Plan>, lane: Arc<Lane>) -> io::Result<()> {
    let mut kept = None;
    while let Some(intended) = plan.pacer.next(&lane).await? {
        let exchange = request(&plan, &mut kept, intended).await;
        if plan.new_connection_per_request {
            kept = None;
        }
        plan.tally().count(exchange);
    }
    Ok(())
}

/// One request. It is sent once: only a request that never left a dead kept connection goes over a new one.
async fn request(plan: &Plan, kept: &mut Option<Connection>, intended: Instant) -> Exchange {
    let begun = Instant::now();
    let mut attempt = Attempt::default();
    let result = attempt.make(plan, kept, begun + plan.timeout).await;
    let done = Instant::now();
    let sent = attempt.noted.sent.unwrap_or(begun);
    // Connecting is a part of sending, so a request that had to wait for it was begun in time.
    let left = if attempt.opened { begun } else { sent };
    Exchange {
        intended,
        sent,
        delay: left.saturating_duration_since(intended),
        first_byte: attempt.noted.first_byte,
        done,
        connection: attempt.connection,
        result,
    }
}

/// What is known of a request besides its result.
#[derive(Default)]
struct Attempt {
    opened: bool,
    connection: Option<u64>,
    noted: Noted,
}

impl Attempt {
    async fn make(&mut self, plan: &Plan, kept: &mut Option<Connection>, deadline: Instant) -> Result<Answer, Failure> {
        let had_connection = kept.is_some();
        kept.take_if(|connection| connection.is_closed());
        let mut reused = kept.is_some();
        if had_connection && !reused {
            plan.tally().reconnects += 1;
        }
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.open(plan, deadline).await?,
            };
            self.connection = Some(connection.number);
            let sent = connection.exchange(&plan.target, deadline, plan.timeout).await;
            self.noted = connection.noted();
            match sent {
                Sent::Answered(answer) => {
                    *kept = Some(connection);
                    return Ok(answer);
                }
                Sent::Failed(failure) => return Err(failure),
                Sent::Unsent if reused => {
                    reused = false;
                    plan.tally().reconnects += 1;
                }
                Sent::Unsent => return Err(connection.ending().await),
            }
        }
    }

    async fn open(&mut self, plan: &Plan, deadline: Instant) -> Result<Connection, Failure> {
        self.opened = true;
        let mut connection = Connection::open(&plan.target, deadline).await?;
        connection.number = plan.opened.fetch_add(1, Ordering::Relaxed);
        plan.tally().connections_opened += 1;
        Ok(connection)
    }
}
