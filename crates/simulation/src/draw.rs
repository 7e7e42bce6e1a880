//! Random counts from a seed.

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Binomial, Distribution, Gamma, LogNormal};

/// A source of random counts. Its generator gives the same numbers in every version and on every machine.
pub(crate) struct Random(Xoshiro256PlusPlus);

impl Random {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub(crate) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        Binomial::new(n, p.clamp(0.0, 1.0)).expect("invariant: a probability").sample(&mut self.0)
    }

    /// `n` samples that fall into categories by their shares, which sum to 1.
    pub(crate) fn multinomial(&mut self, n: u64, shares: &[f64]) -> Vec<u64> {
        let (mut left, mut rest) = (n, 1.0_f64);
        let mut counts = Vec::with_capacity(shares.len());
        for share in shares {
            // What is left belongs to the last category, whatever rounding has made of the rest.
            let last = counts.len() + 1 == shares.len();
            let count = if last { left } else { self.binomial(left, share / rest) };
            counts.push(count);
            left -= count;
            rest = (rest - share).max(f64::MIN_POSITIVE);
        }
        counts
    }

    /// Shares from the Dirichlet distribution with these parameters; a parameter of zero gives a share of zero.
    pub(crate) fn dirichlet(&mut self, parameters: &[f64]) -> Vec<f64> {
        let mut draw = |parameter: &f64| match Gamma::new(*parameter, 1.0) {
            Ok(gamma) => gamma.sample(&mut self.0),
            Err(_) => 0.0,
        };
        let weights: Vec<f64> = parameters.iter().map(&mut draw).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }

    /// Sorted samples of a log-normal distribution with this spread and median 1.
    pub(crate) fn log_normal(&mut self, n: u64, spread: f64) -> Vec<f64> {
        let distribution = LogNormal::new(0.0, spread).expect("invariant: a spread is finite and not negative");
        let mut samples: Vec<f64> = (0..n).map(|_| distribution.sample(&mut self.0)).collect();
        samples.sort_by(f64::total_cmp);
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_shares_are_met() {
        let mut random = Random::from_seed(1);
        let mut sums = [0_u64; 4];
        for _ in 0..1_000 {
            let counts = random.multinomial(1_000, &[0.6, 0.3, 0.1, 0.0]);
            assert_eq!(counts.iter().sum::<u64>(), 1_000);
            assert_eq!(counts[3], 0);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        // Six standard deviations of a share of a million.
        for (sum, share) in sums.into_iter().zip([0.6, 0.3, 0.1, 0.0]) {
            assert!((sum as f64 / 1e6 - share).abs() < 0.003, "{sum} of a million, not {share}");
        }
        let shares = random.dirichlet(&[5.0, 0.0, 5.0]);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares[1] == 0.0, "{shares:?}");
    }

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let numbers = || Random::from_seed(7).multinomial(1_000_000, &[0.5, 0.25, 0.25]);
        assert_eq!(numbers(), numbers());
        assert_eq!(numbers(), [499_892, 250_459, 249_649]);
    }
}
