//! Who reached whom, as a table.

use maud::{Markup, html};
use serde_json::Value;

use super::charts::chip;
use super::limits::Limits;
use crate::report::figures::{self, Cell, Reachability};

pub(super) fn table(seen: &Value, limits: &Limits) -> Markup {
    let matrix: Option<Reachability> = figures::read(seen, "reachability");
    html! { @if let Some(matrix) = matrix {
        div.scroll tabindex="0" role="region" aria-label="Who reached whom" { table {
            thead { tr {
                th scope="col" { "From" }
                @for destination in matrix.destinations.iter().take(limits.entries) { th scope="col" { (limits.clip(destination)) } }
            } }
            tbody { @for (source, cells) in matrix.sources.iter().zip(&matrix.cells).take(limits.entries) { tr {
                th scope="row" { (limits.clip(source)) }
                @for cell in cells.iter().take(limits.entries) { td.figure { (one(cell)) } }
            } } }
        } }
        (Limits::note(limits.entries, matrix.destinations.len(), "destinations"))
    } }
}

fn one(cell: &Cell) -> Markup {
    let class = if cell.wrong { "bad" } else { "good" };
    let word = if cell.answers > 0 { "reached" } else { "not reached" };
    html! { (chip(class, word)) " " span.muted { (cell.answers) " of " (cell.requests) } }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::html::limits::LEVELS;

    #[test]
    fn every_pair_has_a_mark_and_a_word() {
        let cell = |answers, wrong| Cell { answers, requests: 48, expected: true, wrong };
        let matrix = Reachability {
            sources: vec!["sleep of c1".to_owned()],
            destinations: vec!["echo:8080 of c1".to_owned(), "echo:8080 of c2".to_owned()],
            cells: vec![vec![cell(48, false), cell(0, true)]],
        };
        let page = table(&json!({ "reachability": matrix }), &LEVELS[0]).into_string();
        for part in ["sleep of c1", "echo:8080 of c2", "chip good", "chip bad", "not reached", "48 of 48", "0 of 48"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(table(&json!({ "split": 1 }), &LEVELS[0]).into_string(), "");
    }
}
