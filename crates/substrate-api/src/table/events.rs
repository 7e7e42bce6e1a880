//! Events of both API groups.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::{since, time};
use super::text::{at, integer};
use super::{Column, Printer, text, wide};

pub(super) const EVENTS: Printer = Printer { columns: COLUMNS, cells };

const COLUMNS: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    Column { name: "Count", kind: "integer", priority: 1 },
    wide("Name"),
];

fn cells(event: &Value, now: Timestamp) -> Vec<Value> {
    let first = first_with(event, &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]);
    let last = first_with(event, &["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp"]).or(first);
    let ago = |pointer: Option<&str>| pointer.map_or("<unknown>".to_owned(), |pointer| since(event, pointer, now));
    let object = |field: &str| either(event, &format!("/involvedObject/{field}"), &format!("/regarding/{field}"));
    let target = match object("name") {
        "" => object("kind").to_lowercase(),
        name => format!("{}/{name}", object("kind").to_lowercase()),
    };
    let count = [integer(event, "/series/count"), integer(event, "/count"), integer(event, "/deprecatedCount")];
    vec![
        ago(last).into(),
        at(event, "/type").into(),
        at(event, "/reason").into(),
        target.into(),
        object("fieldPath").into(),
        source(event).into(),
        either(event, "/message", "/note").trim().into(),
        ago(first).into(),
        count.into_iter().find(|count| *count != 0).unwrap_or(1).into(),
        at(event, "/metadata/name").into(),
    ]
}

fn source(event: &Value) -> String {
    let component = [at(event, "/source/component"), at(event, "/deprecatedSource/component"), reporter(event)];
    let host = [at(event, "/source/host"), at(event, "/deprecatedSource/host"), at(event, "/reportingInstance")];
    let pick = |texts: [&str; 3]| texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned();
    let (component, host) = (pick(component), pick(host));
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

/// The core group calls the field `reportingComponent`, the other `reportingController`.
fn reporter(event: &Value) -> &str {
    either(event, "/reportingComponent", "/reportingController")
}

fn either<'a>(event: &'a Value, first: &str, second: &str) -> &'a str {
    match at(event, first) {
        "" => at(event, second),
        text => text,
    }
}

fn first_with<'a>(event: &Value, pointers: &[&'a str]) -> Option<&'a str> {
    pointers.iter().copied().find(|pointer| time(event, pointer).is_some())
}
