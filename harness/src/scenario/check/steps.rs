//! Steps: exactly one action each, names unique, controls that only change the mesh.

use std::time::Duration;

use super::context::Context;
use super::expect::Measurement;
use super::mutual_tls::captures;
use super::said::said;
use super::traffic::{decided_by_number, needed_of_each};
use super::words::{ACTIONS, CHANGES, given};
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{
    ConnectFile, ControlFile, ConvergeFile, ExpectFile, LinkFile, RegisterFile, StepFile, TrafficFile,
};
use crate::scenario::plan::{Action, ConfigOf, Connect, Control, Converge, Expectation, Link, Register, Step, Traffic};
use crate::topology::Discovery;

/// Default of `converge.timeout`: a push takes milliseconds; old connections end within `drainDuration`, which
/// is 45 s where nobody says otherwise.
pub(super) const CONVERGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Default of `traffic.timeout`.
const TRAFFIC_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `connect.timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Context<'_> {
    pub(super) fn step(&mut self, path: &Path, file: &StepFile, id: String) -> Option<Step> {
        self.name(path, file.name.as_deref());
        let given = given(file);
        let [word] = given.as_slice() else {
            self.not_one_action(path, &given);
            return None;
        };
        self.companions(path, file, word);
        let Some(action) = self.action(path, file, &id) else {
            self.unmeasured.extend(file.name.clone());
            return None;
        };
        let name = file.name.clone().unwrap_or_else(|| said(&action));
        if let Action::Fault(fault) = &action {
            self.faults.push((name.clone(), fault.kind.clone()));
        }
        let step = Step { id, name, location: self.document.location(path), action, cleanup: Vec::new() };
        if !step.judged().expectations().is_empty() {
            self.measured.push(step.clone());
        } else if file.expect.is_some() {
            self.unmeasured.push(step.name.clone());
        }
        Some(step)
    }

    fn not_one_action(&mut self, path: &Path, given: &[&str]) {
        match given {
            [] => self.error(path, "this step does nothing").help(format!("add one of `{}`", ACTIONS.join("`, `"))),
            [_, second, ..] => self
                .key_error(&path.key(*second), format!("this step does more than one thing: `{}`", given.join("`, `")))
                .help("make it two steps"),
            [_] => return,
        };
    }

    fn name(&mut self, path: &Path, name: Option<&str>) {
        let Some(name) = name else { return };
        let path = path.key("name");
        if name.trim().is_empty() {
            self.error(&path, "the name is empty");
        }
        if let Some(first) = self.names.get(name).cloned() {
            let related = self.document.span_beside(&first, &path);
            let problem = self.error(&path, format!("step name `{name}` is used twice"));
            if let Some(related) = related {
                problem.related(related, "first used here");
            }
        } else {
            self.names.insert(name.to_owned(), path);
        }
    }

    fn action(&mut self, path: &Path, file: &StepFile, id: &str) -> Option<Action> {
        let expect = file.expect.as_deref();
        if let Some(steps) = &file.sequence {
            return Some(self.sequence(&path.key("sequence"), steps, id));
        }
        if let Some(steps) = &file.parallel {
            return Some(self.parallel(&path.key("parallel"), steps, id));
        }
        if file.attempt.is_some() {
            return self.attempt(path, file, id);
        }
        if let Some(text) = &file.note {
            if text.trim().is_empty() {
                self.error(&path.key("note"), "this remark is empty");
            }
            return Some(Action::Note(text.clone()));
        }
        if let Some(apply) = &file.apply {
            return Some(Action::Apply(self.apply(&path.key("apply"), apply)));
        }
        if let Some(delete) = &file.delete {
            return Some(Action::Delete(self.delete(&path.key("delete"), delete)));
        }
        if let Some(patch) = &file.patch {
            return self.patch(&path.key("patch"), patch).map(Action::Patch);
        }
        if let Some(scale) = &file.scale {
            return self.scale(&path.key("scale"), scale).map(Action::Scale);
        }
        if let Some(restart) = &file.restart {
            return self.replace(&path.key("restart"), restart, false).map(Action::Replace);
        }
        if let Some(kill) = &file.kill {
            return self.replace(&path.key("kill"), kill, true).map(Action::Replace);
        }
        if let Some(onboard) = &file.onboard {
            return self.onboard(&path.key("onboard"), onboard).map(Action::Onboard);
        }
        if let Some(exec) = &file.exec {
            return self.exec(&path.key("exec"), exec).map(Action::Exec);
        }
        if let Some(wait) = &file.wait {
            return self.wait(&path.key("wait"), wait).map(Action::Wait);
        }
        if let Some(link) = &file.link {
            return Some(Action::Link(self.link(&path.key("link"), link, true)));
        }
        if let Some(link) = &file.unlink {
            return Some(Action::Link(self.link(&path.key("unlink"), link, false)));
        }
        if let Some(register) = &file.register {
            return self.registration(&path.key("register"), register, true).map(Action::Register);
        }
        if let Some(register) = &file.deregister {
            return self.registration(&path.key("deregister"), register, false).map(Action::Register);
        }
        if let Some(converge) = &file.converge {
            return Some(Action::Converge(self.converge(&path.key("converge"), converge)));
        }
        if let Some(fault) = &file.fault {
            return self.fault(&path.key("fault"), fault).map(Action::Fault);
        }
        if let Some(heal) = &file.heal {
            return self.heal(&path.key("heal"), heal);
        }
        if let Some(during) = &file.during {
            return self.during(&path.key("during"), during);
        }
        if let Some(stop) = &file.stop {
            return self.stop(&path.key("stop"), stop, expect, path);
        }
        if let Some(traffic) = file.traffic.as_ref().filter(|traffic| traffic.background) {
            self.converged_before(&path.key("traffic"));
            if traffic.early_stop {
                let path = path.key("traffic").key("earlyStop");
                self.key_error(&path, "traffic in the background does not stop early").help("its `stop` ends it");
            }
            let traffic = self.traffic(&path.key("traffic"), traffic, Vec::new())?;
            return self.background(&path.key("traffic"), file.name.as_deref(), traffic, expect.is_some());
        }
        if let Some(traffic) = &file.traffic {
            self.converged_before(&path.key("traffic"));
            let mut expectations = self.expectations(&path.key("expect"), expect, Measurement::Traffic);
            if traffic.early_stop {
                self.stops_early(&path.key("traffic"), traffic, expect);
                self.looks(&path.key("expect"), &mut expectations);
            }
            return self.traffic(&path.key("traffic"), traffic, expectations).map(Action::Traffic);
        }
        if let Some(connect) = &file.connect {
            self.converged_before(&path.key("connect"));
            let expectations = self.expectations(&path.key("expect"), expect, Measurement::Connect);
            return self.connect(&path.key("connect"), connect, expectations).map(Box::new).map(Action::Connect);
        }
        if let Some(config) = &file.config {
            self.converged_before(&path.key("config"));
            return self.config(path, config, expect).map(Action::Config);
        }
        if let Some(reachability) = &file.reachability {
            self.converged_before(&path.key("reachability"));
            return self.reachability(path, reachability, expect).map(Action::Reachability);
        }
        let control = file.control.as_ref()?;
        self.control(&path.key("control"), control, id).map(Action::Control)
    }

    fn link(&mut self, path: &Path, file: &LinkFile, linked: bool) -> Link {
        if self.topology.discovery != Discovery::RemoteSecrets {
            let message = format!("topology {} does not use remote secrets", self.topology.name);
            self.key_error(path, message).help("set `discovery: remote-secrets` there");
        }
        let clusters = self.clusters(&path.key("clusters"), &file.clusters);
        if clusters.len() < 2 {
            self.error(&path.key("clusters"), "it takes two clusters");
        }
        let mut pairs = Vec::new();
        // Only a control plane reads other clusters.
        let topology = self.topology;
        for reader in
            clusters.iter().filter(|name| topology.cluster(name).is_none_or(|one| one.control_plane.is_none()))
        {
            for of in clusters.iter().filter(|of| *of != reader) {
                self.pending.linked(reader, of, linked);
                pairs.push((reader.clone(), of.clone()));
            }
        }
        Link { linked, pairs }
    }

    fn registration(&mut self, path: &Path, file: &RegisterFile, registered: bool) -> Option<Register> {
        let Some(management) = &self.topology.management else {
            let message = format!("topology {} has no management plane", self.topology.name);
            self.key_error(path, message).help("add a section `management` there");
            return None;
        };
        let management = management.cluster.clone();
        let clusters = self.clusters(&path.key("clusters"), &file.clusters);
        for (index, name) in clusters.iter().enumerate() {
            if self.topology.cluster(name).is_some_and(|cluster| !cluster.mesh) {
                let message = format!("cluster `{name}` has no mesh, so there is nothing to register");
                self.error(&path.key("clusters").index(index), message);
            }
        }
        self.pending.rearranged(&management);
        Some(Register { registered, management, clusters })
    }

    fn converge(&mut self, path: &Path, file: &ConvergeFile) -> Converge {
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), CONVERGE_TIMEOUT);
        let clusters = self.pending.take(self.topology);
        if clusters.is_empty() {
            self.sequel(path, "nothing was changed since the last `converge`, so there is nothing to wait for");
        }
        Converge { clusters, timeout, last: false }
    }

    /// What the clean-up changed is waited for at the very end, so that the next scenario finds a mesh at rest.
    pub(super) fn last_convergence(&mut self, position: usize) -> Option<Step> {
        let clusters = self.pending.take(self.topology);
        if clusters.is_empty() {
            return None;
        }
        let action = Action::Converge(Converge { clusters, timeout: CONVERGE_TIMEOUT, last: true });
        let location = self.document.location(&Path::root().key("steps"));
        let name = "every proxy concerned acknowledges the clean-up".to_owned();
        Some(Step { id: format!("f{}", position + 1), name, location, action, cleanup: Vec::new() })
    }

    /// A measurement of a mesh that is still changing means nothing.
    fn converged_before(&mut self, path: &Path) {
        if !self.pending.is_empty() {
            self.sequel(path, "this would measure before every proxy holds the changes made above")
                .help("add a step with `converge: {}` before it");
            // Said once; the steps after this one are not to blame.
            self.pending.take(self.topology);
        }
    }

    fn traffic(&mut self, path: &Path, file: &TrafficFile, mut expectations: Vec<Expectation>) -> Option<Traffic> {
        let from = self.sources_of(&path.key("from"), &file.from);
        let protocol = self.protocol(&path.key("url"), &file.url);
        self.hop(path, file);
        if let Some(protocol) = protocol {
            captures(protocol, &mut expectations);
            self.message(path, file, protocol);
        }
        if let (Some(from), Some(protocol)) = (&from, protocol) {
            let step = path.split_last().map_or_else(Path::root, |(step, _)| step);
            self.narrowed(&step.key("expect"), &expectations, from, protocol);
            if file.workers.is_some() {
                self.not_counted_at_sources(&step.key("expect"), &expectations, from);
            }
        }
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), TRAFFIC_TIMEOUT);
        let needed = needed_of_each(&expectations, file.from.all().len());
        if let Some(requests) = file.requests.filter(|requests| *requests < needed) {
            let decides = expectations.iter().any(|expectation| decided_by_number(&expectation.check));
            if decides {
                self.error(
                    &path.key("requests"),
                    format!("{requests} requests cannot decide what is expected here; {needed} would"),
                )
                .help("leave `requests` out to send as many as needed");
            }
        }
        let requests = file.requests.unwrap_or(needed);
        let from = from?;
        let workers = self.workers(path, file, &from, requests);
        Some(Traffic {
            from,
            workers,
            url: file.url.clone(),
            protocol: protocol?,
            hop: file.hop.clone(),
            method: file.method.clone(),
            body: file.body.clone(),
            headers: file.headers.clone(),
            requests,
            early_stop: file.early_stop,
            connections: file.connections,
            new_connection_per_request: file.new_connection_per_request,
            rate: file.rate,
            timeout,
            expectations,
        })
    }

    fn connect(
        &mut self,
        path: &Path,
        file: &ConnectFile,
        expectations: Vec<crate::scenario::plan::Expectation>,
    ) -> Option<Connect> {
        let from = self.workload(&path.key("from"), &file.from);
        let to = self.workload(&path.key("to"), &file.to);
        let timeout = self.duration(&path.key("timeout"), file.timeout.as_deref(), CONNECT_TIMEOUT);
        let (from, to) = (from?, to?);
        let Some(port) = file.port.or(to.port) else {
            self.error(&path.key("to"), format!("{} listens on no port", to.name)).help("say which with `port`");
            return None;
        };
        Some(Connect { from, to, port, plaintext_http: file.plaintext_http, timeout, expectations })
    }

    fn control(&mut self, path: &Path, file: &ControlFile, id: &str) -> Option<Control> {
        let change = self.changes(&path.key("change"), &file.change, &format!("{id}.c"));
        self.settle(&path.key("change"), "converge after the change, before the repetition");
        let measure = self.repeated(&path.key("repeat"), &file.repeat);
        let refuted = measure.as_ref().map(|measure| self.refuted(&path.key("refutes"), &file.refutes, measure));
        let expectations = measure.as_ref().map(|measure| self.instead(&path.key("expect"), &file.expect, measure));
        // What it restores is waited for before something is measured again, or with the clean-up.
        let restore = self.changes(&path.key("restore"), &file.restore, &format!("{id}.r"));
        let measure = measure.map(|measure| match measure.action {
            Action::Sequence(_) => measure.renumbered(&format!("{id}.cm")),
            _ => measure,
        });
        // The steps that would wait do not run after a control that did not hold.
        let clusters = self.pending.clone().take(self.topology);
        let restored = (!clusters.is_empty()).then_some(Converge { clusters, timeout: CONVERGE_TIMEOUT, last: true });
        let (refuted, expectations) = (refuted?, expectations?);
        Some(Control { change, measure: Box::new(measure?), refuted, expectations, restore, restored })
    }

    /// What a control expects of its repetition, which sends as many requests as the step that it repeats.
    fn instead(&mut self, path: &Path, files: &[ExpectFile], measure: &Step) -> Vec<Expectation> {
        let kind = match measure.action {
            Action::Connect(_) => Measurement::Connect,
            Action::Config(ConfigOf { path: None, .. }) => Measurement::Config,
            Action::Config(_) => Measurement::ConfigAt,
            Action::Reachability(_) => Measurement::Reachability,
            Action::Stop(_) | Action::Sequence(_) => Measurement::Background,
            _ => Measurement::Traffic,
        };
        let mut expectations = self.expectations(path, Some(files), kind);
        match &measure.action {
            Action::Reachability(matrix) => self.exceptions_are_pairs(path, files, matrix),
            Action::Traffic(traffic) if traffic.early_stop => self.looks(path, &mut expectations),
            _ => {}
        }
        if let Action::Traffic(traffic) = &measure.action {
            self.narrowed(path, &expectations, &traffic.from, traffic.protocol);
            if traffic.workers.is_some() {
                self.not_counted_at_sources(path, &expectations, &traffic.from);
            }
            let (sent, needed) = (traffic.requests, needed_of_each(&expectations, traffic.from.len()));
            if sent >= needed {
                return expectations;
            }
            let message = format!("the repetition sends {sent} requests, which cannot decide this; {needed} would");
            self.error(path, message).help("take a wider margin here, or set `requests` in the step that is repeated");
        }
        expectations
    }

    fn settle(&mut self, path: &Path, help: &str) {
        if !self.pending.is_empty() {
            self.sequel(path, "the last change here is not waited for").help(help);
            self.pending.take(self.topology);
        }
    }

    /// Steps of a control: they may change the mesh and wait, and nothing else.
    fn changes(&mut self, path: &Path, files: &[StepFile], prefix: &str) -> Vec<Step> {
        if files.is_empty() {
            self.key_error(path, "nothing is changed here")
                .help("a control changes the mesh or a manifest, and restores it");
        }
        for (index, file) in files.iter().enumerate() {
            for word in given(file).into_iter().filter(|word| !CHANGES.contains(word)) {
                let path = path.index(index).key(word);
                self.key_error(&path, format!("a control cannot do `{word}`"))
                    .help("it only changes the mesh; what it measures is repeated from an earlier step");
            }
            if file.cleanup.is_some() {
                self.key_error(&path.index(index).key("cleanup"), "a control undoes its change in `restore`");
            }
        }
        self.steps(path, files, prefix)
    }

    fn repeated(&mut self, path: &Path, name: &str) -> Option<Step> {
        let found = self.measured.iter().find(|step| step.name == name).cloned();
        if found.is_none() && !self.unmeasured.iter().any(|known| known == name) {
            let names: Vec<String> = self.measured.iter().map(|step| step.name.clone()).collect();
            self.sequel(path, format!("no earlier step with expectations is named `{name}`"))
                .help(suggest::help(name, names.iter().map(String::as_str)));
        }
        found
    }
}
