//! Whether the management plane works and everything that people asked of it holds: a judgement of [`Facts`]. Pure.

use super::facts::{Agent, Facts, Leader, Program, Registered, Resource};
use super::table::or_dash;
use crate::report::RunOutcome;

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// A resource is not in force.
    NotInForce,
    /// The plane itself does not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub grade: Grade,
    /// What it is about: `manager`, `cluster east`, `TrafficPolicy bookinfo/reviews`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do; empty where nothing is to be done.
    pub cure: String,
}

impl Finding {
    fn new(grade: Grade, subject: &str, message: impl Into<String>, cure: &str) -> Self {
        Self { grade, subject: subject.to_owned(), message: message.into(), cure: cure.to_owned() }
    }
}

/// Judges everything, in the order in which people look: manager, clusters, resources.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![manager(&facts.manager)];
    if facts.manager.ready > 0 {
        findings.push(leader(facts.lease.as_ref()));
    }
    if facts.clusters.is_empty() {
        let cure = "`meshproof mesh register NAME` registers one";
        findings.push(Finding::new(Grade::Warning, "clusters", "no cluster is registered", cure));
    }
    for cluster in &facts.clusters {
        findings.push(registered(cluster));
        findings.push(agent(cluster, &facts.manager));
    }
    findings.extend(facts.resources.iter().map(resource));
    findings
}

/// How a check ends that found this.
#[must_use]
pub fn outcome(findings: &[Finding]) -> RunOutcome {
    match findings.iter().map(|finding| finding.grade).max() {
        None | Some(Grade::Good | Grade::Warning) => RunOutcome::Passed,
        Some(Grade::NotInForce) => RunOutcome::MeshFailed,
        Some(Grade::Broken) => RunOutcome::EnvironmentFailed,
    }
}

fn manager(program: &Program) -> Finding {
    let subject = "manager";
    if !program.exists {
        let cure = "install it: `meshproof mesh install`";
        return Finding::new(Grade::Broken, subject, "it is not installed", cure);
    }
    if program.desired == 0 {
        let message = "it is scaled to nothing: traffic goes on, changes wait";
        let cure = "kubectl -n meshproof-hub scale deployment/hub-manager --replicas 1";
        return Finding::new(Grade::Broken, subject, message, cure);
    }
    let ready = format!("{} of {} ready, {}", program.ready, program.desired, program.image);
    if program.ready == 0 {
        let cure = "kubectl -n meshproof-hub logs deployment/hub-manager says why";
        return Finding::new(Grade::Broken, subject, ready, cure);
    }
    let grade = if program.ready < program.desired { Grade::Warning } else { Grade::Good };
    Finding::new(grade, subject, ready, "")
}

fn leader(lease: Option<&Leader>) -> Finding {
    let subject = "leader";
    let cure = "kubectl -n meshproof-hub logs deployment/hub-manager says why nobody leads";
    match lease {
        None => Finding::new(Grade::Broken, subject, "nobody has led yet", cure),
        Some(lease) if lease.holder.is_empty() => Finding::new(Grade::Broken, subject, "nobody leads at present", cure),
        Some(lease) if lease.age > lease.duration => {
            let message = format!(
                "{} leads no more: renewed {} s ago, it holds for {} s",
                lease.holder, lease.age, lease.duration
            );
            Finding::new(Grade::Broken, subject, message, cure)
        }
        Some(lease) => Finding::new(Grade::Good, subject, lease.holder.clone(), ""),
    }
}

fn registered(cluster: &Registered) -> Finding {
    let subject = format!("cluster {}", cluster.name);
    if !cluster.has_secret {
        let message = "the Secret with its kubeconfig is gone";
        let cure = format!("register it again: `meshproof mesh register {}`", cluster.name);
        return Finding::new(Grade::Broken, &subject, message, &cure);
    }
    if cluster.state != "ACTIVE" {
        let message = said(&cluster.state, &cluster.errors);
        let cure = format!(
            "see whether its API server runs and is reached from the management cluster; with another address or an \
             expired token `meshproof mesh register {}` again",
            cluster.name
        );
        return Finding::new(Grade::Broken, &subject, message, &cure);
    }
    if !cluster.is_current {
        let message = "its status is of an earlier generation";
        return Finding::new(Grade::Broken, &subject, message, "see whether the manager runs");
    }
    if !cluster.has_mesh {
        let cure = "install Istio there, or take the cluster away by `meshproof mesh deregister`";
        return Finding::new(Grade::Warning, &subject, "ACTIVE, without a mesh", cure);
    }
    Finding::new(Grade::Good, &subject, "ACTIVE", "")
}

