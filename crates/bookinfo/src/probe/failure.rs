//! Why a request got no answer: one class for counting, one text for reading.

use std::error::Error;
use std::io;

use serde::Serialize;

use crate::upstream::chain;

/// The classes that failures are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// The name has no address.
    Dns,
    /// The address refused the connection.
    ConnectRefused,
    /// No connection within the time limit.
    ConnectTimeout,
    /// No route, or the network said that there is no such host.
    ConnectUnreachable,
    /// Any other failure to connect, such as no free local port.
    ConnectOther,
    /// The connection ended before the answer was complete.
    Reset,
    /// No complete answer within the time limit, nor the head of one over HTTP.
    Timeout,
    /// The head of an answer came within the time limit, and not all of its body.
    Stalled,
    /// The answer was not HTTP, or longer than the probe reads.
    Protocol,
    /// No TLS came about, or the server was not who it had to be.
    Tls,
}

impl ErrorClass {
    /// All classes, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::Dns,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectUnreachable,
        Self::ConnectOther,
        Self::Reset,
        Self::Timeout,
        Self::Stalled,
        Self::Protocol,
        Self::Tls,
    ];
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, text: impl Into<String>) -> Self {
        Self { class, text: text.into() }
    }

    /// A TCP connection that did not come about.
    pub(super) fn of_connect(error: &io::Error) -> Self {
        let class = match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorClass::ConnectRefused,
            io::ErrorKind::TimedOut => ErrorClass::ConnectTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorClass::ConnectUnreachable,
            // A router that refuses by administrative prohibition answers so.
            io::ErrorKind::PermissionDenied => ErrorClass::ConnectUnreachable,
            io::ErrorKind::ConnectionReset => ErrorClass::Reset,
            _ => ErrorClass::ConnectOther,
        };
        Self::new(class, error.to_string())
    }

    /// An exchange that broke off on an open connection.
    pub(super) fn of_exchange(error: &hyper::Error) -> Self {
        let broken = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        let class = if broken || is_broken_pipe(error) { ErrorClass::Reset } else { ErrorClass::Protocol };
        Self::new(class, chain(error))
    }
}

fn is_broken_pipe(error: &hyper::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            return matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_errors_are_told_apart() {
        for (kind, class) in [
            (io::ErrorKind::ConnectionRefused, ErrorClass::ConnectRefused),
            (io::ErrorKind::TimedOut, ErrorClass::ConnectTimeout),
            (io::ErrorKind::HostUnreachable, ErrorClass::ConnectUnreachable),
            (io::ErrorKind::AddrNotAvailable, ErrorClass::ConnectOther),
        ] {
            assert_eq!(Failure::of_connect(&io::Error::from(kind)).class, class);
        }
    }

    #[test]
    fn class_names_are_those_of_the_report() {
        let names = serde_json::to_value(ErrorClass::ALL).unwrap();
        assert_eq!(names[1], "connect-refused");
        assert_eq!(names[9], "tls");
    }
}
