//! The drawing of a topology, with the traffic that was observed on its edges: weights and mutual TLS.

use maud::{Markup, html};
use verdict::text::thousands;

use super::layout::{Curve, Layout, NARROW, Rect, Sizes, WIDE};
use super::limits::Limits;
use crate::report::figures::{Answer, TopologyFacts, Traffic, WorkloadFacts};
use crate::report::record::{Record, ScenarioRecord, StepRecord};
use crate::report::words::clip;

/// Workloads of a cluster that are drawn at most.
const BOXES: usize = 40;
/// Edges that are drawn at most.
const EDGES: usize = 120;

pub(super) fn section(record: &Record, limits: &Limits) -> Markup {
    html! {
        @for (index, topology) in record.topologies.iter().take(limits.entries).enumerate() {
            @let heading = format!("topology-{index}");
            section.topology aria-labelledby=(heading) {
                h2 id=(heading) { "Topology " (limits.clip(&topology.name)) }
                p { (limits.clip(&topology.description)) }
                (drawn(record, topology, limits))
            }
        }
    }
}

fn drawn(record: &Record, topology: &TopologyFacts, limits: &Limits) -> Markup {
    let measured = widest(record);
    let edges: Vec<Edge> = measured.iter().flat_map(|measured| edges(topology, measured)).collect();
    let spoken = format!(
        "{} clusters with {} workloads; {} flows of traffic, listed in the table below",
        topology.clusters.len(),
        topology.workloads.len(),
        edges.len()
    );
    html! {
        figure {
            div.wide { (picture(topology, &edges, WIDE, limits, &spoken)) }
            div.narrow { (picture(topology, &edges, NARROW, limits, &spoken)) }
            figcaption {
                @if edges.is_empty() { "No traffic was measured." }
                @else {
                    "Traffic as answered: solid green is mutual TLS, dashed red is not. Of each client and address, the measurement with the most requests. Between networks the way leads through the gateway of the cluster that it enters. A dashed box has no proxy."
                }
            }
        }
        @if !edges.is_empty() { (table(&edges, limits)) }
    }
}

/// What was measured in one step.
struct Measured<'record> {
    step: &'record StepRecord,
    traffic: &'record Traffic,
}

/// Of each client and address, the measurement with the most requests; controls change the mesh, so they do not count.
fn widest(record: &Record) -> Vec<Measured<'_>> {
    let steps = record.scenarios.iter().flat_map(ScenarioRecord::leaves);
    let controls = |step: &&StepRecord| !step.checks.iter().any(|check| check.name.ends_with(" must be refuted"));
    let mut widest: Vec<Measured<'_>> = Vec::new();
    for step in steps.filter(controls) {
        for traffic in &step.traffic {
            let same = |known: &&mut Measured<'_>| flow(known.traffic) == flow(traffic);
            match widest.iter_mut().find(same) {
                Some(known)
                    if known.traffic.requests - known.traffic.failed
                        < traffic.requests - traffic.failed.min(traffic.requests) =>
                {
                    *known = Measured { step, traffic };
                }
                Some(_) => {}
                None => widest.push(Measured { step, traffic }),
            }
        }
    }
    widest
}

fn flow(traffic: &Traffic) -> (&str, &str, &str, &str) {
    (&traffic.from_cluster, &traffic.from_namespace, &traffic.from_workload, &traffic.url)
}

/// Traffic from one workload to another.
struct Edge<'record> {
    measured: &'record Measured<'record>,
    from: &'record WorkloadFacts,
    to: &'record WorkloadFacts,
    count: u64,
    /// Of all good answers of the measurement.
    share: f64,
    mutual_tls: MutualTls,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MutualTls {
    All,
    Some,
    None,
}

impl MutualTls {
    fn word(self) -> &'static str {
        match self {
            Self::All => "mutual TLS",
            Self::Some => "partly mutual TLS",
            Self::None => "no mutual TLS",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::All => "edge",
            Self::Some => "edge mixed",
            Self::None => "edge plain",
        }
    }
}

