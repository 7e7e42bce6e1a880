//! Names for steps that their author gave none.

use super::convergence::reference;
use crate::scenario::keys::TokenKind;
use crate::scenario::plan::{Action, ObjectRef, Onboard};

/// What a step does, in a few words.
pub(super) fn said(action: &Action) -> String {
    match action {
        Action::Sequence(steps) => format!("{} steps", steps.len()),
        Action::Parallel(steps) => format!("{} steps at once", steps.len()),
        Action::Try(attempt) => format!("try {} steps", attempt.steps.len()),
        Action::Note(text) => text.clone(),
        Action::Apply(apply) => {
            let objects: Vec<String> =
                apply.objects.iter().filter_map(|object| reference(object).ok()).map(|object| object.key()).collect();
            let (objects, clusters) = (objects.join(", "), apply.clusters.join(", "));
            match &apply.refused {
                None => format!("apply {objects} on {clusters}"),
                Some(words) => format!("{objects} is refused on {clusters}: {words}"),
            }
        }
        Action::Delete(delete) => {
            let objects: Vec<String> = delete.objects.iter().map(ObjectRef::key).collect();
            format!("delete {} on {}", objects.join(", "), delete.clusters.join(", "))
        }
        Action::Patch(patch) => format!("patch {} on {}", patch.object.key(), patch.clusters.join(", ")),
        Action::Scale(scale) => format!("scale {} to {}", scale.workload, scale.replicas),
        Action::Replace(replace) if replace.by_force => format!("kill {}", replace.workload),
        Action::Replace(replace) => format!("restart {}", replace.workload),
        Action::Onboard(onboard) => joins(onboard),
        Action::Exec(exec) => format!("`{}` in {}", exec.command.join(" "), exec.within),
        Action::Wait(wait) => format!("{} on {} comes {}", wait.object.key(), wait.cluster, wait.until),
        Action::Link(link) => {
            let verb = if link.linked { "create" } else { "remove" };
            let pairs: Vec<String> = link.pairs.iter().map(|(reader, of)| format!("{of} on {reader}")).collect();
            format!("{verb} remote secrets: {}", pairs.join(", "))
        }
        Action::Register(register) => {
            let verb = if register.registered { "register" } else { "deregister" };
            format!("{verb} {}", register.clusters.join(", "))
        }
        Action::Converge(converge) => {
            let clusters: Vec<&str> = converge.clusters.iter().map(|cluster| cluster.cluster.as_str()).collect();
            format!("every proxy concerned acknowledges ({})", clusters.join(", "))
        }
        Action::Traffic(traffic) => format!("{} requests to {}", traffic.all_requests(), traffic.url),
        Action::Connect(connect) => format!("connect from {} to {}", connect.from.name, connect.to.name),
        Action::Reachability(matrix) => {
            format!("who of {} sources reaches {} destinations", matrix.from.len(), matrix.destinations().count())
        }
        Action::Fault(fault) => fault.kind.to_string(),
        Action::Heal(fault) => format!("`{fault}` heals"),
        Action::Background(background) => format!("requests to {} from here on", background.traffic.url),
        Action::Await(wait) => format!("{} requests more of `{}`", wait.requests, wait.traffic),
        Action::Stop(stop) => format!("stop `{}`", stop.traffic),
        Action::Config(config) => {
            format!("{} of the proxy of {}", config.path.as_deref().unwrap_or("configuration"), config.of)
        }
        Action::Control(control) => format!("control of `{}`", control.measure.name),
    }
}

fn joins(onboard: &Onboard) -> String {
    let name = &onboard.vm.name;
    match (onboard.token, onboard.certificate) {
        (TokenKind::Good, None) => format!("{name} joins anew"),
        (TokenKind::Good, Some(certificate)) => format!("{name} joins anew, with {certificate} among its files"),
        (token, _) => format!("{name} is refused with {token}"),
    }
}
