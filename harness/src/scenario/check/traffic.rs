//! Traffic: who sends what, and how many requests decide what is expected of it.

use verdict::EarlySplit;

use super::context::Context;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{SourcesFile, TrafficFile, WorkloadFile};
use crate::scenario::plan::{Check, Expectation};
use crate::topology::Workload;
use crate::traffic::probe::Protocol;

/// Enough to show a rate below 5 % when nothing in the step asks for more.
const LEAST: u64 = 100;

impl Context<'_> {
    /// The workloads that send.
    pub(super) fn sources_of(&mut self, path: &Path, file: &SourcesFile) -> Option<Vec<Workload>> {
        let files = match file {
            // An empty list is read as a mapping without fields.
            SourcesFile::One(one) if *one == WorkloadFile::default() => &[][..],
            SourcesFile::One(one) => return Some(vec![self.workload(path, one)?]),
            SourcesFile::Several(files) => files,
        };
        if files.is_empty() {
            self.error(path, "nobody sends").help("name at least one workload");
        }
        let found: Vec<Option<Workload>> =
            files.iter().enumerate().map(|(index, one)| self.workload(&path.index(index), one)).collect();
        for (index, one) in found.iter().enumerate().filter(|(_, one)| one.is_some()) {
            if found[..index].contains(one) {
                self.error(&path.index(index), "this workload sends already").help("name it once");
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
    }

    /// Method and body fit what is spoken.
    pub(super) fn message(&mut self, path: &Path, file: &TrafficFile, protocol: Protocol) {
        if let Some(method) = &file.method {
            let method_path = path.key("method");
            if protocol.is_text() {
                self.key_error(&method_path, format!("`{}` has no methods", file.url)).help("leave `method` out");
            } else if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                self.error(&method_path, format!("`{method}` is no method of HTTP"))
                    .help("write it in capitals, such as `POST`");
            } else if matches!(method.as_str(), "CONNECT" | "HEAD" | "TRACE") {
                self.error(&method_path, format!("the answer to `{method}` does not tell who gave it"));
            }
        }
        let lines = matches!(protocol, Protocol::Tcp | Protocol::TcpServerFirst | Protocol::Tls);
        if lines && file.body.as_ref().is_some_and(|body| body.is_empty() || body.contains(['\n', '\r'])) {
            self.error(&path.key("body"), "a line is one line with something in it");
        }
        if file.background && matches!(&file.from, SourcesFile::Several(all) if all.len() > 1) {
            self.error(&path.key("from"), "traffic in the background has one source")
                .help("begin as many steps in the background as there are sources; they run at once");
        }
    }

    /// What is expected of one source is about one that sends, and can be told from the others.
    /// `path` is that of the list that they stand in.
    pub(super) fn narrowed(
        &mut self,
        path: &Path,
        expectations: &[Expectation],
        sources: &[Workload],
        protocol: Protocol,
    ) {
        for expectation in expectations {
            let Some(from) = &expectation.from else { continue };
            let help = "leave `from` out, or measure that source in a step of its own";
            let message = if !sources.contains(from) {
                format!("{} of {} sends nothing here", from.name, from.cluster)
            } else if sources.len() == 1 {
                continue;
            } else {
                match &expectation.check {
                    Check::MutualTls(mtls) if !mtls.through.is_empty() => {
                        "gateways do not count whose requests they pass on".to_owned()
                    }
                    Check::Failures(_) | Check::Denied(_) => {
                        "proxies do not count whose requests they refuse".to_owned()
                    }
                    Check::MutualTls(_) | Check::Identity(_) if protocol.is_opaque() => {
                        "the proxy of the server does not log which pod a connection of this protocol comes from"
                            .to_owned()
                    }
                    _ => continue,
                }
            };
            let path = self.place_of(path, expectation);
            self.error(&path, format!("this cannot be expected of one source: {message}")).help(help);
        }
    }

    /// Where the `from` of an expectation stands; one that could not be read may have stood before it.
    pub(super) fn place_of(&self, path: &Path, expectation: &Expectation) -> Path {
        let entries = (0..self.document.length(path)).map(|index| path.index(index));
        let is_its = |entry: &Path| self.document.key_location(&entry.key(&expectation.name)) == expectation.location;
        let mut entries = entries.filter(is_its);
        entries.next().map_or_else(|| path.clone(), |entry| entry.key("from"))
    }
}

/// How many requests of each source decide every expectation of a step.
pub(super) fn needed_of_each(expectations: &[Expectation], sources: usize) -> u64 {
    let all = sources.max(1) as u64;
    let each = |expectation: &Expectation| {
        let needed = samples_needed(&expectation.check);
        if expectation.from.is_some() { needed } else { needed.div_ceil(all) }
    };
    expectations.iter().map(each).max().unwrap_or(0).max(LEAST.div_ceil(all))
}

/// How many samples decide an expectation.
fn samples_needed(check: &Check) -> u64 {
    match check {
        Check::Split(split) => split.early.as_ref().map_or(split.plan.n, EarlySplit::most),
        Check::Answered(plan) => plan.clean_trials_needed().unwrap_or(LEAST),
        Check::Latency(bounds) => bounds.iter().map(|bound| bound.plan.samples_needed()).max().unwrap_or(LEAST),
        _ => LEAST,
    }
}

/// Whether a check is decided by the number of samples, and not by what any of them shows.
pub(super) fn decided_by_number(check: &Check) -> bool {
    match check {
        Check::Split(_) | Check::Latency(_) => true,
        Check::Answered(plan) => plan.limit > 0.0,
        _ => false,
    }
}
