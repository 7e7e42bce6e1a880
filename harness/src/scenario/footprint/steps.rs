//! What each step reads and writes.

use std::collections::BTreeSet;

use super::objects::Written;
use super::{Footprint, Service, Thing};
use crate::scenario::plan::{Action, Deployment, Plan, Step, Traffic, Until, Wait};
use crate::topology::{GatewayKind, Workload};

/// Namespace of control planes and gateways.
pub(super) const MESH_NAMESPACE: &str = "istio-system";

/// Of a whole plan.
pub(super) fn footprint(plan: &Plan) -> Footprint {
    let mut look =
        Look { footprint: Footprint::default(), written: Written::of(plan), workloads: plan.topology.workloads() };
    if plan.time_budget.is_some() {
        look.footprint.be_alone("it has a time budget");
    }
    if !plan.topology.vms.is_empty() {
        look.footprint.be_alone("its topology has virtual machines, which are endpoints of Services beside pods");
    }
    // What is applied on the primary holds for its remotes, too.
    let is_shared = plan.topology.meshed().any(|cluster| cluster.control_plane.is_some());
    if is_shared && !look.written.is_empty() {
        look.footprint.be_alone("it changes what holds for several clusters: they share a control plane");
    }
    look.steps(&plan.steps);
    look.steps(&plan.finally);
    if let Some(required) = plan.requires.first() {
        look.footprint.be_alone(format!("it requires {}", required.word()));
    }
    look.footprint
}

/// A walk through the steps of a plan.
pub(super) struct Look {
    pub(super) footprint: Footprint,
    pub(super) written: Written,
    pub(super) workloads: Vec<Workload>,
}

