//! A restart of Docker, and what `up` does about it. Containers that are no nodes play nodes: they are on the networks of an environment,
//! at addresses that Docker chooses, with routes through the router.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use camino::Utf8Path;
use meshproof::provider::kind::addresses::MeshNetwork;
use meshproof::provider::kind::engine::{Container, Engine};
use meshproof::provider::kind::remembered::Remembered;
use meshproof::provider::kind::router::{Router, container_name};
use meshproof::provider::kind::{Kind, networks, repair};
use requirements::{Capability, require};

use crate::on_docker::{ECHO, TOPOLOGY, answered, with_engine};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ENVIRONMENT_FAILED: i32 = 105;

/// Two nodes on one network, one on the other, and the router.
struct World<'engine> {
    engine: &'engine Engine,
    environment: String,
    networks: Vec<MeshNetwork>,
    nodes: [String; 3],
    remembered: Vec<Remembered>,
}

impl<'engine> World<'engine> {
    async fn start(engine: &'engine Engine, environment: &str) -> Self {
        let topology = meshproof::topology::validate::read("t.yaml", TOPOLOGY).expect("a topology");
        let networks = networks::make(engine, &topology, environment).await.expect("networks");
        let nodes = ["east1", "east2", "west"].map(|name| format!("{environment}-{name}"));
        let places = [&networks[0], &networks[0], &networks[1]];
        for (name, network) in nodes.iter().zip(places) {
            let node = Container {
                name: name.clone(),
                image: ECHO.to_owned(),
                arguments: vec!["--port=8080".to_owned()],
                networks: vec![(network.docker.name.clone(), None)],
                ..Container::default()
            };
            engine.start(&node).await.expect("a node");
            Router::join(engine, name, network, &networks).await.expect("routes");
        }
        Router::start(engine, environment, &networks).await.expect("a router");
        let on: Vec<(String, String)> =
            nodes.iter().cloned().zip(places.map(|network| network.docker.name.clone())).collect();
        let router = Some(container_name(environment));
        let remembered = repair::remember(engine, &on, router).await.expect("remembered");
        assert_eq!(remembered.len(), 4, "{remembered:?}");
        Self { engine, environment: environment.to_owned(), networks, nodes, remembered }
    }

    /// The address by which the others know a node.
    fn address(&self, node: usize) -> Ipv4Addr {
        self.remembered[node].address.as_ref().expect("a node has one").1
    }

    /// That each node of one network reaches that of the other, and is reached.
    async fn crosses(&self) {
        for (from, to) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
            let answers = answered(self.engine, &self.nodes[from], self.address(to), "5s").await;
            assert_eq!(answers, 3, "{} asks {}", self.nodes[from], self.nodes[to]);
        }
    }

    async fn wrong(&self) -> String {
        let wrong = repair::wrong(self.engine, &self.remembered).await.expect("asked");
        meshproof::provider::kind::sentences(&wrong)
    }

    /// Repairs, and looks that nothing is wrong any more. Returns whether the router had to be set up.
    async fn repair(&mut self) -> bool {
        let repaired = repair::repair(self.engine, &self.environment, &self.networks, &self.remembered).await;
        let (remembered, router) = repaired.expect("repaired");
        self.remembered = remembered;
        assert_eq!(self.wrong().await, "");
        self.crosses().await;
        router.is_some()
    }
}

fn docker(arguments: &[&str]) {
    let output = Command::new("docker").args(arguments).output().expect("started");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[tokio::test]
async fn after_a_restart_nodes_have_their_addresses_and_routes_through_the_router() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let environment = format!("repair-{}", std::process::id());
    with_engine(&environment, async |engine| {
        let mut world = World::start(engine, &environment).await;
        world.crosses().await;
        assert_eq!(world.wrong().await, "");
        moved(&mut world).await;
        restarted_in_place(&mut world).await;
        off_the_network(&mut world).await;
    })
    .await;
}

