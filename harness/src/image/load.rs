//! Hands images to Docker, without a registry.

use bollard::Docker;
use bollard::models::BuildInfo;
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures::{Stream, StreamExt as _};

use super::archive::{Image, archive};

/// Images could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They could not be packed.
    #[error("cannot pack images")]
    Pack(#[source] std::io::Error),
    /// Docker did not take them.
    #[error("Docker does not take the images")]
    Docker(#[source] bollard::errors::Error),
    /// Docker took them and does not let go of those that they replaced.
    #[error("Docker does not remove the images that others replaced")]
    Replaced(#[source] bollard::errors::Error),
    /// Docker took them and says what was wrong.
    #[error("Docker does not take the images: {0}")]
    Refused(String),
}

/// Loads images into Docker's store.
///
/// # Errors
/// [`Error`].
pub async fn load(docker: &Docker, images: &[Image]) -> Result<(), Error> {
    let bytes = archive(images).map_err(Error::Pack)?;
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    taken(docker.import_image(options, bollard::body_full(bytes.into()), None)).await
}

/// Waits until Docker has taken what is handed over.
pub(crate) async fn taken(answers: impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>) -> Result<(), Error> {
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(Error::Docker)?;
        // What goes wrong half way is told inside the stream.
        if let Some(detail) = answer.error_detail {
            return Err(Error::Refused(detail.message.unwrap_or_default()));
        }
    }
    Ok(())
}
