//! `report.html` in a real browser: at the widths of phones and of a desktop, light and dark. The page is that of a run of
//! `each-stays-in-its-region`, `outage-of-a-service`, `errors-and-times-are-bounded`, `bookinfo-75-15-10` and
//! `layers/wrong-server-name.yaml`, of which the last fails on purpose.
//!
//! The page is put into a frame of the width in question, for a browser's own window cannot be as narrow as a phone.
//! `MESHPROOF_SCREENSHOTS=<folder>` keeps pictures to look at.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use camino::Utf8Path;
use meshproof::report::{Record, html, journal};
use requirements::{Capability, require};
use rstest::rstest;
use serde::Deserialize;

const PROBE: &str = include_str!("browser/probe.js");
/// Runs before anything of the page, so that it sees every error.
const WATCH: &str = "<head><script>window.seen = []; addEventListener('error', (event) => seen.push(event.message)); \
     addEventListener('securitypolicyviolation', (event) => seen.push('asked for ' + event.blockedURI));</script>";

/// What the browser says of the page.
#[derive(Debug, Deserialize)]
struct Seen {
    /// Errors of scripts, and requests that the page's policy refused.
    errors: Vec<String>,
    /// Requests that were made.
    requests: Vec<String>,
    /// Elements that stick out to the right, first with what is closed closed, then with everything open.
    sticking_out: Vec<String>,
    /// Texts whose colour is too close to that of what is behind.
    faint: Vec<String>,
    /// Texts of the topology's drawing that lie on each other.
    overlapping: Vec<String>,
    /// Classes of the figures that are shown.
    drawn: Vec<String>,
    /// Requests that expectations were not met by.
    samples: Vec<String>,
    /// Who sent the traffic that is drawn.
    clients: Vec<String>,
    /// Drawings that say nothing to those who cannot see them.
    silent: Vec<String>,
    /// Headings of the second level.
    sections: Vec<String>,
    /// Headings that skip a level.
    skipped_levels: Vec<String>,
    /// Duplicate ids, and links that lead nowhere.
    broken_links: Vec<String>,
    /// Whether the page is dark.
    dark: bool,
}

fn page() -> String {
    let folder = Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/browser"));
    let (events, unreadable) = journal::read(folder).expect("the recorded run is there");
    assert_eq!(unreadable, 0, "the recorded run is of this version");
    let mut record = Record::default();
    events.iter().for_each(|event| record.add(event));
    html::page(&record)
}

fn chromium(folder: &Path, dark: bool, arguments: &[&str]) -> String {
    let program = requirements::browser().expect("required above");
    let output = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(dark.then_some("--blink-settings=preferredColorScheme=0"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn look(width: u32, dark: bool) -> Seen {
    let folder = tempfile::tempdir().expect("a folder");
    let escaped = page().replacen("<head>", WATCH, 1).replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        "<!doctype html><body style=\"margin:0\"><iframe id=\"page\" style=\"border:0;width:{width}px;height:900px\" \
         srcdoc=\"{escaped}\"></iframe><script>{PROBE}</script>"
    );
    let path = folder.path().join("frame.html");
    std::fs::write(&path, frame).expect("written");
    let url = format!("file://{}", path.display());
    if let Some(pictures) = std::env::var_os("MESHPROOF_SCREENSHOTS") {
        let scheme = if dark { "dark" } else { "light" };
        let picture = Path::new(&pictures).join(format!("report-{width}-{scheme}.png"));
        let size = format!("--window-size={},6000", width.max(500));
        chromium(folder.path(), dark, &[&size, &format!("--screenshot={}", picture.display()), &format!("{url}#tall")]);
    }
    let document = chromium(folder.path(), dark, &["--window-size=1400,1000", "--dump-dom", &url]);
    let encoded = document.split("id=\"seen\">").nth(1).and_then(|rest| rest.split('<').next());
    let encoded = encoded.unwrap_or_else(|| panic!("the probe did not end: {} bytes", document.len()));
    let json = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
    serde_json::from_slice(&json).expect("what the probe writes")
}

#[rstest]
fn a_report_can_be_read_anywhere(#[values(360, 390, 1280)] width: u32, #[values(false, true)] dark: bool) {
    require!(Capability::Browser);
    let seen = look(width, dark);
    assert_eq!(seen.dark, dark);
    let none: [&str; 0] = [];
    assert_eq!(seen.errors, none);
    assert_eq!(seen.requests, none);
    assert_eq!(seen.sticking_out, none);
    assert_eq!(seen.faint, none);
    assert_eq!(seen.silent, none);
    assert_eq!(seen.overlapping, none);
    for figure in ["failover", "latency", "split"] {
        assert!(seen.drawn.iter().any(|drawn| drawn == figure), "{figure}: {:?}", seen.drawn);
    }
    assert!(
        seen.samples.iter().any(|text| text.contains("status 503 (UF)") && text.contains("99 more like it")),
        "{:?}",
        seen.samples
    );
    for client in ["probe of cluster1", "probe of cluster2"] {
        assert!(seen.clients.iter().any(|text| text == client), "{client}: {:?}", seen.clients);
    }
    assert_eq!(seen.skipped_levels, none);
    assert_eq!(seen.broken_links, none);
    for section in ["What did not pass", "Topology two-clusters", "Set-up and tear-down", "Files"] {
        assert!(seen.sections.iter().any(|found| found == section), "{section}: {:?}", seen.sections);
    }
    assert!(seen.sections.iter().any(|found| found.contains("bookinfo-75-15-10")), "{:?}", seen.sections);
}
