//! Waits for a single object by watching it: no polling, and the last state in the error.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher;
use serde_json::Value;
use tokio::time::Instant;

/// The object did not come to be so.
#[derive(Debug)]
pub(super) enum Error {
    /// Not in time.
    TimedOut {
        /// How long was waited.
        waited: Duration,
        /// What was seen last.
        last: String,
    },
    /// It cannot be watched.
    Watch(kube::Error),
}

/// Waits until `judge` accepts the object, which is `None` while it is not there, and says how long that took.
pub(super) async fn until(
    api: Api<DynamicObject>,
    name: &str,
    timeout: Duration,
    mut judge: impl FnMut(Option<&Value>) -> Result<(), String>,
) -> Result<Duration, Error> {
    let start = Instant::now();
    // A refusal is final, and the watcher below would try again for ever.
    api.get_opt(name).await.map_err(Error::Watch)?;
    let mut last = "nothing was seen of it".to_owned();
    let mut states = pin!(watcher::watch_object(api, name));
    let seen = tokio::time::timeout(timeout, async {
        while let Some(state) = states.next().await {
            let object = match state {
                Ok(object) => object.map(|object| serde_json::to_value(object).unwrap_or_default()),
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            match judge(object.as_ref()) {
                Ok(()) => return true,
                Err(observation) => last = observation,
            }
        }
        false
    })
    .await;
    match seen {
        Ok(true) => Ok(start.elapsed()),
        Ok(false) | Err(_) => Err(Error::TimedOut { waited: start.elapsed(), last }),
    }
}
