//! When bytes really went and came: a wrapper around a connection's stream that notes the time of the first write and
//! of the first read since it was last asked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Stands for "not yet".
const NEVER: u64 = u64::MAX;

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Times {
    origin: Instant,
    wrote: AtomicU64,
    read: AtomicU64,
}

/// What [`Times`] noted of one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noted {
    /// The first byte left.
    pub(super) sent: Option<Instant>,
    /// The first byte of the answer came.
    pub(super) first_byte: Option<Instant>,
}

impl Times {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), wrote: AtomicU64::new(NEVER), read: AtomicU64::new(NEVER) })
    }

    /// Forgets what was noted: a new exchange begins.
    pub(super) fn reset(&self) {
        self.wrote.store(NEVER, Ordering::Relaxed);
        self.read.store(NEVER, Ordering::Relaxed);
    }

    /// What was noted since the last reset. Bytes that came before anything was sent answer nothing.
    pub(super) fn noted(&self) -> Noted {
        let moment = |slot: &AtomicU64| match slot.load(Ordering::Relaxed) {
            NEVER => None,
            nanoseconds => self.origin.checked_add(Duration::from_nanos(nanoseconds)),
        };
        Noted { sent: moment(&self.wrote), first_byte: moment(&self.read) }
    }

    fn note(&self, slot: &AtomicU64) {
        if slot.load(Ordering::Relaxed) == NEVER {
            let elapsed = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(NEVER - 1);
            slot.store(elapsed, Ordering::Relaxed);
        }
    }

    fn note_read(&self) {
        if self.wrote.load(Ordering::Relaxed) != NEVER {
            self.note(&self.read);
        }
    }
}

/// A stream whose first write and first read are noted.
#[derive(Debug)]
pub(super) struct Timed<S> {
    stream: S,
    times: Arc<Times>,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, times: Arc<Times>) -> Self {
        Self { stream, times }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.times.note_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        if wrote.is_ready() {
            self.times.note(&self.times.wrote);
        }
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if wrote.is_ready() {
            self.times.note(&self.times.wrote);
        }
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_the_first_of_each_kind_is_noted_and_greetings_are_no_answers() {
        let (near, mut far) = tokio::io::duplex(64);
        let times = Times::new();
        let mut near = Timed::new(near, Arc::clone(&times));
        let mut byte = [0; 1];
        far.write_all(b"hello").await.unwrap();
        near.read_exact(&mut byte).await.unwrap();
        assert!(times.noted().first_byte.is_none());

        near.write_all(b"a").await.unwrap();
        let sent = times.noted().sent.unwrap();
        near.write_all(b"b").await.unwrap();
        near.read_exact(&mut byte).await.unwrap();
        let noted = times.noted();
        assert_eq!(noted.sent, Some(sent));
        assert!(noted.first_byte.unwrap() >= sent);
        times.reset();
        assert!(times.noted().sent.is_none() && times.noted().first_byte.is_none());
    }
}
