//! A tap that captures, for as long as its value lives.

use substrate_config::control::{ControlRequest, ControlResponse, TapReport};

use super::Error;
use super::connection::{Connection, unexpected};

/// A running tap. Dropping it ends it and leaves the file; [`Tap::stop`] also says what it saw.
#[derive(Debug)]
#[must_use = "the tap ends as soon as this value is dropped"]
pub struct Tap {
    connection: Connection,
    lease: u64,
}

impl Tap {
    pub(super) fn new(connection: Connection, lease: u64) -> Self {
        Self { connection, lease }
    }

    /// Ends it. All that was on the link before this call is in the report.
    ///
    /// # Errors
    /// Where it cannot be asked, or where the capture file could not be written.
    pub async fn stop(mut self) -> Result<TapReport, Error> {
        let request = ControlRequest::TapStop { lease: self.lease };
        match self.connection.ask(&request).await? {
            ControlResponse::Tap { report } => Ok(report),
            other => Err(unexpected(&other)),
        }
    }
}
