//! What a sequence of timed events adds up to: the longest gap between good ones, and when things began and ended.
//!
//! Events have the time at which they were *to* happen, so that a stall cannot hide itself by delaying its witnesses.

use serde::{Deserialize, Serialize};

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// As it should be.
    Good,
    /// As it should be, but late.
    Slow,
    /// Done by somebody who should not have done it.
    Wrong,
    /// Not done.
    Lost,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was to happen, in milliseconds.
    pub at: f64,
    /// What became of it.
    pub fate: Fate,
    /// Who did it, as an index of the caller's; `None` where nobody did.
    pub by: Option<usize>,
}

/// The longest stretch without a good event: from the first that was not good to the next good one. `None` where all
/// were good. A stretch that lasts to the end is taken to `end`.
#[must_use]
pub fn longest_gap(points: &[Point], end: f64) -> Option<(f64, f64)> {
    let mut longest: Option<(f64, f64)> = None;
    let mut begin: Option<f64> = None;
    let mut close = |from: f64, to: f64| {
        if longest.is_none_or(|(known_from, known_to)| to - from > known_to - known_from) {
            longest = Some((from, to));
        }
    };
    for point in points {
        match (point.fate, begin) {
            (Fate::Good, Some(from)) => {
                close(from, point.at);
                begin = None;
            }
            (Fate::Good, None) => {}
            (_, None) => begin = Some(point.at),
            (_, Some(_)) => {}
        }
    }
    if let Some(from) = begin {
        close(from, end);
    }
    longest
}

/// When, from `since` on, somebody in `who` first did something well, be it late.
#[must_use]
pub fn first_by(points: &[Point], since: f64, who: impl Fn(usize) -> bool) -> Option<f64> {
    let done = points.iter().filter(|point| point.at >= since && matches!(point.fate, Fate::Good | Fate::Slow));
    done.filter(|point| point.by.is_some_and(&who)).map(|point| point.at).next()
}

/// When, between `since` and `until`, all was good again and stayed so: the time of the first event after the last that
/// was not good. `since` where nothing was not good; `None` where the last event was not.
#[must_use]
pub fn good_again(points: &[Point], since: f64, until: f64) -> Option<f64> {
    let within: Vec<&Point> = points.iter().filter(|point| (since..until).contains(&point.at)).collect();
    match within.iter().rposition(|point| point.fate != Fate::Good) {
        None => Some(since),
        Some(last) => within.get(last + 1).map(|point| point.at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One event every 10 ms; a letter for its fate: `.` good by 0, `+` good by 1, `s` slow, `w` wrong, `x` lost.
    fn points(text: &str) -> Vec<Point> {
        let point = |(index, letter): (usize, char)| {
            let (fate, by) = match letter {
                '.' => (Fate::Good, Some(0)),
                '+' => (Fate::Good, Some(1)),
                's' => (Fate::Slow, Some(1)),
                'w' => (Fate::Wrong, Some(2)),
                _ => (Fate::Lost, None),
            };
            Point { at: index as f64 * 10.0, fate, by }
        };
        text.chars().enumerate().map(point).collect()
    }

    #[test]
    fn the_longest_gap_lies_between_good_events() {
        assert_eq!(longest_gap(&points("...."), 40.0), None);
        assert_eq!(longest_gap(&points("..x..xsw.+"), 100.0), Some((50.0, 80.0)));
        assert_eq!(longest_gap(&points("..x.xx"), 60.0), Some((40.0, 60.0)), "it lasts to the end");
        assert_eq!(longest_gap(&points("xx"), 20.0), Some((0.0, 20.0)));
        assert_eq!(longest_gap(&[], 0.0), None);
    }

    #[test]
    fn moments_are_found() {
        let points = points("...xxs++..");
        assert_eq!(first_by(&points, 30.0, |who| who == 1), Some(50.0));
        assert_eq!(first_by(&points, 60.0, |who| who == 0), Some(80.0));
        assert_eq!(first_by(&points, 0.0, |who| who == 7), None);
        assert_eq!(good_again(&points, 30.0, 1_000.0), Some(60.0));
        assert_eq!(good_again(&points, 60.0, 1_000.0), Some(60.0));
        assert_eq!(good_again(&points, 0.0, 50.0), None, "the last of these is not good");
    }
}
