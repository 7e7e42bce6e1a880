//! The checks keep their promises, and the page says what the program finds.

use simulation::{Row, Table, page, simulate};

/// Enough to see a check that errs five times as often as it promises.
const RUNS: u64 = 2_000;

const PAGE: &str = include_str!("../../../../docs/statistics.md");
const FIGURES: &str = include_str!("../../../../docs/statistics.json");

#[test]
fn every_check_keeps_its_promise_in_small() {
    let table = simulate(RUNS, 1, "", |_| ());
    let broken: Vec<String> = table.broken().map(page::line).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let names = |table: &Table| -> Vec<(String, String)> {
        table.rows.iter().map(|Row { check, truth, .. }| (check.clone(), truth.clone())).collect()
    };
    assert_eq!(names(&table), names(&published()), "{AGAIN}");
}

#[test]
fn the_page_shows_the_published_figures() {
    let table = published();
    assert!(table.runs >= 100_000 && table.broken().count() == 0, "{AGAIN}");
    assert_eq!(page::page(&table), PAGE, "{AGAIN}");
}

const AGAIN: &str = "run `cargo xtask bench verdicts --runs 100000 --out docs`";

fn published() -> Table {
    serde_json::from_str(FIGURES).expect("docs/statistics.json is a table")
}
