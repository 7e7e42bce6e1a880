//! Gathers what goes into a bundle from this machine. Nothing is pulled: what is missing is named, with the command that gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Seek as _, Write as _};

use bollard::Docker;
use bollard::errors::Error as Docking;
use camino::{Utf8Path, Utf8PathBuf};
use docker_support::Engine;
use futures::TryStreamExt as _;

use super::manifest::{Named, Part};
use super::write::{Content, Source};
use crate::cluster::chain;
use crate::image::layer::digest;
use crate::image::{Image, Reference, archive, ours};
use crate::provider::kind::commands::chart_file;
use crate::provider::kind::istio::{CHARTS, IMAGES};
use crate::provider::kind::lock::{self, Lock, Release};
use crate::provider::programs::Programs;

/// What a bundle is made of.
#[derive(Debug)]
pub struct Wanted<'bundle> {
    /// The parts.
    pub parts: BTreeSet<Part>,
    /// Our programs, where their images are a part.
    pub programs: Option<Programs>,
    /// The image of a node.
    pub node_image: &'bundle str,
    /// The release of Istio.
    pub release: &'bundle Release,
    /// The folder with its charts.
    pub charts: &'bundle Utf8Path,
    /// What is locked.
    pub lock: &'bundle Lock,
}

/// Something that is not on this machine, or another one than is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The part that it belongs to.
    pub part: Part,
    /// What is missing, and where it was looked for.
    pub what: String,
    /// How to get it.
    pub cure: String,
}

