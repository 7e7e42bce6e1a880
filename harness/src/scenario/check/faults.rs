//! Faults, their healing, and traffic in the background: that each begins, ends and is judged.

use std::time::Duration;

use super::context::Context;
use super::expect::Measurement;
use crate::diagnostic::suggest;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{
    BackgroundFile, ExpectFile, FailoverFile, FaultFile, HealFile, ProgramOnFile, StormFile, WorkloadFile,
};
use crate::scenario::keys::LinkDirection;
use crate::scenario::plan::{
    Action, Await, Background, Between, Deployment, Failover, Fault, FaultKind, Step, Stop, Storm, Traffic,
};

/// Default of `fault.limit`.
const FAULT_LIMIT: Duration = Duration::from_secs(60);
/// Default of `failover.slowAfter`.
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// Words of faults, as they stand in files.
const FAULTS: [&str; 8] = ["kill", "scaleToZero", "killProgram", "storm", "cut", "delay", "loss", "pauseApiServer"];

impl Context<'_> {
    pub(super) fn fault(&mut self, path: &Path, file: &FaultFile) -> Option<Fault> {
        let given = given(file);
        let [_] = given.as_slice() else {
            let message = if given.is_empty() { "nothing fails" } else { "more than one thing fails" };
            self.key_error(path, message).help(format!("write one of `{}`", FAULTS.join("`, `")));
            return None;
        };
        let limit = self.duration(&path.key("limit"), file.limit.as_deref(), FAULT_LIMIT);
        let kind = self.fault_kind(path, file)?;
        // What is measured after a program was killed is what that does while the mesh still counts on its machine.
        if let FaultKind::Kill(workload) | FaultKind::ScaleToZero(workload) = &kind {
            self.pods_go(workload);
        }
        Some(Fault { kind, limit })
    }

    fn fault_kind(&mut self, path: &Path, file: &FaultFile) -> Option<FaultKind> {
        if let Some(workload) = &file.kill {
            return self.deployment(&path.key("kill"), workload).map(FaultKind::Kill);
        }
        if let Some(workload) = &file.scale_to_zero {
            return self.deployment(&path.key("scaleToZero"), workload).map(FaultKind::ScaleToZero);
        }
        if let Some(program) = &file.kill_program {
            return self.kill_program(&path.key("killProgram"), program);
        }
        if let Some(storm) = &file.storm {
            return self.storm(&path.key("storm"), storm).map(FaultKind::Storm);
        }
        if let Some(cut) = &file.cut {
            return self.between(&path.key("cut"), &cut.from, &cut.to, cut.direction).map(FaultKind::Cut);
        }
        if let Some(delay) = &file.delay {
            let path = path.key("delay");
            let by = self.duration(&path.key("by"), Some(&delay.by), Duration::ZERO);
            let jitter = self.duration(&path.key("jitter"), delay.jitter.as_deref(), Duration::ZERO);
            let between = self.between(&path, &delay.from, &delay.to, delay.direction)?;
            return Some(FaultKind::Delay { between, by, jitter });
        }
        if let Some(loss) = &file.loss {
            let between = self.between(&path.key("loss"), &loss.from, &loss.to, loss.direction)?;
            return Some(FaultKind::Loss { between, percent: loss.percent });
        }
        let pause = file.pause_api_server.as_ref()?;
        self.cluster(&path.key("pauseApiServer").key("cluster"), &pause.cluster);
        Some(FaultKind::PauseApiServer(pause.cluster.clone()))
    }

    fn kill_program(&mut self, path: &Path, file: &ProgramOnFile) -> Option<FaultKind> {
        let named = WorkloadFile { vm: Some(file.vm.clone()), ..WorkloadFile::default() };
        let machine = self.deployment(path, &named)?;
        self.program(&path.key("program"), machine.vm.as_ref()?, &file.program);
        Some(FaultKind::KillProgram { machine, program: file.program.clone() })
    }

    fn storm(&mut self, path: &Path, file: &StormFile) -> Option<Storm> {
        let (cluster, workload) = (file.cluster.clone(), file.workload.clone());
        let named = WorkloadFile { cluster, workload, namespace: file.namespace.clone(), vm: None };
        let workload = self.deployment(path, &named)?;
        let server = self.workloads.iter().find(|one| {
            (&one.cluster, &one.namespace, &one.name) == (&workload.cluster, &workload.namespace, &workload.name)
        });
        let Some(port) = server.and_then(|server| server.port) else {
            self.error(&path.key("workload"), format!("`{}` is no server of the applications", file.workload))
                .help("only these answer with errors on request, such as `details-v1`");
            return None;
        };
        Some(Storm { workload, port, status: file.status, percent: file.percent })
    }

    fn between(&mut self, path: &Path, from: &str, to: &str, direction: LinkDirection) -> Option<Between> {
        let networks = self.topology.networks.clone();
        for (key, name) in [("from", from), ("to", to)] {
            if !networks.iter().any(|known| known == name) {
                let message = format!("topology {} has no network `{name}`", self.topology.name);
                self.error(&path.key(key), message).help(suggest::help(name, networks.iter().map(String::as_str)));
                return None;
            }
        }
        if from == to {
            self.error(&path.key("to"), "a network has no link to itself");
        }
        Some(Between { from: from.to_owned(), to: to.to_owned(), direction })
    }

    /// Pods go. Of a control plane that is gone nobody can be asked whether its proxies converged.
    pub(super) fn pods_go(&mut self, workload: &Deployment) {
        if workload.container != "discovery" {
            self.pods_change(workload);
        }
    }

    /// What ends a fault at the end of its group, if nothing did before.
    pub(super) fn healing(&mut self, step: &Step) -> Option<Step> {
        let Action::Fault(fault) = &step.action else { return None };
        let id = match step.id.rsplit_once('.') {
            Some((parent, last)) => format!("{parent}.u{last}.0"),
            None => format!("u{}.0", step.id),
        };
        self.heals(&fault.kind);
        let (action, location) = (Action::Heal(step.name.clone()), step.location.clone());
        Some(Step { id, name: format!("{} heals", fault.kind), location, action, cleanup: Vec::new() })
    }

    fn heals(&mut self, kind: &FaultKind) {
        if let Some(workload) = kind.gone() {
            self.pods_change(workload);
        }
    }

    pub(super) fn heal(&mut self, path: &Path, file: &HealFile) -> Option<Action> {
        let Some(kind) = self.faults.iter().find(|(name, _)| *name == file.fault).map(|(_, kind)| kind.clone()) else {
            self.unknown_fault(&path.key("fault"), &file.fault);
            return None;
        };
        self.heals(&kind);
        Some(Action::Heal(file.fault.clone()))
    }

    fn unknown_fault(&mut self, path: &Path, name: &str) {
        let known: Vec<String> = self.faults.iter().map(|(name, _)| name.clone()).collect();
        self.sequel(path, format!("no earlier step with a fault is named `{name}`"))
            .help(suggest::help(name, known.iter().map(String::as_str)));
    }

    pub(super) fn background(
        &mut self,
        path: &Path,
        name: Option<&str>,
        traffic: Traffic,
        expects: bool,
    ) -> Option<Action> {
        let Some(name) = name else {
            self.key_error(path, "traffic in the background needs a `name`, for `stop` to say what is stopped");
            return None;
        };
        if expects {
            self.key_error(path, "nothing can be expected of traffic that goes on")
                .help("put `expect` beside the `stop` that ends it");
        }
        let Some(rate) = traffic.rate else {
            self.key_error(path, "traffic in the background needs a `rate`").help("such as `rate: 200`");
            return None;
        };
        self.running.insert(name.to_owned(), rate);
        Some(Action::Background(Background { traffic }))
    }

    pub(super) fn during(&mut self, path: &Path, file: &BackgroundFile) -> Option<Action> {
        let rate = self.running_rate(path, file)?;
        let Some(requests) = file.requests else {
            self.key_error(path, "it is not said for how many requests").help("add `requests`");
            return None;
        };
        let time = Duration::from_secs_f64(requests as f64 / f64::from(rate));
        Some(Action::Await(Await { traffic: file.traffic.clone(), requests, time }))
    }

    pub(super) fn stop(
        &mut self,
        path: &Path,
        file: &BackgroundFile,
        expect: Option<&[ExpectFile]>,
        step: &Path,
    ) -> Option<Action> {
        let rate = self.running_rate(path, file)?;
        if file.requests.is_some() {
            self.key_error(&path.key("requests"), "`stop` stops at once").help("use `during` before it");
        }
        self.running.remove(&file.traffic);
        let expectations = self.expectations(&step.key("expect"), expect, Measurement::Background);
        Some(Action::Stop(Stop { traffic: file.traffic.clone(), rate, expectations }))
    }

    fn running_rate(&mut self, path: &Path, file: &BackgroundFile) -> Option<u32> {
        let rate = self.running.get(&file.traffic).copied();
        if rate.is_none() {
            let known: Vec<String> = self.running.keys().cloned().collect();
            self.sequel(&path.key("traffic"), format!("no traffic in the background is named `{}`", file.traffic))
                .help(suggest::help(&file.traffic, known.iter().map(String::as_str)));
        }
        rate
    }

    /// Traffic that nobody stopped was not judged.
    pub(super) fn all_stopped(&mut self) {
        let running: Vec<String> = self.running.keys().cloned().collect();
        for name in running {
            let path = self.names.get(&name).cloned().unwrap_or_default();
            self.sequel(&path, format!("traffic `{name}` is never stopped, so nothing is expected of it"))
                .help(format!("add a step with `stop: {{traffic: {name}}}` and `expect`"));
        }
    }

    pub(super) fn failover(&mut self, path: &Path, file: &FailoverFile) -> Option<Failover> {
        if !self.faults.iter().any(|(name, _)| *name == file.fault) {
            self.unknown_fault(&path.key("fault"), &file.fault);
        }
        let (from, to) = (self.places(&path.key("from"), &file.from), self.places(&path.key("to"), &file.to));
        let mut time = |key: &str, text: &Option<String>| {
            text.as_deref().map(|text| self.duration(&path.key(key), Some(text), Duration::ZERO))
        };
        let failover = Failover {
            fault: file.fault.clone(),
            from,
            to,
            slow_after: time("slowAfter", &file.slow_after).unwrap_or(SLOW_AFTER),
            detect: time("detect", &file.detect),
            gap: time("gap", &file.gap),
            recover: time("recover", &file.recover),
            fail_back: time("failBack", &file.fail_back),
            lost: file.lost,
            slow: file.slow,
            wrong: file.wrong,
        };
        let times = [failover.detect, failover.gap, failover.recover, failover.fail_back];
        let numbers = [failover.lost, failover.slow, failover.wrong];
        if times.iter().all(Option::is_none) && numbers.iter().all(Option::is_none) {
            self.key_error(path, "nothing is promised")
                .help("add `detect`, `gap`, `recover`, `failBack`, `lost`, `slow` or `wrong`");
        }
        Some(failover)
    }
}

fn given(file: &FaultFile) -> Vec<&'static str> {
    let there = [
        file.kill.is_some(),
        file.scale_to_zero.is_some(),
        file.kill_program.is_some(),
        file.storm.is_some(),
        file.cut.is_some(),
        file.delay.is_some(),
        file.loss.is_some(),
        file.pause_api_server.is_some(),
    ];
    FAULTS.into_iter().zip(there).filter_map(|(word, there)| there.then_some(word)).collect()
}
