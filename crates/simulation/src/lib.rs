//! How often do verdicts err? Runs every statistical check of `verdict` many times against truths that are known, and
//! holds the errors seen against those that the check promises.
//!
//! Random numbers stay in here: `verdict` is arithmetic. They come from a seed, so that a table can be made again.
//! Judges no mesh and sends nothing.

mod case;
mod draw;
mod early;
pub mod page;
mod peers;
mod quantile;
mod rate;
mod split;
pub mod table;

pub use case::Wrong;
pub use table::{Row, Table};

/// Runs every case whose check contains `only` `runs` times, and tells each row as soon as it is there.
#[must_use]
pub fn simulate(runs: u64, seed: u64, only: &str, told: impl Fn(&Row)) -> Table {
    let chosen = cases().into_iter().zip(seed..).filter(|(case, _)| case.check.contains(only));
    let rows = chosen.map(|(case, seed)| {
        let row = case.run(runs, draw::Random::from_seed(seed));
        told(&row);
        row
    });
    Table { runs, seed, rows: rows.collect() }
}

fn cases() -> Vec<case::Case> {
    [split::cases(), rate::cases(), quantile::cases(), early::cases(), peers::cases()].into_iter().flatten().collect()
}
