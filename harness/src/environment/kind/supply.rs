//! What clusters on Docker are made of: images of this machine's programs and whatever registries have, or a bundle and nothing else.

use camino::Utf8Path;

use super::Error;
use crate::bundle::manifest::Entry;
use crate::bundle::read::Problem;
use crate::bundle::{Bundle, Part, load};
use crate::environment::existing::{Given, MeshSource};
use crate::image::{self, Image, ours};
use crate::provider::kind::commands::Charts;
use crate::provider::kind::doctor::{Machine, checks};
use crate::provider::kind::engine::Engine;
use crate::provider::kind::istio::{Installer, Way};
use crate::provider::kind::lock::{self, Lock, Release};
use crate::provider::kind::plan::{BUNDLE, Plan};
use crate::provider::programs::{self, Programs};
use crate::topology::Topology;

/// Where it comes from.
pub(super) enum Supply {
    /// This machine, and registries.
    Machine,
    /// A bundle that was found to be whole.
    Bundle(Bundle),
}

impl std::fmt::Display for Supply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine => formatter.write_str("programs of this machine"),
            Self::Bundle(bundle) => {
                let parts: Vec<String> = bundle.manifest().parts.iter().map(ToString::to_string).collect();
                write!(formatter, "a bundle that is whole, with {}", parts.join(", "))
            }
        }
    }
}

impl Supply {
    /// Opens the bundle, where one is given.
    pub(super) async fn open(given: &Given) -> Result<Self, Error> {
        let Some(path) = given.bundle.clone() else { return Ok(Self::Machine) };
        let opened = tokio::task::spawn_blocking(move || Bundle::open(&path, lock::TEXT)).await;
        let bundle = opened.expect("invariant: reading a bundle does not panic")?;
        if bundle.manifest().parts.contains(&Part::Ours) {
            Ok(Self::Bundle(bundle))
        } else {
            Err(bundle.refuse(Problem::Lacks(Part::Ours)).into())
        }
    }

    /// The release of Istio: what the user says, else what the bundle has, else what is locked.
    pub(super) fn release(&self, given: &Given, lock: &Lock) -> Result<Release, Error> {
        let Self::Bundle(bundle) = self else { return Ok(lock.istio.release(given.istio_version.as_deref())?) };
        let Some(found) = &bundle.manifest().istio else {
            return Err(bundle.refuse(Problem::Lacks(Part::Istio)).into());
        };
        match &given.istio_version {
            Some(wanted) if wanted != found => {
                let (found, wanted) = (found.clone(), wanted.clone());
                Err(bundle.refuse(Problem::Istio { found, wanted }).into())
            }
            _ => Ok(lock.istio.release(Some(found))?),
        }
    }

    /// The image of a node: what the user says, else what the bundle has, else what is locked. That of a bundle goes to Docker.
    pub(super) async fn node_image(&self, given: &Given, lock: &Lock) -> Result<String, Error> {
        let of_bundle = match self {
            Self::Bundle(bundle) if given.node_image.is_none() => {
                let images = bundle.manifest().archives(Part::Node).flat_map(|archive| &archive.images);
                images.map(|image| (bundle, image.name.clone())).next()
            }
            _ => None,
        };
        let Some((bundle, name)) = of_bundle else {
            return Ok(given.node_image.as_deref().unwrap_or(lock.node_image()).to_owned());
        };
        // Without Docker it is the look at the machine that says so, and what to do.
        if let Ok(socket) = docker_support::socket()
            && let Ok(engine) = docker_support::Engine::connect(&socket).await
        {
            load::load(engine.docker(), bundle, Part::Node).await?;
        }
        Ok(name)
    }

    /// That nothing has to be pulled, where there is a bundle and the user names no other image.
    pub(super) fn check(&self, machine: &Machine, given: &Given, node_image: &str) -> Result<(), Error> {
        match (self, &machine.docker) {
            (Self::Bundle(bundle), Ok(docker)) if given.node_image.is_none() && !checks::has(docker, node_image) => {
                Err(bundle.refuse(Problem::Lacks(Part::Node)).into())
            }
            _ => Ok(()),
        }
    }

