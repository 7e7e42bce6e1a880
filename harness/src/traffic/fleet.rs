//! One request of many senders at once: each is held until all are ready, all begin together, and all have to come to
//! their end. Judges nothing.

use futures::future::try_join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::controlled::{Controlled, Held};
use super::place::Place;
use super::request::Request;
use super::samples::Samples;
use crate::cluster::Error;

/// How many senders are made ready at once: each is a connection to an API server.
const AT_ONCE: usize = 32;

/// Lets every place send its part, all from the same moment on as far as connections to them go, and gives what each saw in
/// their order.
///
/// # Errors
/// Where one of them cannot be started, ends badly, or sends another number of requests than its part. It is named, and the
/// others are ended.
pub(crate) async fn send(senders: Vec<(Place, Request)>) -> Result<Vec<Samples>, Error> {
    let made_ready = senders.into_iter().map(|(place, request)| async move {
        let mut command = request.command();
        command.extend(["--controlled", "--held"].map(str::to_owned));
        Ok::<_, Error>((Held::start(place, &command).await?, request))
    });
    let held: Vec<(Held, Request)> = stream::iter(made_ready).buffered(AT_ONCE).try_collect().await?;
    // Whoever is told last has not to wait until the first has answered.
    let begun = try_join_all(
        held.into_iter().map(|(held, request)| async move { Ok::<_, Error>((held.begin().await?, request)) }),
    );
    try_join_all(begun.await?.into_iter().map(|(run, request)| report(run, request))).await
}

async fn report(mut run: Controlled, request: Request) -> Result<Samples, Error> {
    let samples: Samples = run.report(request.deadline()).await?;
    samples.check(request.requests).map_err(|message| run.failed(message))?;
    Ok(samples)
}
