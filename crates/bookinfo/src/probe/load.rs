//! `probe run`: connections that send what the pacer hands out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::{RunArgs, Url};
use super::connection::{Answer, Connection, RequestTemplate, Sent, Target};
use super::failure::{ErrorClass, Failure};
use super::pace::Pacer;
use super::report::{Frame, Report, Resolved};
use super::tally::Tally;

/// What all connections of a run share.
struct Plan {
    target: Target,
    template: RequestTemplate,
    pacer: Pacer,
    timeout: Duration,
    new_connection_per_request: bool,
    hop: Option<String>,
}

/// Runs to its end, or until it is stopped; then tells what was counted so far.
pub(super) async fn run(args: &RunArgs, stop: CancellationToken) -> Report {
    let started_at = jiff::Timestamp::now().to_string();
    let begun = Instant::now();
    let total = args.requests.or(if args.duration.is_none() { Some(1) } else { None });
    let (resolved, failure) = resolve(args).await;
    let pacer = Pacer::new(total, args.duration, args.rate, stop.clone());
    let planned = pacer.planned();
    let mut tally = Tally::default();
    if let Some(failure) = failure {
        // Without an address nothing can be sent: the one look-up is the one attempt.
        tally.failed(failure);
    }
    if let Some(address) = resolved.used {
        tally = send_all(Arc::new(plan(args, address, pacer)), args.connections).await;
    }
    let frame = Frame { started_at, elapsed: begun.elapsed(), planned, interrupted: stop.is_cancelled(), resolved };
    Report::new(args, frame, tally)
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

fn plan(args: &RunArgs, address: SocketAddr, pacer: Pacer) -> Plan {
    Plan {
        target: Target { address, http2: args.http2 },
        template: template(args),
        pacer,
        timeout: args.timeout,
        new_connection_per_request: args.new_connection_per_request,
        hop: args.hop.clone(),
    }
}

fn template(args: &RunArgs) -> RequestTemplate {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("meshproof-probe"));
    let mut given = HeaderMap::new();
    for (name, value) in &args.headers {
        given.append(name.clone(), value.clone());
    }
    headers.extend(given);
    let host = headers.get(header::HOST).cloned();
    if host.is_none()
        && let Ok(host) = HeaderValue::from_str(args.url.authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    RequestTemplate {
        method: args.method.clone(),
        uri: uri(&args.url, host.as_ref()),
        headers,
        body: Bytes::from(args.body.clone()),
    }
}

/// The whole URI for HTTP/2, in which a host that was given as a header takes the URL's place.
fn uri(url: &Url, host: Option<&HeaderValue>) -> Uri {
    let authority = host.and_then(|host| host.to_str().ok()).unwrap_or(url.authority.as_str());
    let whole = Uri::builder().scheme("http").authority(authority).path_and_query(url.path.as_str()).build();
    whole.unwrap_or_else(|_| Uri::from_static("/"))
}

async fn send_all(plan: Arc<Plan>, connections: u16) -> Tally {
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(work(Arc::clone(&plan)));
    }
    let mut sum = Tally::default();
    for tally in workers.join_all().await {
        sum.merge(tally);
    }
    sum
}

/// One connection: sends one request after the other, and opens itself anew after a failure.
async fn work(plan: Arc<Plan>) -> Tally {
    let mut tally = Tally::default();
    let mut kept = None;
    while let Some(intended) = plan.pacer.next().await {
        let sent_at = Instant::now();
        tally.max_start_delay = tally.max_start_delay.max(sent_at.duration_since(intended));
        match request(&plan, &mut kept, &mut tally, sent_at + plan.timeout).await {
            Ok(answer) => {
                tally.answered(&answer, intended.elapsed(), plan.hop.as_deref());
                if plan.new_connection_per_request {
                    kept = None;
                }
            }
            Err(failure) => {
                kept = None;
                tally.failed(failure);
            }
        }
    }
    tally
}

/// One request. It is sent once: only a request that never left a dead kept connection goes over a new one.
async fn request(
    plan: &Plan,
    kept: &mut Option<Connection>,
    tally: &mut Tally,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let had_connection = kept.is_some();
    kept.take_if(|connection| connection.is_closed());
    let mut reused = kept.is_some();
    tally.reconnects += u64::from(had_connection && !reused);
    loop {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let connection = Connection::open(plan.target, deadline).await?;
                tally.connections_opened += 1;
                connection
            }
        };
        match connection.exchange(&plan.template, deadline, plan.timeout).await {
            Sent::Answered(answer) => {
                *kept = Some(connection);
                return Ok(answer);
            }
            Sent::Failed(failure) => return Err(failure),
            Sent::Unsent if reused => {
                reused = false;
                tally.reconnects += 1;
            }
            Sent::Unsent => return Err(connection.ending().await),
        }
    }
}