fn agent(cluster: &Registered, manager: &Program) -> Finding {
    let subject = format!("agent of {}", cluster.name);
    let cure = format!("register it again: `meshproof mesh register {}`", cluster.name);
    match &cluster.agent {
        Agent::Found(true) => Finding::new(Grade::Good, &subject, "found", ""),
        Agent::Found(false) => Finding::new(Grade::Broken, &subject, "none was found", &cure),
        Agent::Unknown => {
            let message = "unknown: its cluster was not found yet, or not named";
            Finding::new(Grade::Warning, &subject, message, "")
        }
        Agent::Failed(message) => {
            Finding::new(Grade::Broken, &subject, message.clone(), "see whether its API server runs")
        }
        Agent::Seen(program) if !program.exists => Finding::new(Grade::Broken, &subject, "it is not there", &cure),
        Agent::Seen(program) => {
            let message = format!("{} of {} ready, {}", program.ready, program.desired, program.image);
            if program.ready == 0 {
                let cure = "kubectl -n meshproof-hub logs deployment/hub-agent in that cluster says why";
                return Finding::new(Grade::Broken, &subject, message, cure);
            }
            if version(&program.image) != version(&manager.image) {
                let message = format!("{message}, while the manager is {}", manager.image);
                return Finding::new(Grade::Warning, &subject, message, &cure);
            }
            Finding::new(Grade::Good, &subject, message, "")
        }
    }
}

fn resource(resource: &Resource) -> Finding {
    let subject = format!("{} {}", resource.kind, resource.name);
    let describe = format!("meshproof mesh describe {} {}", argument(&resource.kind), resource.name);
    if resource.observed_generation != resource.generation {
        let message =
            format!("its status is about generation {}, it has {}", resource.observed_generation, resource.generation);
        return Finding::new(Grade::NotInForce, &subject, message, "see whether the manager runs and leads");
    }
    let message = said(&resource.state, &resource.errors);
    match resource.state.as_str() {
        "ACTIVE" if resource.warnings.is_empty() => Finding::new(Grade::Good, &subject, message, ""),
        "ACTIVE" => {
            let message = format!("{message}: {}", resource.warnings.join("; "));
            Finding::new(Grade::Warning, &subject, message, &describe)
        }
        "INVALID" => {
            let cure = format!("correct it; `{describe}` shows each target");
            Finding::new(Grade::NotInForce, &subject, message, &cure)
        }
        "FAILED" => {
            let cure = format!("what could not be written is tried again; `{describe}` shows where");
            Finding::new(Grade::NotInForce, &subject, message, &cure)
        }
        _ => {
            let cure = format!("not every proxy has it yet; where that stays so, `{describe}` shows who is missing");
            Finding::new(Grade::NotInForce, &subject, message, &cure)
        }
    }
}

/// A kind as the command line has it: `traffic-policy`.
fn argument(kind: &str) -> String {
    let mut word = String::new();
    for sign in kind.chars() {
        if sign.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(sign.to_ascii_lowercase());
    }
    word
}

fn said(state: &str, errors: &[String]) -> String {
    let state = or_dash(state);
    if errors.is_empty() { state } else { format!("{state}: {}", errors.join("; ")) }
}

fn version(image: &str) -> &str {
    image.rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// Findings as lines for people; what is good on one line each, what is not with what to do.
#[must_use]
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.grade {
            Grade::Good => "ok     ",
            Grade::Warning => "warning",
            Grade::NotInForce | Grade::Broken => "error  ",
        };
        text.push_str(&format!("{mark} {}: {}\n", finding.subject, finding.message));
        if finding.grade != Grade::Good && !finding.cure.is_empty() {
            text.push_str(&format!("          do: {}\n", finding.cure));
        }
    }
    let count = |wanted: &dyn Fn(Grade) -> bool| findings.iter().filter(|finding| wanted(finding.grade)).count();
    let errors = count(&|grade| grade > Grade::Warning);
    let warnings = count(&|grade| grade == Grade::Warning);
    text.push_str(&format!("{} looked at, {errors} errors, {warnings} warnings\n", findings.len()));
    text
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
