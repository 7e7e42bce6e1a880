//! Hands the images of a bundle to Docker, and sees that it then has those.

use std::collections::BTreeSet;

use bollard::Docker;
use bollard::query_parameters::ImportImageOptionsBuilder;
use tokio_util::io::ReaderStream;

use super::manifest::{Named, Part};
use super::read::{self, Bundle};
use crate::image::load;
use crate::image::replace::{Replaced, remove_replaced};
use crate::provider::kind::doctor::observe::containerd_store;

/// Images of a bundle could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] read::Error),
    /// Docker.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// Docker has another image under a name.
    #[error("Docker has {found} as {name} after the bundle was loaded, which has {expected}")]
    Another {
        /// The name.
        name: String,
        /// The id in the bundle.
        expected: String,
        /// The id in Docker's store.
        found: String,
    },
}

/// Loads the images of a part. Images of ours that lose their name to them are removed where no container has them.
///
/// # Errors
/// [`Error`].
pub async fn load(docker: &Docker, bundle: &Bundle, part: Part) -> Result<Replaced, Error> {
    let mut all = Replaced::default();
    for (file, images) in bundle.archives(part)? {
        let file = tokio::fs::File::from_std(file);
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        load::taken(docker.import_image_stream(options, ReaderStream::with_capacity(file, 1 << 16), None)).await?;
        let has_other_ids = docker.info().await.is_ok_and(|info| containerd_store(&info));
        for image in &images {
            check(docker, image, has_other_ids).await?;
        }
        let names: BTreeSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
        all = all.and(remove_replaced(docker, &names).await.map_err(load::Error::Replaced)?);
    }
    Ok(all)
}

/// An engine with containerd's store calls an image by the digest of its manifest, which an archive of an older engine does not tell.
async fn check(docker: &Docker, image: &Named, has_other_ids: bool) -> Result<(), Error> {
    let found = docker.inspect_image(&image.name).await.map_err(load::Error::Docker)?;
    let found = found.id.unwrap_or_default();
    let is_it = found == image.id || image.manifest.as_ref() == Some(&found);
    if is_it || (has_other_ids && image.manifest.is_none()) {
        return Ok(());
    }
    Err(Error::Another { name: image.name.clone(), expected: image.id.clone(), found })
}