    /// How Istio is installed, from an environment's folder.
    pub(super) fn way(&self, directory: &Utf8Path, release: &Release, installer: Installer, lock: &Lock) -> Way {
        let way = Way::new(lock, release, installer);
        match self {
            Self::Machine => way,
            Self::Bundle(_) => Way { charts: Charts::Folder(directory.join(BUNDLE).join("charts")), ..way },
        }
    }

    /// The archives of images that nodes get besides ours, below an environment's folder.
    pub(super) fn archives(&self, directory: &Utf8Path, with_istio: bool) -> Vec<camino::Utf8PathBuf> {
        match self {
            Self::Bundle(bundle) if with_istio => {
                let archives = bundle.manifest().archives(Part::Istio);
                archives.map(|archive| directory.join(BUNDLE).join(&archive.path)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What the clusters will have of it.
    pub(super) fn stock(&self, topology: &Topology, mesh: MeshSource) -> Result<Stock, Error> {
        let Self::Bundle(bundle) = self else {
            let made = images(topology, mesh)?;
            let named = made.iter().flat_map(|image| image.names.iter().map(|name| (name.clone(), image.id())));
            return Ok(Stock { images: named.collect(), charts: Vec::new(), made });
        };
        let manifest = bundle.manifest();
        let of = |part| manifest.archives(part).flat_map(|archive| &archive.images);
        let istio = mesh == MeshSource::Istio;
        let images = of(Part::Ours).chain(of(Part::Istio).filter(|_| istio));
        let charts = manifest.charts().into_values().filter(|_| istio);
        Ok(Stock {
            images: images.map(|image| (image.name.clone(), image.id.clone())).collect(),
            charts: charts.map(|chart| chart.digest.clone()).collect(),
            made: Vec::new(),
        })
    }

    /// Puts files where the plan has them, and our images into Docker.
    pub(super) async fn provide(&self, stock: &Stock, plan: &Plan, engine: &Engine) -> Result<(), Error> {
        let docker = engine.docker().await?;
        let unwritable = |source| Error::Write { path: plan.archive.clone(), source };
        let Self::Bundle(bundle) = self else {
            let written = image::archive(&stock.made).and_then(|bytes| std::fs::write(&plan.archive, bytes));
            written.map_err(unwritable)?;
            image::replace(docker, &stock.made).await?;
            return Ok(());
        };
        load::load(docker, bundle, Part::Ours).await?;
        let folder = plan.archive.with_file_name(BUNDLE);
        let is_wanted = |entry: &Entry| match entry.part {
            Some(Part::Ours) => true,
            Some(Part::Istio) => plan.istio.is_some(),
            Some(Part::Node) | None => false,
        };
        bundle.unpack(&folder, is_wanted)?;
        for archive in bundle.manifest().archives(Part::Ours) {
            std::fs::rename(folder.join(&archive.path), &plan.archive).map_err(unwritable)?;
        }
        Ok(())
    }
}

/// What clusters have of a supply.
pub(super) struct Stock {
    /// Images on their nodes: name and id.
    pub(super) images: Vec<(String, String)>,
    /// The digests of the charts that are files.
    pub(super) charts: Vec<String>,
    /// The images that were made for them.
    made: Vec<Image>,
}

/// What the clusters need of ours: with Istio neither control plane nor proxy, and the management plane where there is one.
fn images(topology: &Topology, mesh: MeshSource) -> Result<Vec<Image>, Error> {
    let wanted = |name: &str| match name {
        "meshproof/pilot:dev" | ours::PROXY => mesh == MeshSource::Embedded,
        "meshproof/hub-manager:dev" | "meshproof/hub-agent:dev" => topology.management.is_some(),
        _ => true,
    };
    // With Istio nothing of ours has an Envoy in it.
    let envoy = if mesh == MeshSource::Embedded { programs::envoy()? } else { ours::ENVOY.into() };
    let programs = Programs::built_in(&programs::folder()?, envoy)?;
    Ok(ours::some(&programs, wanted)?.into_iter().map(|made| made.image).collect())
}
