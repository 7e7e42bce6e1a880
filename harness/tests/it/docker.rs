//! What the provider `kind` makes on Docker besides the clusters: images of our programs, networks, and the router between them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use docker_support::Kind;
use meshproof::links::{Capability as LinkCapability, Direction, HealedBy, Link, Links};
use meshproof::provider::kind::addresses::MeshNetwork;
use meshproof::provider::kind::engine::{Container, Engine};
use meshproof::provider::kind::networks;
use meshproof::provider::kind::router::Router;
use requirements::{Capability, require};

use crate::on_docker::{ECHO, TOPOLOGY, answered, with_engine};

/// A fault that is not healed ends after this.
const LIMIT: Duration = Duration::from_secs(60);
/// Names of what this test makes begin with that of its environment, which no other process has.
fn environment() -> String {
    format!("test-{}", std::process::id())
}

/// A container on each network that answers HTTP and can ask.
struct Peers {
    engine: Engine,
    networks: Vec<MeshNetwork>,
}

impl Peers {
    fn name(network: &str) -> String {
        format!("meshproof-{}-{network}-peer", environment())
    }

    /// The address of the peer on a network.
    fn address(&self, network: usize) -> std::net::Ipv4Addr {
        self.networks[network].load_balancers().next().expect("the first of many")
    }

    async fn start(engine: &Engine) -> Self {
        let topology = meshproof::topology::validate::read("t.yaml", TOPOLOGY).expect("a topology");
        let networks = networks::make(engine, &topology, &environment()).await.expect("networks");
        let peers = Self { engine: engine.clone(), networks };
        for (number, network) in peers.networks.iter().enumerate() {
            let container = Container {
                name: Self::name(&network.name),
                image: ECHO.to_owned(),
                arguments: vec!["--port=8080".to_owned()],
                networks: vec![(network.docker.name.clone(), Some(peers.address(number)))],
                ..Container::default()
            };
            engine.start(&container).await.expect("a peer");
            Router::join(engine, &container.name, network, &peers.networks).await.expect("routes");
        }
        peers
    }

    /// How many of three requests from a network to the other one are answered.
    async fn answered(&self, from: usize, patience: &str) -> u64 {
        let container = Self::name(&self.networks[from].name);
        answered(&self.engine, &container, self.address(1 - from), patience).await
    }
}

/// Packets that the router has seen from one network to the other.
async fn packets(links: &Links, label: &str) -> u64 {
    let routers = links.counters().await.expect("counted");
    let rule = routers[0].rules.iter().find(|rule| rule.name == label).expect("a rule");
    rule.packets
}

fn link(direction: Direction) -> Link {
    Link { from: "east".to_owned(), to: "west".to_owned(), direction }
}