/// A bundle could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Things are not here.
    #[error("not on this machine: {}", .0.iter().map(|missing| missing.what.as_str()).collect::<Vec<_>>().join("; "))]
    Missing(Vec<Missing>),
    /// Our images cannot be made.
    #[error(transparent)]
    Ours(#[from] ours::Error),
    /// Docker does not hand an image over.
    #[error("Docker does not hand {0} over")]
    Export(String, #[source] Docking),
    /// An image or chart cannot be kept until it is packed.
    #[error("cannot keep {0} until it is packed")]
    Keep(String, #[source] std::io::Error),
    /// What Docker handed over is something else.
    #[error("what Docker handed over does not have {0}")]
    Another(String),
}

/// Gathers everything.
///
/// # Errors
/// [`Error`]; of things that are missing, all of them at once.
pub async fn collect(wanted: &Wanted<'_>) -> Result<Vec<Content>, Error> {
    let images = images(wanted);
    let charts = charts(wanted);
    let docker = if images.is_empty() { None } else { Some(connect().await) };
    let mut missing = Vec::new();
    for (part, image) in &images {
        let found = match docker.as_ref() {
            Some(Ok(docker)) => find(docker, image).await,
            Some(Err(error)) => Err((format!("{image}: {}", chain(error)), error.cure())),
            None => Ok(()),
        };
        missing.extend(found.err().map(|(what, cure)| Missing { part: *part, what, cure }));
    }
    missing.extend(charts.iter().filter_map(|chart| find_chart(chart, wanted)));
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    let mut contents = vec![Content::lock(lock::TEXT)];
    if let Some(programs) = &wanted.programs {
        contents.push(own(programs)?);
    }
    if let Some(Ok(docker)) = &docker {
        for part in [Part::Node, Part::Istio] {
            let names: Vec<String> =
                images.iter().filter(|(of, _)| *of == part).map(|(_, image)| image.tagged()).collect();
            if !names.is_empty() {
                contents.push(export(docker, part, &names).await?);
            }
        }
    }
    for path in &charts {
        let file = File::open(path).map_err(|source| Error::Keep(path.to_string(), source))?;
        let name = path.file_name().unwrap_or_default();
        contents.push(Content {
            path: format!("charts/{name}"),
            part: Some(Part::Istio),
            images: Vec::new(),
            source: Source::File(file),
        });
    }
    Ok(contents)
}

async fn connect() -> Result<Docker, docker_support::Error> {
    Ok(Engine::connect(&docker_support::socket()?).await?.docker().clone())
}

/// The images that are not ours, by the digest that is locked where one is.
fn images(wanted: &Wanted<'_>) -> Vec<(Part, Reference)> {
    let node = wanted.parts.contains(&Part::Node).then(|| (Part::Node, Reference::parse(wanted.node_image)));
    let istio = IMAGES.iter().filter(|_| wanted.parts.contains(&Part::Istio)).map(|name| {
        let tagged = format!("{name}:{}", wanted.release.version);
        let digest = wanted.lock.istio.digests.get(&tagged).map(|digest| format!("@{digest}")).unwrap_or_default();
        (Part::Istio, Reference::parse(&format!("{}/{tagged}{digest}", wanted.lock.istio.hub)))
    });
    node.into_iter().chain(istio).collect()
}

/// The files of Istio's charts.
fn charts(wanted: &Wanted<'_>) -> Vec<Utf8PathBuf> {
    let chosen = CHARTS.iter().filter(|_| wanted.parts.contains(&Part::Istio));
    chosen.map(|chart| wanted.charts.join(chart_file(chart, &wanted.release.version))).collect()
}

/// Whether Docker has an image under its tag, and with its digest where one is locked; else what is missing, and the cure.
async fn find(docker: &Docker, image: &Reference) -> Result<(), (String, String)> {
    let id = async |name: &str| match docker.inspect_image(name).await {
        Ok(found) => Ok(found.id),
        Err(Docking::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err((format!("{name}: {}", chain(&error)), "`docker images` says more".to_owned())),
    };
    let pulled = id(&image.pulled()).await?;
    let tagged = id(&image.tagged()).await?;
    match (pulled, tagged) {
        (Some(pulled), Some(tagged)) if pulled == tagged => Ok(()),
        (Some(_), _) => {
            let cure = format!("docker tag {} {}", image.pulled(), image.tagged());
            Err((format!("Docker has {image} under its digest, and not under its tag"), cure))
        }
        (None, Some(_)) => Err((
            format!("Docker has {}, and does not know that it has the digest of {image}", image.tagged()),
            image.pull(),
        )),
        (None, None) => Err((format!("Docker does not have {image}"), image.pull())),
    }
}

/// What is wrong with the file of a chart.
fn find_chart(path: &Utf8Path, wanted: &Wanted<'_>) -> Option<Missing> {
    let name = path.file_name().unwrap_or_default();
    let (version, repository, folder) = (&wanted.release.version, &wanted.lock.istio.charts, wanted.charts);
    let chart = name.strip_suffix(&format!("-{version}.tgz")).unwrap_or(name);
    let cure = format!("helm pull {chart} --repo {repository} --version {version} --destination {folder}");
    let missing = |what| Some(Missing { part: Part::Istio, what, cure });
    match std::fs::read(path) {
        Err(error) => missing(format!("the chart {path}: {error}")),
        Ok(bytes) => match wanted.lock.istio.digests.get(name) {
            Some(locked) if *locked != digest(&bytes) => {
                missing(format!("the chart {path} has the digest {}, and {locked} is locked", digest(&bytes)))
            }
            _ => None,
        },
    }
}

/// Our images, made of programs.
fn own(programs: &Programs) -> Result<Content, Error> {
    let images: Vec<Image> = ours::some(programs, |_| true)?.into_iter().map(|made| made.image).collect();
    pack("images/ours.tar", Part::Ours, &images)
}

/// An archive of images that were made here, as a file of a bundle.
///
/// # Errors
/// [`Error::Keep`].
pub fn pack(path: &str, part: Part, images: &[Image]) -> Result<Content, Error> {
    let bytes = archive(images).map_err(|source| Error::Keep(path.to_owned(), source))?;
    let named = images.iter().flat_map(|image| {
        image.names.iter().map(|name| Named {
            name: name.clone(),
            id: image.id(),
            manifest: Some(image.manifest_digest()),
        })
    });
    Ok(Content { path: path.to_owned(), part: Some(part), images: named.collect(), source: Source::Bytes(bytes) })
}

/// Images that Docker has, as it saves them, in a file without a name: it is gone with this process, however that ends.
async fn export(docker: &Docker, part: Part, names: &[String]) -> Result<Content, Error> {
    let all = names.join(" and ");
    let keep = |source| Error::Keep(all.clone(), source);
    let mut file = tempfile::tempfile().map_err(keep)?;
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut parts = std::pin::pin!(docker.export_images(&words));
    while let Some(part) = parts.try_next().await.map_err(|source| Error::Export(all.clone(), source))? {
        file.write_all(&part).map_err(keep)?;
    }
    file.rewind().map_err(keep)?;
    let saved = archive::named(&file).map_err(keep)?;
    // Docker leaves its own registry out of names.
    let known: BTreeMap<String, String> = saved.into_iter().map(|(name, id)| (archive::full(&name), id)).collect();
    let images = names.iter().map(|name| {
        let id = known.get(&archive::full(name)).ok_or_else(|| Error::Another(name.clone()))?;
        Ok(Named { name: name.clone(), id: id.clone(), manifest: None })
    });
    let images = images.collect::<Result<_, Error>>()?;
    Ok(Content { path: format!("images/{part}.tar"), part: Some(part), images, source: Source::File(file) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'test>(
        parts: &[Part],
        folder: &'test Utf8Path,
        release: &'test Release,
        lock: &'test Lock,
    ) -> Wanted<'test> {
        let parts = parts.iter().copied().collect();
        Wanted { parts, programs: None, node_image: "kindest/node:v1.35.8@sha256:07", release, charts: folder, lock }
    }

    #[test]
    fn only_what_is_wanted_is_looked_for_and_by_the_digest_that_is_locked() {
        let mut lock = Lock::read();
        lock.istio.digests.insert("pilot:1.30.3".to_owned(), "sha256:08".to_owned());
        let release = lock.istio.release(Some("1.30.3")).expect("supported");
        let named = |parts: &[Part]| {
            let wanted = wanted(parts, "charts".into(), &release, &lock);
            let images = images(&wanted).into_iter().map(|(_, image)| image.to_string());
            images.chain(charts(&wanted).into_iter().map(Utf8PathBuf::into_string)).collect::<Vec<_>>()
        };
        assert_eq!(named(&[Part::Ours]), Vec::<String>::new());
        assert_eq!(named(&[Part::Node]), ["kindest/node:v1.35.8@sha256:07"]);
        let istio = ["docker.io/istio/pilot:1.30.3@sha256:08", "docker.io/istio/proxyv2:1.30.3"];
        let charts = ["charts/base-1.30.3.tgz", "charts/istiod-1.30.3.tgz", "charts/gateway-1.30.3.tgz"];
        assert_eq!(named(&[Part::Istio]), [istio.as_slice(), &charts].concat());
    }

    #[test]
    fn a_chart_that_is_not_there_or_is_another_one_is_named_with_the_command_that_gets_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let mut lock = Lock::read();
        lock.istio.digests.insert("base-1.30.3.tgz".to_owned(), digest(b"the right one"));
        let release = lock.istio.release(Some("1.30.3")).expect("supported");
        let wanted = wanted(&[Part::Istio], folder, &release, &lock);
        let path = folder.join("base-1.30.3.tgz");
        let missing = find_chart(&path, &wanted).expect("not there");
        assert!(missing.what.starts_with(&format!("the chart {path}: No such file")), "{missing:?}");
        let pull = format!("helm pull base --repo {} --version 1.30.3 --destination {folder}", lock.istio.charts);
        assert_eq!(missing.cure, pull);
        std::fs::write(&path, "another one").expect("written");
        let missing = find_chart(&path, &wanted).expect("another one");
        assert!(missing.what.contains(&digest(b"another one")) && missing.what.ends_with("is locked"), "{missing:?}");
        std::fs::write(&path, "the right one").expect("written");
        assert_eq!(find_chart(&path, &wanted), None);
    }
}
