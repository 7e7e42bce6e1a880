//! Traffic in the background: started, left to itself while the mesh is changed, stopped, and read.
//!
//! ```text
//! let request = Request { rate: Some(500.0), max_connections: Some(200), samples: 1_000_000, ..Request::to(url) };
//! let traffic = background::start(&source, &request).await?; // requests leave from here on
//! …                                                                   // the event
//! let samples = traffic.stop().await?;                                // every request, with its times
//! ```
//!
//! The run in the pod or on the machine ends with its handle.

use std::time::Duration;

use super::controlled::Controlled;
use super::probe::{Protocol, Request, Samples, Source};
use crate::cluster::Error;

/// How long a stopped run may take to write its report, after its last requests have timed out.
const REPORT: Duration = Duration::from_secs(30);

/// A run that goes on until it is stopped.
pub struct Background {
    run: Controlled,
    request: Request,
}

/// Starts a run at a source. When this returns, sending has begun.
///
/// # Errors
/// Where there is no such pod, or the program does not start.
pub async fn start(source: &Source, request: &Request) -> Result<Background, Error> {
    let mut command = request.command();
    command.push("--controlled".to_owned());
    let run = Controlled::start(source.place().await?, &command).await?;
    Ok(Background { run, request: request.clone() })
}

impl Background {
    /// The moment that the run's times count from, RFC 3339 in UTC, by the clock of the pod's machine.
    #[must_use]
    pub fn started_at(&self) -> &str {
        self.run.started_at()
    }

    /// What it speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.request.protocol
    }

    /// Whether it has ended by itself: by its number of requests or its duration, or because something went wrong.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.run.is_over()
    }

    /// Ends it, waits for requests in flight, and gives the whole report.
    ///
    /// # Errors
    /// Where the run ended badly before, or its report does not come or is not whole.
    pub async fn stop(mut self) -> Result<Samples, Error> {
        self.run.stop().await;
        let deadline = self.request.timeout + REPORT;
        self.report(deadline).await
    }

    /// Waits for its own end, by its number of requests or its duration.
    ///
    /// # Errors
    /// As [`Self::stop`]; also where it does not end in the time that it may take.
    pub async fn wait(self) -> Result<Samples, Error> {
        let deadline = self.request.deadline();
        self.report(deadline).await
    }

    async fn report(mut self, deadline: Duration) -> Result<Samples, Error> {
        let samples: Samples = self.run.report(deadline).await?;
        samples.check(None).map_err(|message| self.run.failed(message))?;
        Ok(samples)
    }
}