/// As after a reboot: all were stopped, some run again, in another order.
async fn moved(world: &mut World<'_>) {
    let [east1, east2, west] = world.nodes.clone();
    let router = container_name(&world.environment);
    docker(&["stop", "--time=0", &east1, &east2, &west, &router]);
    docker(&["start", &east2]);
    docker(&["start", &east1]);
    let [first, second] = [world.address(0), world.address(1)];
    let expected = format!(
        "{east1} has the address {second} in place of {first}; {east2} has the address {first} in place of {second}; \
         {west} does not run; {router} does not run"
    );
    assert_eq!(world.wrong().await, expected);
    assert!(world.repair().await, "the router was set up anew");
}

/// From then on addresses are no longer Docker's choice: what runs at its own is not touched.
async fn restarted_in_place(world: &mut World<'_>) {
    let [east1, east2, west] = world.nodes.clone();
    docker(&["stop", "--time=0", &east1, &east2]);
    docker(&["start", &east2]);
    let anew = "was started anew, without the routes and rules that it had";
    assert_eq!(world.wrong().await, format!("{east1} does not run; {east2} {anew}"));
    assert_eq!(answered(world.engine, &east2, world.address(2), "500ms").await, 0, "its routes are gone");
    let before = world.remembered[2].started.clone();
    assert!(!world.repair().await, "the router was not concerned");
    assert_eq!(world.remembered[2].started, before, "{west} was left alone");

    let router = container_name(&world.environment);
    docker(&["restart", "--time=0", &router]);
    assert_eq!(world.wrong().await, format!("{router} {anew}"));
    assert!(world.repair().await);
}

/// As where somebody ended a repair half way.
async fn off_the_network(world: &mut World<'_>) {
    docker(&["network", "disconnect", &world.networks[1].docker.name, &world.nodes[2]]);
    assert_eq!(world.wrong().await, format!("{} has lost the address {}", world.nodes[2], world.address(2)));
    world.repair().await;
    docker(&["rm", "--force", &world.nodes[2]]);
    assert_eq!(world.wrong().await, format!("{} is gone", world.nodes[2]));
    let repaired = repair::repair(world.engine, &world.environment, &world.networks, &world.remembered).await;
    assert_eq!(repaired.expect("what is gone is for others to make").0, world.remembered);
}

fn meshproof(state: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshproof"));
    command.args(arguments).current_dir(ROOT).stdin(Stdio::null());
    let output = command.env("MESHPROOF_STATE_DIR", state).env("NO_COLOR", "1").output().expect("started");
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    (output.status.code(), said)
}

#[tokio::test]
async fn run_and_status_say_what_a_restart_has_changed_and_that_up_mends_it() {
    require!(Capability::Docker);
    require!(Capability::Nft);
    require!(Capability::Programs);
    let name = format!("changed-{}", std::process::id());
    let state = tempfile::tempdir().expect("a folder");
    let folder = Utf8Path::from_path(state.path()).expect("UTF-8").join(&name);
    with_engine(&name, async |engine| {
        let world = World::start(engine, &name).await;
        // What `up` leaves of an environment that is complete.
        std::fs::create_dir(&folder).expect("created");
        let mut kind = Kind::begin(&folder, &name, &name).expect("written");
        kind.has_networks(&world.networks).expect("written");
        kind.has_containers(world.remembered.clone()).expect("written");
        std::fs::write(folder.join("topology.yaml"), TOPOLOGY).expect("written");
        let (code, said) = meshproof(state.path(), &["status", "--name", &name]);
        assert_eq!((code, said.as_str()), (Some(0), format!("{name}: running\n").as_str()));

        docker(&["stop", "--time=0", &world.nodes[0]]);
        let what =
            format!("containers of environment {name} are not as `up` left them: {} does not run", world.nodes[0]);
        let cure = format!("help: `meshproof up --name {name}`");
        let (code, said) = meshproof(state.path(), &["status", "--name", &name]);
        assert!(code == Some(0) && said.contains(&what) && said.contains(&cure), "{said}");
        let (code, said) = meshproof(state.path(), &["run", "--name", &name]);
        assert_eq!(code, Some(ENVIRONMENT_FAILED), "{said}");
        assert!(said.contains(&what) && said.contains(&cure), "{said}");
    })
    .await;
}
