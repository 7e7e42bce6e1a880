//! The control socket: what is started over a connection ends with it, with its client, or at its limit.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use requirements::{Capability, require};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::world::World;

/// A client of the socket.
pub(crate) struct Client(BufReader<UnixStream>);

impl Client {
    pub(crate) fn new(world: &World) -> Self {
        let path = socket(world);
        let folder = std::fs::File::open(path.parent().unwrap()).unwrap();
        let short = format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd());
        Self(BufReader::new(UnixStream::connect(short).unwrap()))
    }

    pub(crate) fn ask(&mut self, request: Value) -> Value {
        writeln!(self.0.get_mut(), "{request}").unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    /// The same where the world may end meanwhile.
    pub(crate) fn try_ask(&mut self, request: &Value) -> std::io::Result<String> {
        writeln!(self.0.get_mut(), "{request}")?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        Ok(answer)
    }

    fn cut(&mut self, limit: u64) -> Value {
        let link = json!({"from": "network1", "to": "network2", "direction": "both"});
        self.ask(json!({"request": "cut", "link": link, "limitMilliseconds": limit}))
    }

    /// Rules of faults that the backbone has at this moment.
    fn faults(&mut self) -> Vec<String> {
        let counters = self.ask(json!({"request": "counters"}));
        let rules = counters["routers"][0]["rules"].as_array().unwrap();
        let tables = rules.iter().map(|rule| rule["table"].as_str().unwrap());
        tables.filter(|table| table.starts_with("fault-")).map(str::to_owned).collect()
    }

    async fn healed(&mut self) -> Duration {
        let begin = Instant::now();
        eventually::poll("the end of the fault", Duration::from_secs(5), Duration::from_millis(10), async || {
            let left = self.faults();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await
        .unwrap();
        begin.elapsed()
    }
}

fn socket(world: &World) -> PathBuf {
    PathBuf::from(world.state["controlSocket"].as_str().unwrap())
}

#[tokio::test]
async fn a_fault_ends_with_its_connection_with_its_client_and_at_its_limit() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let world = World::start();
    assert_eq!(socket(&world).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut watcher = Client::new(&world);

    // With its connection.
    let mut client = Client::new(&world);
    assert_eq!(client.cut(60_000), json!({"response": "started", "lease": 1}));
    assert_eq!(watcher.faults().len(), 2, "a rule for each way");
    drop(client);
    watcher.healed().await;

    // With its client, which has no time to say anything.
    let mut client = Client::new(&world);
    client.cut(60_000);
    let connection = OwnedFd::from(client.0.into_inner());
    let mut holder = Command::new("sleep").arg("1000").stdin(Stdio::from(connection)).spawn().unwrap();
    assert_eq!(watcher.faults().len(), 2, "the client still has its connection");
    holder.kill().unwrap();
    holder.wait().unwrap();
    watcher.healed().await;

    // At its limit, while the client lives.
    let mut client = Client::new(&world);
    client.cut(300);
    let begin = Instant::now();
    watcher.healed().await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let state = client.ask(json!({"request": "revert", "lease": 1}));
    assert_eq!(state["state"]["state"], "healed", "{state}");
    assert_eq!(state["state"]["healing"]["by"], "limit", "{state}");

    // On request, with evidence; asking again says the same.
    client.cut(60_000);
    let active = client.ask(json!({"request": "status", "lease": 2}));
    assert_eq!(active["state"]["state"], "active", "{active}");
    let state = client.ask(json!({"request": "revert", "lease": 2}));
    assert_eq!(state["state"]["healing"]["by"], "request", "{state}");
    assert_eq!(watcher.faults(), Vec::<String>::new());
    assert_eq!(client.ask(json!({"request": "status", "lease": 2})), state);
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let world = World::start();
    let mut client = Client::new(&world);
    let mut message = |request: Value| {
        let answer = client.ask(request);
        assert_eq!(answer["response"], "refused", "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    };
    let link = json!({"from": "network1", "to": "nowhere", "direction": "both"});
    assert_eq!(
        message(json!({"request": "cut", "link": link, "limitMilliseconds": 1000})),
        r#"there is no network "nowhere"; there are network1, network2"#
    );
    assert_eq!(
        message(json!({"request": "pause-api-server", "cluster": "cluster9", "limitMilliseconds": 1000})),
        r#"there is no cluster "cluster9"; there are cluster1, cluster2"#
    );
    assert_eq!(
        message(json!({"request": "pause-api-server", "cluster": "cluster1", "limitMilliseconds": 0})),
        "a fault needs a time limit above 0"
    );
    assert_eq!(message(json!({"request": "revert", "lease": 7})), "this connection has no fault 7");
    assert!(message(json!({"request": "explode"})).starts_with("this is no request: "));
}

#[test]
fn a_paused_api_server_answers_nobody_and_then_everybody() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    require!(Capability::Kubectl);
    let world = World::start();
    let kubectl = Kubectl::new(&world, 0);
    let mut watch = kubectl.command(&["get", "configmaps", "-w", "-o", "name", "--no-headers"]);
    let mut watch = watch.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut seen = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(seen.next().unwrap().unwrap(), "configmap/kube-root-ca.crt");

    let mut client = Client::new(&world);
    let pause = |cluster: &str| json!({"request": "pause-api-server", "cluster": cluster, "limitMilliseconds": 60_000});
    assert_eq!(client.ask(pause("cluster1"))["response"], "started");
    assert_eq!(client.ask(pause("cluster1"))["message"], "the API server of cluster1 is paused already");
    let blocked = kubectl.run(&["get", "nodes", "--request-timeout=500ms"], "");
    assert_ne!(blocked.code, 0, "a paused server has answered: {}", blocked.stdout);
    // The other cluster's goes on.
    Kubectl::new(&world, 1).ok(&["get", "nodes"]);
    let mut create = kubectl.command(&["create", "configmap", "late"]);
    let mut create = create.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();

    let state = client.ask(json!({"request": "revert", "lease": 1}));
    assert_eq!(state["state"]["state"], "healed", "{state}");
    assert!(state["state"]["healing"]["touched"].as_u64().unwrap() > 0, "{state}");
    assert!(create.wait().unwrap().success(), "what waited is done");
    assert_eq!(seen.next().unwrap().unwrap(), "configmap/late");
    watch.kill().unwrap();
    watch.wait().unwrap();
}