/// What Docker has, as its own command line tells it.
fn inventory() -> String {
    let list = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().expect("started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let mine = environment();
    let all = [
        list(&["ps", "--all", "--format", "{{.Names}}"]),
        list(&["network", "ls", "--format", "{{.Name}}"]),
        list(&["volume", "ls", "--format", "{{.Name}} {{.Labels}}"]),
    ];
    all.concat().lines().filter(|line| line.contains(&mine)).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn networks_are_joined_by_the_router_alone_and_cut_one_way_both_ways_and_healed() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let swept = with_engine(&environment(), async |engine| measure(engine.clone()).await).await;
    let mut kinds: Vec<Kind> = swept.iter().map(|thing| thing.kind).collect();
    kinds.sort();
    assert_eq!(kinds, [Kind::Container, Kind::Container, Kind::Container, Kind::Network, Kind::Network], "{swept:?}");
    assert_eq!(inventory(), "");
}

async fn measure(engine: Engine) {
    let peers = Peers::start(&engine).await;
    assert_eq!(peers.answered(0, "1s").await, 0, "without a router there is no way across");

    let router = Router::start(&engine, &environment(), &peers.networks).await.expect("a router");
    let links = Links::of_router(router);
    assert_eq!([peers.answered(0, "5s").await, peers.answered(1, "5s").await], [3, 3]);

    // Both ways: nobody is answered, and no packet comes out at the other end.
    let fault = links.cut(&link(Direction::Both), LIMIT).await.expect("cut");
    assert_eq!([peers.answered(0, "1s").await, peers.answered(1, "1s").await], [0, 0]);
    let healing = fault.heal().await.expect("healed");
    assert!(healing.by == HealedBy::Request && healing.touched >= 6, "{healing:?}");
    assert_eq!([peers.answered(0, "5s").await, peers.answered(1, "5s").await], [3, 3]);

    // One way: what west sends arrives, and what east answers does not.
    let fault = links.cut(&link(Direction::OneWay), LIMIT).await.expect("cut");
    let before = [packets(&links, "east to west").await, packets(&links, "west to east").await];
    assert_eq!(peers.answered(0, "1s").await, 0);
    let between = [packets(&links, "east to west").await, packets(&links, "west to east").await];
    assert!(between[0] >= before[0] + 3, "east asks: {before:?} {between:?}");
    assert_eq!(between[1], before[1], "west is never asked, so it never answers");
    assert_eq!(peers.answered(1, "1s").await, 0);
    let after = [packets(&links, "east to west").await, packets(&links, "west to east").await];
    assert!(after[1] >= between[1] + 3, "west asks: {between:?} {after:?}");
    assert!(after[0] >= between[0] + 3, "east has heard it, and its answers go as far as the router: {after:?}");
    fault.heal().await.expect("healed");
    assert_eq!(peers.answered(0, "5s").await, 3);

    limits(&links, &peers).await;
}

/// Faults whose time is up, or whose owner is gone, and what no router can do.
async fn limits(links: &Links, peers: &Peers) {
    // Nobody heals it: the kernel does.
    let fault = links.cut(&link(Direction::Both), Duration::from_secs(2)).await.expect("cut");
    assert_eq!(peers.answered(0, "500ms").await, 0);
    assert_eq!(peers.answered(0, "10s").await, 3, "sent again until the time was up");
    let healing = fault.heal().await.expect("healed");
    assert!(healing.by == HealedBy::Limit && healing.touched > 0, "{healing:?}");

    // All packets lost is as good as cut; half of them is not.
    let fault = links.loss(&link(Direction::Both), 100.0, LIMIT).await.expect("lost");
    assert_eq!(peers.answered(0, "500ms").await, 0);
    drop(fault);
    let healed = async || if peers.answered(0, "1s").await == 3 { Ok(()) } else { Err("not all are answered") };
    let waited = eventually::poll("a dropped fault to end", LIMIT / 4, Duration::from_millis(100), healed).await;
    waited.expect("long before its limit");

    let elsewhere = Link { to: "north".to_owned(), ..link(Direction::Both) };
    let error = links.cut(&elsewhere, LIMIT).await.expect_err("refused").to_string();
    assert_eq!(error, "there is no link between east and north; the router joins east, west");
    assert!(links.missing(LinkCapability::Cut).await.expect("asked").is_none());
    let reason = links.missing(LinkCapability::Tap).await.expect("asked").expect("it cannot");
    assert!(reason.contains("can do nothing else"), "{reason}");
    delays(links, peers).await;
}

/// Whether packets can be delayed is the kernel's: where it can they are, and otherwise it is said why not.
async fn delays(links: &Links, peers: &Peers) {
    let by = Duration::from_millis(400);
    let begun = links.delay(&link(Direction::Both), by, Duration::ZERO, LIMIT).await;
    let Some(reason) = links.missing(LinkCapability::Delay).await.expect("asked") else {
        let fault = begun.expect("delayed");
        assert_eq!([peers.answered(0, "500ms").await, peers.answered(0, "5s").await], [0, 3], "800 ms there and back");
        let healing = fault.heal().await.expect("healed");
        assert!(healing.touched >= 6, "{healing:?}");
        assert_eq!(peers.answered(0, "500ms").await, 3);
        return;
    };
    assert!(
        reason.starts_with("the kernel of this machine cannot delay packets: Error: Specified qdisc kind"),
        "{reason}"
    );
    assert_eq!(begun.expect_err("refused").to_string(), reason);
    assert_eq!(peers.answered(0, "1s").await, 3, "nothing was done");
}

/// `meshproof images` as a user has it: two builds of one program are one image, which starts without anything of this machine.
#[test]
fn an_image_is_made_loaded_and_started() {
    require!(Capability::Docker);
    require!(Capability::Programs);
    let folder = requirements::programs().expect("built");
    let out = tempfile::tempdir().expect("a folder");
    let make = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_meshproof"))
            .args(["images", "probe", "--load", "--format", "json", "--programs", folder.to_str().expect("UTF-8")])
            .arg("--out")
            .arg(file)
            .env_remove("MESHPROOF_ENVOY")
            .output()
            .expect("started");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let made = make(&out.path().join("one.tar"));
    assert_eq!(made, make(&out.path().join("two.tar")));
    let bytes = |name: &str| std::fs::read(out.path().join(name)).expect("written");
    assert!(bytes("one.tar") == bytes("two.tar"), "the same programs make the same file");

    let image = &made["images"][0];
    assert_eq!(image["name"], "meshproof/probe:dev");
    let inspect =
        Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", "meshproof/probe:dev"]).output();
    let known = String::from_utf8(inspect.expect("started").stdout).expect("UTF-8");
    assert_eq!(image["id"], known.trim(), "Docker finds the same id in it");
    let run = ["run", "--rm", "--network=none", "--read-only", "meshproof/probe:dev", "--help"];
    let output = Command::new("docker").args(run).output().expect("started");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: bookinfo probe"), "{output:?}");
}
