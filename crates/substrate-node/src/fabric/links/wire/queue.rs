//! What waits for its time, in the order in which it came. Pure.

use std::collections::VecDeque;
use std::time::Instant;

/// See the module. Holds at most so many bytes.
pub(super) struct Queue<T> {
    waiting: VecDeque<(Instant, T, usize)>,
    room: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(room: usize) -> Self {
        Self { waiting: VecDeque::new(), room }
    }

    /// Adds something that is due at a time, and never before what was added earlier. `false` where there is no room.
    pub(super) fn put(&mut self, due: Instant, what: T, size: usize) -> bool {
        if size > self.room {
            return false;
        }
        self.room -= size;
        let due = self.waiting.back().map_or(due, |(last, _, _)| due.max(*last));
        self.waiting.push_back((due, what, size));
        true
    }

    /// When the next is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _, _)| *due)
    }

    /// The next, if it is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<T> {
        self.next_due().filter(|due| *due <= now).and_then(|_| self.take_any())
    }

    /// The next, due or not.
    pub(super) fn take_any(&mut self) -> Option<T> {
        let (_, what, size) = self.waiting.pop_front()?;
        self.room += size;
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_overtakes_and_nothing_is_early() {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let mut queue = Queue::new(100);
        assert!(queue.put(at(10), 'a', 1) && queue.put(at(5), 'b', 1) && queue.put(at(20), 'c', 1));
        assert_eq!((queue.take_due(at(9)), queue.next_due()), (None, Some(at(10))));
        assert_eq!(
            (queue.take_due(at(10)), queue.take_due(at(10)), queue.take_due(at(19))),
            (Some('a'), Some('b'), None)
        );
        assert_eq!((queue.take_due(at(20)), queue.next_due()), (Some('c'), None));
    }

    #[test]
    fn room_is_given_back() {
        let now = Instant::now();
        let mut queue = Queue::new(10);
        assert!(queue.put(now, 'a', 6) && !queue.put(now, 'b', 6));
        assert_eq!(queue.take_any(), Some('a'));
        assert!(queue.put(now, 'b', 6));
    }
}