fn edges<'record>(topology: &'record TopologyFacts, measured: &'record Measured<'record>) -> Vec<Edge<'record>> {
    let traffic = measured.traffic;
    let is_client = |workload: &&WorkloadFacts| {
        workload.cluster == traffic.from_cluster
            && workload.namespace == traffic.from_namespace
            && workload.name == traffic.from_workload
    };
    let Some(from) = topology.workloads.iter().find(is_client) else { return Vec::new() };
    let all: u64 = traffic.answers.iter().map(|answer| answer.count).sum();
    let mut edges: Vec<Edge<'record>> = Vec::new();
    for answer in &traffic.answers {
        let Some(to) = workload(topology, answer) else { continue };
        let secure = answer.client_identity.is_some() && answer.server_identity.is_some();
        let mutual_tls = if secure { MutualTls::All } else { MutualTls::None };
        let share = answer.count as f64 / all.max(1) as f64;
        match edges.iter_mut().find(|edge| edge.to == to) {
            Some(edge) => {
                edge.count += answer.count;
                edge.share += share;
                if edge.mutual_tls != mutual_tls {
                    edge.mutual_tls = MutualTls::Some;
                }
            }
            None => edges.push(Edge { measured, from, to, count: answer.count, share, mutual_tls }),
        }
    }
    edges
}

/// The workload that a pod belongs to: that with the longest name which begins the pod's.
fn workload<'facts>(topology: &'facts TopologyFacts, answer: &Answer) -> Option<&'facts WorkloadFacts> {
    let (cluster, pod) = (answer.cluster.as_deref()?, answer.pod.as_deref()?);
    let begins = |name: &str| pod.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let of_cluster = topology.workloads.iter().filter(|workload| workload.cluster == cluster && begins(&workload.name));
    of_cluster.max_by_key(|workload| workload.name.len())
}

/// The gateway for traffic of other networks, where both ends are on different ones.
fn gateway(topology: &TopologyFacts, edge: &Edge<'_>) -> Option<usize> {
    let network = |workload: &WorkloadFacts| {
        topology
            .clusters
            .iter()
            .find(|cluster| cluster.name == workload.cluster)
            .map(|cluster| cluster.network.as_str())
    };
    if network(edge.from) == network(edge.to) {
        return None;
    }
    topology.gateways.iter().position(|gateway| gateway.contains("eastwest"))
}

