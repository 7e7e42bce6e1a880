//! The words that say what a step does.

use crate::scenario::file::StepFile;

/// Words of the actions, as they stand in files.
pub(super) const ACTIONS: [&str; 27] = [
    "sequence",
    "parallel",
    "try",
    "note",
    "apply",
    "delete",
    "patch",
    "scale",
    "restart",
    "kill",
    "onboard",
    "exec",
    "wait",
    "link",
    "unlink",
    "register",
    "deregister",
    "converge",
    "traffic",
    "connect",
    "config",
    "reachability",
    "fault",
    "heal",
    "during",
    "stop",
    "control",
];
/// Those that a control may do.
pub(super) const CHANGES: [&str; 15] = [
    "note",
    "apply",
    "delete",
    "patch",
    "scale",
    "restart",
    "kill",
    "onboard",
    "exec",
    "wait",
    "link",
    "unlink",
    "register",
    "deregister",
    "converge",
];

/// The actions that a step has, by their words.
pub(super) fn given(file: &StepFile) -> Vec<&'static str> {
    let there = [
        file.sequence.is_some(),
        file.parallel.is_some(),
        file.attempt.is_some(),
        file.note.is_some(),
        file.apply.is_some(),
        file.delete.is_some(),
        file.patch.is_some(),
        file.scale.is_some(),
        file.restart.is_some(),
        file.kill.is_some(),
        file.onboard.is_some(),
        file.exec.is_some(),
        file.wait.is_some(),
        file.link.is_some(),
        file.unlink.is_some(),
        file.register.is_some(),
        file.deregister.is_some(),
        file.converge.is_some(),
        file.traffic.is_some(),
        file.connect.is_some(),
        file.config.is_some(),
        file.reachability.is_some(),
        file.fault.is_some(),
        file.heal.is_some(),
        file.during.is_some(),
        file.stop.is_some(),
        file.control.is_some(),
    ];
    ACTIONS.into_iter().zip(there).filter_map(|(word, there)| there.then_some(word)).collect()
}
