//! In which manner the selected scenarios run on one environment: how many at once, how often, and what ends that.

/// In which manner scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// So many at once, where they do not disturb each other.
    pub jobs: usize,
    /// How often.
    pub rounds: Rounds,
}

impl Default for Manner {
    fn default() -> Self {
        Self { jobs: 1, rounds: Rounds::default() }
    }
}

/// How often scenarios run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// So often at most; `None` is once, or without end where it goes on until something fails.
    pub repeat: Option<u32>,
    /// Whether the first scenario that does not pass ends it.
    pub until_fail: bool,
}

impl Rounds {
    /// Whether scenarios are told as repetitions.
    #[must_use]
    pub fn are_repeated(self) -> bool {
        self.repeat.is_some() || self.until_fail
    }

    /// The most rounds that there can be.
    #[must_use]
    pub fn most(self) -> u32 {
        self.repeat.unwrap_or(if self.until_fail { u32::MAX } else { 1 })
    }

    /// The number that scenarios of a round are told with.
    #[must_use]
    pub fn number(self, round: u32) -> Option<u32> {
        self.are_repeated().then_some(round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_repetitions_gets_numbers() {
        let of = |repeat, until_fail| Rounds { repeat, until_fail };
        let cases = [
            (of(None, false), 1, None),
            (of(Some(1), false), 1, Some(1)),
            (of(Some(5), false), 5, Some(1)),
            (of(Some(5), true), 5, Some(1)),
            (of(None, true), u32::MAX, Some(1)),
        ];
        for (rounds, most, number) in cases {
            assert_eq!((rounds.most(), rounds.number(1)), (most, number), "{rounds:?}");
        }
    }
}
