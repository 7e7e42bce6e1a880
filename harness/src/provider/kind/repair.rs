//! Puts back what a restart of Docker, or of the machine, has changed: containers that run, nodes at their addresses, the router's rules
//! and the nodes' routes.
//!
//! A node is put to its address while it is stopped. In one that runs its programs would lose their connections, its resolver, which its
//! first process sets up, and the routes to pods of other nodes.

use super::addresses::MeshNetwork;
use super::engine::{Engine, Error as EngineError};
use super::remembered::{Remembered, Seen, Trouble, Wrong};
use super::router::{self, Router, container_name};

/// What is remembered of containers, each with what Docker says of it now.
///
/// # Errors
/// Where Docker cannot be asked.
pub async fn look(engine: &Engine, remembered: &[Remembered]) -> Result<Vec<(Remembered, Seen)>, EngineError> {
    let mut all = Vec::with_capacity(remembered.len());
    for one in remembered {
        let network = one.address.as_ref().map(|(network, _)| network.as_str());
        all.push((one.clone(), engine.seen(&one.container, network).await?));
    }
    Ok(all)
}

/// What is wrong with them.
///
/// # Errors
/// Where Docker cannot be asked.
pub async fn wrong(engine: &Engine, remembered: &[Remembered]) -> Result<Vec<Wrong>, EngineError> {
    Ok(look(engine, remembered).await?.iter().filter_map(|(one, seen)| one.wrong(seen)).collect())
}

/// Containers as they are now, to be remembered: nodes, each with Docker's network that it is on, and the router, where there is one.
///
/// # Errors
/// Where Docker cannot be asked.
pub async fn remember(
    engine: &Engine,
    nodes: &[(String, String)],
    router: Option<String>,
) -> Result<Vec<Remembered>, EngineError> {
    let mut all = Vec::with_capacity(nodes.len() + 1);
    for (container, network) in nodes {
        if let Seen::There { address: Some(address), started, .. } = engine.seen(container, Some(network)).await? {
            let address = Some((network.clone(), address));
            all.push(Remembered { container: container.clone(), address, started });
        }
    }
    if let Some(container) = router
        && let Seen::There { started, .. } = engine.seen(&container, None).await?
    {
        all.push(Remembered { container, address: None, started });
    }
    Ok(all)
}

/// Puts containers back to what is remembered of them. What is gone stays so. Returns what is to be remembered from now on, and the
/// router, where it was started anew. Run again after a failure it goes on.
///
/// # Errors
/// [`router::Error`], where Docker or a command in a container refuses.
pub async fn repair(
    engine: &Engine,
    environment: &str,
    networks: &[MeshNetwork],
    remembered: &[Remembered],
) -> Result<(Vec<Remembered>, Option<Router>), router::Error> {
    settle(engine, &look(engine, remembered).await?).await?;
    let mut now = Vec::with_capacity(remembered.len());
    let mut router = None;
    for (one, seen) in look(engine, remembered).await? {
        let trouble = one.wrong(&seen).map(|wrong| wrong.trouble);
        if trouble == Some(Trouble::Restarted) {
            match networks.iter().find(|network| one.is_on(network)) {
                Some(own) => Router::join(engine, &one.container, own, networks).await?,
                None if one.container == container_name(environment) => {
                    router = Some(Router::again(engine, environment, networks).await?);
                }
                None => {}
            }
        }
        now.push(one.renewed(&seen));
    }
    Ok((now, router))
}

/// Lets all containers run, each node at its address. Where one is not at its own, it may have that of another, so that all nodes whose
/// address is Docker's choice are stopped before the first gets its own. From then on it is no longer Docker's choice.
async fn settle(engine: &Engine, seen: &[(Remembered, Seen)]) -> Result<(), EngineError> {
    let is_displaced = |(one, seen): &(Remembered, Seen)| {
        one.address.is_some() && one.wrong(seen).is_some_and(|wrong| wrong.trouble.displaces())
    };
    let all = if seen.iter().any(is_displaced) { seen } else { &[] };
    let adrift: Vec<&Remembered> = all.iter().filter(|(one, seen)| one.is_adrift(seen)).map(|(one, _)| one).collect();
    let stopped = adrift.iter().map(|one| engine.stop(&one.container));
    futures::future::try_join_all(stopped).await?;
    for (network, one) in adrift.iter().filter_map(|one| Some((&one.address.as_ref()?.0, one))) {
        engine.disconnect(&one.container, network).await?;
    }
    for one in &adrift {
        if let Some((network, address)) = &one.address {
            engine.connect(&one.container, network, Some(*address)).await?;
        }
    }
    for (one, seen) in seen {
        if *seen != Seen::Absent {
            engine.start_again(&one.container).await?;
        }
    }
    Ok(())
}

impl Remembered {
    fn is_on(&self, network: &MeshNetwork) -> bool {
        self.address.as_ref().is_some_and(|(name, _)| *name == network.docker.name)
    }

    /// The same, once everything is set in the network namespace that it has now.
    fn renewed(self, seen: &Seen) -> Self {
        match seen {
            Seen::There { started, .. } => Self { started: started.clone(), ..self },
            Seen::Absent => self,
        }
    }
}
