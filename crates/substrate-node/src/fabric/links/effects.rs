//! What several faults together do to the packets of one way between two networks. Pure.

use std::time::Duration;

/// What a fault does to packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Drops them.
    Cut,
    /// Delivers them later, in their order.
    Delay {
        /// By so much.
        delay: Duration,
        /// Give or take so much, evenly spread; at most as much as the delay counts.
        jitter: Duration,
    },
    /// Loses each with a chance above 0 and at most 1, independently of the others.
    Loss {
        /// The chance.
        chance: f64,
    },
}

impl Effect {
    /// Whether the kernel's rules cannot do it alone, so that the packets have to take the way through a wire.
    pub(super) fn needs_wire(&self) -> bool {
        !matches!(self, Self::Cut)
    }

    /// Why it makes no sense; `None` where it does.
    pub(super) fn problem(&self) -> Option<String> {
        match *self {
            Self::Delay { delay, jitter } if delay.is_zero() && jitter.is_zero() => {
                Some("a delay of 0 ms changes nothing".to_owned())
            }
            Self::Loss { chance } if !(chance > 0.0 && chance <= 1.0) => {
                Some(format!("a loss of {} % is none: above 0 and at most 100 is", chance * 100.0))
            }
            _ => None,
        }
    }
}

/// The sum of all effects on one way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    cut: bool,
    delay: Duration,
    jitter: Duration,
    /// Chance of a packet to be lost.
    loss: f64,
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    /// The kernel's rules have counted it already.
    Cut,
    Lost,
    /// Delivered after so long.
    Delivered(Duration),
}

impl Sum {
    pub(super) fn of<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> Self {
        effects.into_iter().fold(Self::default(), |sum, effect| match *effect {
            Effect::Cut => Self { cut: true, ..sum },
            Effect::Delay { delay, jitter } => Self { delay: sum.delay + delay, jitter: sum.jitter + jitter, ..sum },
            Effect::Loss { chance } => Self { loss: 1.0 - (1.0 - sum.loss) * (1.0 - chance), ..sum },
        })
    }

    /// Decides with two numbers that are evenly spread between 0 and 1.
    pub(super) fn fate(&self, luck: f64, spread: f64) -> Fate {
        if self.cut {
            return Fate::Cut;
        }
        if luck < self.loss {
            return Fate::Lost;
        }
        // From `jitter` less to `jitter` more, and never before it was sent.
        let late = self.delay + self.jitter.mul_f64(2.0 * spread);
        Fate::Delivered(late.saturating_sub(self.jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn delays_add_up_and_losses_combine() {
        let delay = |by: u32| Effect::Delay { delay: MS * by, jitter: MS };
        let sum = Sum::of(&[delay(10), delay(20), Effect::Loss { chance: 0.5 }, Effect::Loss { chance: 0.5 }]);
        assert_eq!(sum.fate(0.74, 0.5), Fate::Lost);
        assert_eq!(sum.fate(0.76, 0.5), Fate::Delivered(MS * 30));
        assert_eq!(sum.fate(0.76, 0.0), Fate::Delivered(MS * 28));
        assert_eq!(sum.fate(0.76, 1.0), Fate::Delivered(MS * 32));
    }

    #[test]
    fn a_cut_takes_everything() {
        assert_eq!(Sum::of(&[Effect::Cut, Effect::Loss { chance: 0.1 }]).fate(0.9, 0.5), Fate::Cut);
    }

    #[test]
    fn no_packet_arrives_before_it_is_sent() {
        let sum = Sum::of(&[Effect::Delay { delay: MS, jitter: MS * 5 }]);
        assert_eq!(sum.fate(0.0, 0.0), Fate::Delivered(Duration::ZERO));
    }

    #[test]
    fn nonsense_is_told() {
        for chance in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(Effect::Loss { chance }.problem().is_some(), "{chance}");
        }
        assert!(Effect::Delay { delay: Duration::ZERO, jitter: Duration::ZERO }.problem().is_some());
        assert_eq!(Effect::Loss { chance: 1.0 }.problem(), None);
    }
}
