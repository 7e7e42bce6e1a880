//! The table as Markdown, and the page around it. Pure.

use std::fmt::Write as _;

use verdict::text::thousands;

use crate::table::{Estimate, Method, Row, Table};

/// What the page says before its table.
const INTRODUCTION: &str = include_str!("introduction.md");

/// The whole page.
#[must_use]
pub fn page(table: &Table) -> String {
    let Table { runs, seed, .. } = table;
    let figures = format!("{} runs of each row, seed {seed}.", thousands(*runs));
    format!("{INTRODUCTION}\n{figures}\n\n{}", markdown(table))
}

/// The table alone.
#[must_use]
pub fn markdown(table: &Table) -> String {
    let mut text =
        "| check | samples | truth | wrong verdict | promised | seen | 99 % interval | otherwise found | |\n\
                    |---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for row in &table.rows {
        let _infallible = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} to {} | {} | {} |",
            row.check,
            thousands(row.mean_samples.round() as u64),
            row.truth,
            row.wrong_verdict.word(),
            row.promised.map_or_else(|| "nothing".to_owned(), probability),
            probability(row.observed()),
            probability(row.interval.low),
            probability(row.interval.high),
            row.known.map_or_else(String::new, known),
            remark(row),
        );
    }
    text
}

/// One row as a line for people who wait.
#[must_use]
pub fn line(row: &Row) -> String {
    let promised =
        row.promised.map_or_else(|| "nothing promised".to_owned(), |p| format!("promised {}", probability(p)));
    format!(
        "{}; {}; {}: {promised}, seen {} {}",
        row.check,
        row.truth,
        row.wrong_verdict.word(),
        probability(row.observed()),
        remark(row)
    )
}

fn remark(row: &Row) -> &'static str {
    match row.promised {
        _ if row.is_broken() => "**broken**",
        None => "",
        Some(_) if row.is_bound_only() => "bound only",
        Some(_) => "kept",
    }
}

fn known(known: Estimate) -> String {
    match known.method {
        Method::Sum => format!("{} (sum)", probability(known.probability)),
        Method::ImportanceSampling => {
            format!("{} ± {} (weighted)", probability(known.probability), probability(known.error))
        }
    }
}

/// Two digits that matter: percent where that reads well.
fn probability(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 1e-4 => format!("{value:.1e}"),
        value if value < 0.1 => format!("{:.2} %", value * 100.0),
        value => format!("{:.1} %", value * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Wrong;
    use crate::table::Interval;

    #[test]
    fn a_row_says_what_it_shows() {
        let row = Row {
            check: "split".to_owned(),
            truth: "as the weights".to_owned(),
            wrong_verdict: Wrong::Fail,
            promised: Some(1e-6),
            runs: 100_000,
            wrong: 0,
            interval: Interval { low: 0.0, high: 5.3e-5 },
            known: Some(Estimate { probability: 7.31e-7, error: 2e-9, method: Method::ImportanceSampling }),
            mean_samples: 4_807.0,
        };
        let table = Table { runs: 100_000, seed: 1, rows: vec![row] };
        let text = markdown(&table);
        let expected = "| split | 4,807 | as the weights | fail | 1.0e-6 | 0 | 0 to 5.3e-5 | 7.3e-7 ± 2.0e-9 (weighted) | bound only |";
        assert_eq!(text.lines().nth(2), Some(expected));
    }
}
