//! A fault that is in force on a router, for as long as its value lives.

use std::time::{Duration, Instant};

use substrate_config::control::{FaultState, HealedBy, Healing};

use super::delay::Queue;
use super::rules::{self, Seen};
use super::{Error, Router};

/// How long packets may be held back after a fault has ended.
const DRAINED: Duration = Duration::from_secs(10);
/// How often one looks.
const LOOK: Duration = Duration::from_millis(100);

/// A fault. Dropping it removes it in the background; the kernel ends it at its limit whatever happens.
#[derive(Debug)]
#[must_use = "the fault is removed as soon as this value is dropped"]
pub struct RouterFault {
    router: Option<Router>,
    table: String,
    /// Those that hold packets back.
    queues: Vec<Queue>,
    begun: Instant,
    limit: Duration,
}

impl RouterFault {
    pub(super) fn new(router: Router, number: u64, limit: Duration) -> Self {
        Self { router: Some(router), table: rules::table(number), queues: Vec::new(), begun: Instant::now(), limit }
    }

    pub(super) fn has_queue(&mut self, queue: Queue) {
        self.queues.push(queue);
    }

    /// Lets go what is held back, and takes the queues away.
    async fn drain(&self) -> Result<(), Error> {
        for queue in &self.queues {
            let what = format!("{} to deliver what was delayed", queue.interface());
            let empty = eventually::poll(what, DRAINED, LOOK, async || {
                let listing = self.router().queues(queue.interface()).await.map_err(|error| error.to_string())?;
                match queue.held(&listing) {
                    0 => Ok(()),
                    held => Err(format!("{held} packets are held back")),
                }
            });
            empty.await.map_err(Error::Held)?;
            remove(self.router(), queue).await?;
        }
        Ok(())
    }

    fn router(&self) -> &Router {
        self.router.as_ref().expect("invariant: only healing and dropping take it, and both consume the fault")
    }

    async fn seen(&self) -> Result<Seen, Error> {
        Ok(rules::seen(&self.router().nft_json(&["list", "table", "ip", &self.table]).await?))
    }

    /// Whether it is still in force, and how many packets it has dropped so far.
    ///
    /// # Errors
    /// [`Error`], where the router does not answer.
    pub async fn state(&self) -> Result<FaultState, Error> {
        let seen = self.seen().await?;
        Ok(match seen.remaining {
            Some(remaining) => FaultState::Active {
                remaining_milliseconds: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
                touched: seen.dropped,
            },
            None => FaultState::Healed { healing: self.healing(seen) },
        })
    }

    /// Ends it, and says what shows that it has ended.
    ///
    /// # Errors
    /// [`Error`], where the router does not answer.
    pub async fn heal(mut self) -> Result<Healing, Error> {
        let seen = self.seen().await?;
        let healing = self.healing(seen);
        self.router().nft(&["delete", "table", "ip", &self.table]).await?;
        // What nft says it has done is not taken on trust.
        let left = self.router().nft(&["list", "tables", "ip"]).await?;
        if left.lines().any(|line| line.ends_with(&format!(" {}", self.table))) {
            return Err(Error::Answer { command: "nft list tables ip".to_owned(), said: left });
        }
        self.drain().await?;
        self.router = None;
        Ok(healing)
    }

    fn healing(&self, seen: Seen) -> Healing {
        let lasted = self.begun.elapsed().min(self.limit);
        let (by, evidence) = match seen.remaining {
            Some(_) => (HealedBy::Request, format!("nftables no longer has the table {}", self.table)),
            None => (HealedBy::Limit, format!("the kernel has forgotten the links of the table {}", self.table)),
        };
        Healing {
            by,
            lasted_milliseconds: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
            touched: seen.dropped,
            evidence,
        }
    }
}

impl Drop for RouterFault {
    fn drop(&mut self) {
        let Some(router) = self.router.take() else { return };
        let (table, queues) = (std::mem::take(&mut self.table), std::mem::take(&mut self.queues));
        // Outside of a runtime nobody can be asked; the limit ends the fault then.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _limit_ends_it = router.nft(&["delete", "table", "ip", &table]).await;
                for queue in queues {
                    let _holds_nothing_without_marks = remove(&router, &queue).await;
                }
            });
        }
    }
}

async fn remove(router: &Router, queue: &Queue) -> Result<(), Error> {
    for command in queue.remove() {
        router.run(&command).await?;
    }
    Ok(())
}
