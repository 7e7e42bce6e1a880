//! Where everything of a topology drawing stands. Pure arithmetic: boxes and curves, no markup.
//!
//! Clusters stand in columns. In each, workloads stand below each other; traffic within a cluster runs along the outer
//! side, traffic between clusters on the inner side, through the gateway of the cluster that it enters.

use crate::report::figures::{TopologyFacts, WorkloadFacts};

/// Sizes of one way to draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) columns: usize,
    /// Room for curves at the outer side.
    margin: f64,
    box_width: f64,
    /// Between workloads and gateways.
    aisle: f64,
    gateway_width: f64,
    /// Between clusters.
    gutter: f64,
}

/// For desktops: two columns, mirrored.
pub(super) const WIDE: Sizes =
    Sizes { columns: 2, margin: 84.0, box_width: 170.0, aisle: 64.0, gateway_width: 128.0, gutter: 84.0 };
/// For phones: one column.
pub(super) const NARROW: Sizes =
    Sizes { columns: 1, margin: 56.0, box_width: 118.0, aisle: 50.0, gateway_width: 104.0, gutter: 22.0 };

const ROW: f64 = 46.0;
const BOX_HEIGHT: f64 = 34.0;
const HEAD: f64 = 58.0;
const FOOT: f64 = 14.0;
const PAD: f64 = 12.0;

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn middle(self) -> (f64, f64) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// The middle of the right or left side.
    fn side(self, right: bool) -> (f64, f64) {
        (if right { self.x + self.width } else { self.x }, self.y + self.height / 2.0)
    }
}

/// A drawing without its colours.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) clusters: Vec<Rect>,
    /// By position in the topology; `None` for those of clusters that are not drawn.
    pub(super) workloads: Vec<Option<Rect>>,
    /// By cluster, in the order of the topology's gateways.
    pub(super) gateways: Vec<Vec<Rect>>,
    /// Whether the inner side of a cluster is its right one.
    inner_right: Vec<bool>,
}

/// A curve and the place of its label.
#[derive(Debug, PartialEq)]
pub(super) struct Curve {
    pub(super) path: String,
    pub(super) label: (f64, f64),
    /// Whether the label ends at its place instead of beginning there.
    pub(super) label_ends: bool,
}

impl Layout {
    /// Places at most `most` workloads of each cluster.
    pub(super) fn new(topology: &TopologyFacts, sizes: Sizes, most: usize) -> Self {
        let cluster_width = sizes.margin + sizes.box_width + sizes.aisle + sizes.gateway_width + PAD;
        let columns = sizes.columns.min(topology.clusters.len().max(1));
        let mut layout = Self {
            width: cluster_width * columns as f64 + sizes.gutter * (columns - 1) as f64,
            workloads: vec![None; topology.workloads.len()],
            ..Self::default()
        };
        let mut top = 0.0;
        for row in topology.clusters.chunks(columns) {
            let members = |name: &str| -> Vec<usize> {
                let of_cluster = topology.workloads.iter().enumerate().filter(|(_, workload)| workload.cluster == name);
                of_cluster.map(|(index, _)| index).take(most).collect()
            };
            let rows = row.iter().map(|cluster| members(&cluster.name).len()).max().unwrap_or(0);
            let height = HEAD + ROW * rows.max(topology.gateways.len()).max(1) as f64 + FOOT;
            for (column, cluster) in row.iter().enumerate() {
                let x = column as f64 * (cluster_width + sizes.gutter);
                let inner_right = column == 0;
                let place =
                    |offset: f64, width: f64| if inner_right { x + offset } else { x + cluster_width - offset - width };
                let rect = |offset: f64, width: f64, index: usize| Rect {
                    x: place(offset, width),
                    y: top + HEAD + ROW * index as f64,
                    width,
                    height: BOX_HEIGHT,
                };
                for (index, workload) in members(&cluster.name).into_iter().enumerate() {
                    layout.workloads[workload] = Some(rect(sizes.margin, sizes.box_width, index));
                }
                let offset = sizes.margin + sizes.box_width + sizes.aisle;
                let gateways = 0..topology.gateways.len();
                layout.gateways.push(gateways.map(|index| rect(offset, sizes.gateway_width, index)).collect());
                layout.clusters.push(Rect { x, y: top, width: cluster_width, height });
                layout.inner_right.push(inner_right);
            }
            top += height + sizes.gutter.min(40.0);
        }
        layout.height = (top - sizes.gutter.min(40.0)).max(0.0);
        layout
    }

    /// The curve from one workload to another. `lane` counts the labels that are already at the target.
    pub(super) fn curve(
        &self,
        topology: &TopologyFacts,
        from: &WorkloadFacts,
        to: &WorkloadFacts,
        through: Option<usize>,
        lane: usize,
    ) -> Option<Curve> {
        let cluster =
            |workload: &WorkloadFacts| topology.clusters.iter().position(|cluster| cluster.name == workload.cluster);
        let index = |wanted: &WorkloadFacts| topology.workloads.iter().position(|workload| workload == wanted);
        let (source, target) = (self.workloads[index(from)?]?, self.workloads[index(to)?]?);
        let (source_cluster, target_cluster) = (cluster(from)?, cluster(to)?);
        let shift = lane as f64 * 13.0;
        if source_cluster == target_cluster {
            return Some(within(source, target, self.inner_right[source_cluster], shift));
        }
        let (from_right, to_right) = (self.inner_right[source_cluster], self.inner_right[target_cluster]);
        let (start, end) = (source.side(from_right), target.side(to_right));
        let gateway = through.and_then(|gateway| self.gateways[target_cluster].get(gateway));
        let out = if from_right { 1.0 } else { -1.0 };
        let path = match gateway {
            Some(gateway) => {
                let (enter, leave) = (gateway.side(to_right), gateway.side(!to_right));
                // In one column the way leads around the gateways of the source's own cluster.
                let far = if from_right == to_right { self.width } else { (start.0 + enter.0) / 2.0 };
                let bend = (end.0 + leave.0) / 2.0;
                format!(
                    "M{} C{} {} {} M{} C{} {} {}",
                    point(start),
                    point((far, start.1)),
                    point((far, enter.1)),
                    point(enter),
                    point(leave),
                    point((bend, leave.1)),
                    point((bend, end.1)),
                    point(end),
                )
            }
            None => {
                let far = if from_right == to_right { start.0 + out * 60.0 } else { (start.0 + end.0) / 2.0 };
                format!("M{} C{} {} {}", point(start), point((far, start.1)), point((far, end.1)), point(end))
            }
        };
        Some(Curve {
            path,
            label: (end.0 + if to_right { 4.0 } else { -4.0 }, end.1 - 6.0 + shift),
            label_ends: !to_right,
        })
    }
}

/// Along the outer side, the wider the farther.
fn within(source: Rect, target: Rect, inner_right: bool, shift: f64) -> Curve {
    let outer_right = !inner_right;
    let (start, end) = (source.side(outer_right), target.side(outer_right));
    let wide = (16.0 + (end.1 - start.1).abs() * 0.16).min(48.0) * if outer_right { 1.0 } else { -1.0 };
    Curve {
        path: format!(
            "M{} C{} {} {}",
            point(start),
            point((start.0 + wide, start.1)),
            point((end.0 + wide, end.1)),
            point(end)
        ),
        label: (end.0 + if outer_right { 4.0 } else { -4.0 }, end.1 - 6.0 + shift),
        label_ends: !outer_right,
    }
}

fn point((x, y): (f64, f64)) -> String {
    format!("{x:.1},{y:.1}")
}