fn picture(topology: &TopologyFacts, edges: &[Edge<'_>], sizes: Sizes, limits: &Limits, spoken: &str) -> Markup {
    let layout = Layout::new(topology, sizes, BOXES.min(limits.entries));
    let letters = if sizes.columns == 1 { 15 } else { 21 };
    html! {
        svg viewBox=(format!("-4 -4 {:.0} {:.0}", layout.width + 8.0, layout.height + 8.0)) role="img" aria-label=(spoken) {
            @for (cluster, rect) in topology.clusters.iter().zip(&layout.clusters) {
                (rectangle(*rect, "cluster", 12))
                text.title x=(rect.x + 16.0) y=(rect.y + 24.0) { (clip(&cluster.name, 30)) }
                text.small x=(rect.x + 16.0) y=(rect.y + 42.0) { (clip(&format!("{} · {}", cluster.network, cluster.locality), 60)) }
            }
            (lines(topology, edges, &layout))
            @for (workload, rect) in topology.workloads.iter().zip(&layout.workloads) {
                @if let Some(rect) = rect {
                    (rectangle(*rect, if workload.sidecar { "box" } else { "box bare" }, 6))
                    (label(*rect, &workload.name, (!workload.sidecar).then_some(workload.namespace.as_str()), letters))
                }
            }
            @for gateways in &layout.gateways {
                @for (name, rect) in topology.gateways.iter().zip(gateways) {
                    (rectangle(*rect, "gateway", 6))
                    (gateway_label(*rect, name, letters))
                }
            }
            (weights(topology, edges, &layout))
        }
    }
}

fn rectangle(rect: Rect, class: &str, radius: u8) -> Markup {
    html! { rect class=(class) x=(rect.x) y=(rect.y) width=(rect.width) height=(rect.height) rx=(radius) {} }
}

fn label(rect: Rect, name: &str, below: Option<&str>, letters: usize) -> Markup {
    let (x, y) = rect.middle();
    let short: String = name.chars().take(letters).collect();
    html! {
        text.middle x=(x) y=(if below.is_some() { y - 1.0 } else { y + 4.5 }) { (short) }
        @if let Some(below) = below { text.middle.small x=(x) y=(y + 12.0) { (below.chars().take(letters).collect::<String>()) } }
    }
}

/// `istio-eastwestgateway` in two lines, for there is little room.
fn gateway_label(rect: Rect, name: &str, letters: usize) -> Markup {
    let name = name.strip_prefix("istio-").unwrap_or(name);
    match name.strip_suffix("gateway").map(|kind| kind.trim_end_matches('-')).filter(|kind| !kind.is_empty()) {
        Some(kind) => label(rect, kind, Some("gateway"), letters),
        None => label(rect, name, None, letters),
    }
}

fn lines(topology: &TopologyFacts, edges: &[Edge<'_>], layout: &Layout) -> Markup {
    html! {
        @for edge in edges.iter().take(EDGES) {
            @if let Some(curve) = layout.curve(topology, edge.from, edge.to, gateway(topology, edge), 0) {
                path class=(edge.mutual_tls.class()) d=(curve.path) stroke-width=(format!("{:.1}", 1.5 + edge.share * 6.0)) { title { (flow_told(edge)) } }
            }
        }
    }
}

/// The labels come last, so that no box hides them; at one target each gets its own line.
fn weights(topology: &TopologyFacts, edges: &[Edge<'_>], layout: &Layout) -> Markup {
    let inside = |edge: &Edge<'_>| edge.from.cluster == edge.to.cluster;
    html! {
        @for (index, edge) in edges.iter().take(EDGES).enumerate() {
            @let lane = edges[..index].iter().filter(|other| other.to == edge.to && inside(other) == inside(edge)).count();
            @if let Some(curve) = layout.curve(topology, edge.from, edge.to, gateway(topology, edge), lane).filter(|_| lane < 3) {
                (weight(&curve, &percent(edge.share), &flow_told(edge)))
            }
        }
    }
}

/// What a pointer that rests on an edge is told: labels of several clients stand below each other.
fn flow_told(edge: &Edge<'_>) -> String {
    let (from, to, share) = (edge.from, edge.to, percent(edge.share));
    clip(&format!("{} of {} to {} of {}: {share}", from.name, from.cluster, to.name, to.cluster), 200)
}

/// A label on a plate of its own: curves to other targets may pass behind it.
fn weight(curve: &Curve, text: &str, told: &str) -> Markup {
    /// Of a bold letter of this size, roughly.
    const LETTER: f64 = 7.3;
    let width = text.chars().count() as f64 * LETTER + 4.0;
    let (x, y) = curve.label;
    let left = if curve.label_ends { x - width } else { x };
    html! {
        rect.plate x=(format!("{left:.1}")) y=(format!("{:.1}", y - 10.5)) width=(format!("{width:.1}")) height="13" rx="3" {}
        text.weight x=(format!("{:.1}", left + width / 2.0)) y=(format!("{y:.1}")) { title { (told) } (text) }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0).trim_end_matches('0').trim_end_matches('.').to_owned() + " %"
}

fn table(edges: &[Edge<'_>], limits: &Limits) -> Markup {
    html! {
        details {
            summary { "The same as a table" }
            div.scroll tabindex="0" role="region" aria-label="Observed traffic" { table {
                thead { tr { th scope="col" { "Client" } th scope="col" { "Answered by" } th scope="col" { "Share" } th scope="col" { "Answers" } th scope="col" { "On the wire" } th scope="col" { "Step" } } }
                tbody { @for edge in edges.iter().take(limits.entries) { tr {
                    td { (name(edge.from, limits)) } td { (name(edge.to, limits)) }
                    td.figure { (percent(edge.share)) } td.figure { (thousands(edge.count)) }
                    td { (edge.mutual_tls.word()) }
                    td { (limits.clip(&format!("{} {}", edge.measured.step.id, edge.measured.step.name))) }
                } } }
            } }
            (Limits::note(limits.entries, edges.len(), "flows"))
        }
    }
}

fn name(workload: &WorkloadFacts, limits: &Limits) -> String {
    limits.clip(&format!("{} of {}", workload.name, workload.cluster))
}
