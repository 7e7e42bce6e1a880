//! Hands images of ours to Docker in place of those that had their names. Docker keeps those without a name; here they are removed,
//! but for what a container has. Images without our label are not looked at.

use std::collections::{BTreeSet, HashMap};

use bollard::Docker;
use bollard::errors::Error as Docking;
use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptions};

use super::archive::Image;
use super::load;

/// Label of images of ours, with the name that they were made under.
pub const LABEL: &str = "meshproof.dev/image";

/// What became of the images that had the names before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// They are gone.
    pub removed: usize,
    /// A container has them, running or not.
    pub in_use: usize,
}

impl Replaced {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { removed: self.removed + other.removed, in_use: self.in_use + other.in_use }
    }
}

/// Loads images, and removes what they replaced.
///
/// # Errors
/// [`load::Error`].
pub async fn replace(docker: &Docker, images: &[Image]) -> Result<Replaced, load::Error> {
    load::load(docker, images).await?;
    let names = images.iter().flat_map(|image| image.names.iter().map(String::as_str)).collect();
    remove_replaced(docker, &names).await.map_err(load::Error::Replaced)
}

/// Removes images that were made under one of these names and have none any more.
///
/// # Errors
/// Where Docker refuses for another reason than that a container has one.
pub async fn remove_replaced(docker: &Docker, names: &BTreeSet<&str>) -> Result<Replaced, Docking> {
    let filters = [("dangling", "true"), ("label", LABEL)];
    let filters: HashMap<_, _> = filters.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let mut replaced = Replaced::default();
    for image in docker.list_images(Some(options)).await?.iter().filter(|image| was_named(image, names)) {
        match docker.remove_image(&image.id, None::<RemoveImageOptions>, None).await {
            Ok(_) => replaced.removed += 1,
            Err(Docking::DockerResponseServerError { status_code: 409, .. }) => replaced.in_use += 1,
            // Somebody else was faster.
            Err(Docking::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(replaced)
}

fn was_named(image: &ImageSummary, names: &BTreeSet<&str>) -> bool {
    image.labels.get(LABEL).is_some_and(|name| names.contains(name.as_str()))
}
