//! Container logs in the CRI format: `2026-11-21T01:02:03.123456789Z stdout F line`.
//!
//! The writer takes a container's output streams, the reader serves `logs` with its options. Between them is a file,
//! and a counter by which a following reader learns of new lines.

mod format;
mod reader;
mod writer;

pub use reader::{LogOptions, read_logs};
pub use writer::{LogProgress, LogWriter};