impl Look {
    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
            step.members().into_iter().for_each(|members| self.steps(members));
            self.steps(&step.cleanup);
        }
    }

    fn step(&mut self, step: &Step) {
        match &step.action {
            // Groups are what their members are; a convergence waits for changes of the scenario's own.
            Action::Sequence(_) | Action::Parallel(_) | Action::Try(_) | Action::Note(_) | Action::Converge(_) => {}
            Action::Apply(apply) => apply.objects.iter().for_each(|object| self.object(&apply.clusters, object)),
            Action::Delete(delete) => delete.objects.iter().for_each(|object| self.named(&delete.clusters, object)),
            Action::Patch(patch) => self.patch(patch),
            Action::Scale(scale) => self.change(&scale.workload),
            Action::Replace(replace) => self.change(&replace.workload),
            Action::Onboard(_) => self.footprint.be_alone("a virtual machine joins anew"),
            Action::Exec(exec) => self.change(&exec.within),
            Action::Wait(wait) => self.wait(wait),
            Action::Link(_) => self.footprint.be_alone("it creates or removes remote secrets"),
            Action::Register(_) => self.footprint.be_alone("it registers clusters or takes them away"),
            Action::Traffic(traffic) => self.traffic(traffic),
            Action::Connect(connect) => {
                self.read_workload(&connect.from);
                self.read_workload(&connect.to);
                self.cross(&connect.from.cluster, &connect.to.cluster);
            }
            Action::Config(config) => self.config(&config.of),
            Action::Reachability(_) => self.footprint.be_alone("it asks every service from everywhere"),
            Action::Fault(fault) => match fault.kind.gone() {
                Some(workload) => self.change(workload),
                None => self.footprint.be_alone(format!("fault: {}", fault.kind)),
            },
            // The fault itself is looked at where it begins.
            Action::Heal(_) => {}
            Action::Background(_) | Action::Await(_) | Action::Stop(_) => {
                self.footprint.be_alone("it sends requests at a fixed rate");
            }
            Action::Control(control) => {
                self.steps(&control.change);
                self.step(&control.measure);
                control.measure.members().into_iter().for_each(|members| self.steps(members));
                self.steps(&control.restore);
                self.checks(&control.expectations);
            }
        }
        self.checks(step.expectations());
    }

    /// Pods of a workload come and go, or something is done in them.
    fn change(&mut self, deployment: &Deployment) {
        if deployment.namespace == MESH_NAMESPACE || deployment.namespace == mesh_types::hub::names::NAMESPACE {
            self.footprint.be_alone(format!("it changes {deployment}"));
            return;
        }
        self.footprint.writes.insert(workload(deployment));
    }

    fn wait(&mut self, wait: &Wait) {
        let object = &wait.object;
        let namespace = object.namespace.clone().unwrap_or_default();
        let is_own = self
            .workloads
            .iter()
            .any(|one| one.cluster == wait.cluster && one.namespace == namespace && one.name == object.name);
        if object.kind == "Deployment" && is_own {
            let (cluster, name) = (wait.cluster.clone(), object.name.clone());
            self.footprint.reads.insert(Thing::Workload { cluster, namespace, name });
        } else if matches!(wait.until, Until::Exists | Until::Gone) && self.written.has(object) {
            self.footprint.reads.insert(Thing::Object(object.clone()));
        } else {
            self.footprint.be_alone(format!("it waits for {}", object.key()));
        }
    }

    fn traffic(&mut self, traffic: &Traffic) {
        if traffic.rate.is_some() {
            self.footprint.be_alone("it sends requests at a fixed rate");
        }
        if traffic.workers.is_some() {
            self.footprint.be_alone("it makes pods that send requests");
        }
        traffic.from.iter().for_each(|from| self.traffic_from(from, &traffic.url));
    }

    fn traffic_from(&mut self, from: &Workload, url: &str) {
        self.read_workload(from);
        let Some(service) = host_of(url).and_then(|host| self.service(&host, &from.namespace)) else {
            self.footprint.be_alone(format!("it calls {url}, which is no service of the topology"));
            return;
        };
        self.footprint.writes.insert(Thing::Calls {
            cluster: from.cluster.clone(),
            namespace: from.namespace.clone(),
            app: from.app.clone(),
            to: service.clone(),
        });
        self.calls(&BTreeSet::from([from.cluster.clone()]), &service);
    }

    /// Callers on these clusters call a service, whose pods call others in turn.
    fn calls(&mut self, callers: &BTreeSet<String>, service: &Service) {
        let route = |cluster: &String| Thing::Route { cluster: cluster.clone(), service: service.clone() };
        self.footprint.reads.extend(callers.iter().map(route));
        let servers = self.servers(service);
        self.footprint.reads.extend(servers.iter().map(thing));
        let clusters: BTreeSet<String> = servers.iter().map(|server| server.cluster.clone()).collect();
        let gateway = |cluster: &String| Thing::Gateway { cluster: cluster.clone(), kind: GatewayKind::Eastwest };
        self.footprint.reads.extend(clusters.iter().map(gateway));
        let entrance = |cluster: &String| Thing::Entrance { cluster: cluster.clone(), service: service.clone() };
        self.footprint.reads.extend(clusters.iter().map(entrance));
        let Some(others) = upstreams(&service.name) else {
            self.footprint.be_alone(format!("it is not known whom {} calls", service.name));
            return;
        };
        for other in others {
            let other = Service { namespace: service.namespace.clone(), name: (*other).to_owned() };
            self.footprint.reads.extend(servers.iter().map(|server| Thing::Calls {
                cluster: server.cluster.clone(),
                namespace: server.namespace.clone(),
                app: server.app.clone(),
                to: other.clone(),
            }));
            self.calls(&clusters, &other);
        }
    }

    /// What a proxy holds comes from every service that it may call.
    fn config(&mut self, of: &Deployment) {
        if of.namespace == MESH_NAMESPACE {
            self.footprint.be_alone(format!("it asks {of} for what it holds"));
            return;
        }
        self.footprint.reads.insert(workload(of));
        let all = self.workloads.clone();
        for server in all {
            let service = Service { namespace: server.namespace.clone(), name: server.app.clone() };
            self.footprint.reads.insert(thing(&server));
            self.footprint.reads.insert(Thing::Route { cluster: of.cluster.clone(), service });
        }
    }

    /// What passes between networks is seen by whoever looks at gateways and links.
    fn cross(&mut self, from: &str, to: &str) {
        if from != to {
            let gateway = |cluster: &str| Thing::Gateway { cluster: cluster.to_owned(), kind: GatewayKind::Eastwest };
            self.footprint.reads.extend([gateway(from), gateway(to)]);
        }
    }

    fn read_workload(&mut self, workload: &Workload) {
        self.footprint.reads.insert(thing(workload));
    }

    /// The pods behind a service.
    pub(super) fn servers(&self, service: &Service) -> Vec<Workload> {
        let serves = |one: &&Workload| one.namespace == service.namespace && one.app == service.name;
        self.workloads.iter().filter(serves).cloned().collect()
    }

    /// The service that a host means to somebody in a namespace; `None` where no workload of the topology serves it.
    pub(super) fn service(&self, host: &str, namespace: &str) -> Option<Service> {
        let mut parts = host.split('.');
        let name = parts.next()?.to_owned();
        let namespace = parts.next().unwrap_or(namespace).to_owned();
        let rest: Vec<&str> = parts.collect();
        let service = Service { namespace, name };
        let is_local = rest.is_empty() || rest == ["svc"] || rest == ["svc", "cluster", "local"];
        (is_local && !self.servers(&service).is_empty()).then_some(service)
    }
}

/// Whom the pods of a service call; `None` of an application that is not known here.
fn upstreams(service: &str) -> Option<&'static [&'static str]> {
    match service {
        "productpage" => Some(&["details", "reviews"]),
        "reviews" => Some(&["ratings"]),
        "details" | "ratings" | "echo" | "probe" | "sleep" => Some(&[]),
        _ => None,
    }
}

pub(super) fn thing(workload: &Workload) -> Thing {
    let Workload { cluster, namespace, name, .. } = workload.clone();
    Thing::Workload { cluster, namespace, name }
}

pub(super) fn workload(deployment: &Deployment) -> Thing {
    let Deployment { cluster, namespace, name, .. } = deployment.clone();
    Thing::Workload { cluster, namespace, name }
}

/// The host of an absolute URL, without its port.
fn host_of(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    (!host.is_empty() && !host.contains(['@', '[', ']'])).then(|| host.to_owned())
}
