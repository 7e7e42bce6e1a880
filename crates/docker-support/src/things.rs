//! What runs have made on an engine: found by its labels, and removed.

use std::collections::HashMap;
use std::fmt;

use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
};

use crate::{Engine, Error, Lease, labels};

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A container, running or not.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// Something that a run made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is. Networks and volumes can be removed once no container has them.
    pub kind: Kind,
    /// By which the engine knows it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

impl Thing {
    /// What has a name that nothing else of its kind has. Whose it is, it does not say.
    #[must_use]
    pub fn named(kind: Kind, name: &str) -> Self {
        thing(kind, name.to_owned(), name.to_owned(), None)
    }

    /// Whether nobody is there any more to remove it. What carries no lease is removed by whoever made it, or by people.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let lease = self.labels.get(labels::LEASE).and_then(|lease| lease.parse::<Lease>().ok());
        lease.is_some_and(|lease| lease.has_ended())
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Container => "container",
            Kind::Network => "network",
            Kind::Volume => "volume",
        };
        write!(formatter, "{kind} {}", self.name)
    }
}

impl Engine {
    /// The subnets of all networks that there are, whoever made them, as the engine writes them.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn subnets(&self) -> Result<Vec<String>, Error> {
        let networks = self.docker().list_networks(None::<ListNetworksOptions>).await;
        let pools = networks.map_err(Error::refused("list networks"))?.into_iter().filter_map(|one| one.ipam?.config);
        Ok(pools.flatten().filter_map(|pool| pool.subnet).collect())
    }

    /// What a run has made and is still there; what any run has made where none is named.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub async fn things(&self, run_id: Option<&str>) -> Result<Vec<Thing>, Error> {
        let label = run_id.map_or_else(|| labels::RUN_ID.to_owned(), |run| format!("{}={run}", labels::RUN_ID));
        let filters = Some(HashMap::from([("label".to_owned(), vec![label])]));
        let containers = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
        let containers = self.docker().list_containers(Some(containers)).await;
        let networks = self.docker().list_networks(Some(ListNetworksOptions { filters: filters.clone() })).await;
        let volumes = self.docker().list_volumes(Some(ListVolumesOptions { filters })).await;
        let mut found = Vec::new();
        for one in containers.map_err(Error::refused("list containers"))? {
            let name = one.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            let name = name.trim_start_matches('/').to_owned();
            found.push(thing(Kind::Container, one.id.unwrap_or_default(), name, one.labels));
        }
        for one in networks.map_err(Error::refused("list networks"))? {
            found.push(thing(Kind::Network, one.id.unwrap_or_default(), one.name.unwrap_or_default(), one.labels));
        }
        for one in volumes.map_err(Error::refused("list volumes"))?.volumes.unwrap_or_default() {
            found.push(thing(Kind::Volume, one.name.clone(), one.name, Some(one.labels)));
        }
        Ok(found)
    }

    /// Removes things, containers first, whether they run or not. What is gone already counts as removed.
    ///
    /// # Errors
    /// The first refusal; the others were tried all the same.
    pub async fn remove(&self, things: &[Thing]) -> Result<(), Error> {
        let mut first = Ok(());
        for kind in [Kind::Container, Kind::Network, Kind::Volume] {
            let removals = things.iter().filter(|thing| thing.kind == kind).map(|thing| self.remove_one(thing));
            for outcome in futures::future::join_all(removals).await {
                first = first.and(outcome);
            }
        }
        first
    }

    async fn remove_one(&self, thing: &Thing) -> Result<(), Error> {
        let docker = self.docker();
        let removed = match thing.kind {
            Kind::Container => {
                let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
                docker.remove_container(&thing.id, Some(options)).await
            }
            Kind::Network => docker.remove_network(&thing.id).await,
            Kind::Volume => docker.remove_volume(&thing.id, Some(RemoveVolumeOptions { force: true })).await,
        };
        match removed.map_err(Error::refused(format!("remove {thing}"))) {
            // Somebody else removes it at this moment, or has done so.
            Err(error) if error.is_absent() => Ok(()),
            Err(error) if error.to_string().contains("is already in progress") => Ok(()),
            other => other,
        }
    }

    /// Removes what a run has made.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_run(&self, run_id: &str) -> Result<(), Error> {
        self.remove(&self.things(Some(run_id)).await?).await
    }

    /// Removes what has no owner any more: a run of before was killed, and so was the process that would have removed it.
    /// Returns what it was.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn sweep(&self) -> Result<Vec<Thing>, Error> {
        let mut things = self.things(None).await?;
        things.retain(Thing::is_abandoned);
        self.remove(&things).await?;
        Ok(things)
    }
}

fn thing(kind: Kind, id: String, name: String, labels: Option<HashMap<String, String>>) -> Thing {
    Thing { kind, id, name, labels: labels.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_living_lease_is_abandoned() {
        let own = Lease::own().unwrap();
        let labels = labels::of("run", "environment", &own, "machine");
        let mine = thing(Kind::Container, "1".to_owned(), "vm".to_owned(), Some(labels));
        assert!(!mine.is_abandoned());
        let of_another_boot = HashMap::from([(labels::LEASE.to_owned(), "1.2.3.another-boot".to_owned())]);
        assert!(Thing { labels: of_another_boot, ..mine.clone() }.is_abandoned());
        assert!(!Thing { labels: HashMap::new(), ..mine.clone() }.is_abandoned(), "nobody said whose it is");
        assert_eq!(mine.to_string(), "container vm");
    }
}
