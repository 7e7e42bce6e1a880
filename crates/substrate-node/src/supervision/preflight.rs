//! What this machine refuses of the world, found out before anything is built, with the cure.
//!
//! The probe runs in short-lived processes that make the namespaces for themselves, so that nothing remains.

use std::fs;

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::probe;
use crate::services::nft_program;

/// Something that the world needs and this machine does not grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is needed ("user namespaces").
    pub what: String,
    /// What was seen.
    pub found: String,
    /// What to do: a command or the flags of one.
    pub cure: String,
}

/// Everything that stands in the way of a world on this machine; empty if nothing does.
///
/// Must be called while the process has a single thread, as [`super::enter_world`] must. Takes some milliseconds.
pub fn preflight() -> Vec<Problem> {
    let mut problems = Vec::new();
    if nft_program().is_none() {
        problems.push(Problem {
            what: "the program nft".to_owned(),
            found: "it is neither on PATH nor in /usr/sbin, /sbin or /usr/local/sbin".to_owned(),
            cure: "install the package nftables: `apt-get install nftables` or `dnf install nftables`".to_owned(),
        });
    }
    problems.extend(probe::everything().map(|refusal| explain(&refusal, &Surroundings::look())));
    problems
}

/// What tells one cause from another. Facts only.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) uid: u32,
    pub(super) max_user_namespaces: Option<String>,
    pub(super) unprivileged_clone: Option<String>,
    pub(super) apparmor_restriction: Option<String>,
    pub(super) seccomp_filter: bool,
    pub(super) container: bool,
}

impl Surroundings {
    fn look() -> Self {
        let sysctl =
            |path: &str| fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().to_owned());
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            uid: geteuid().as_raw(),
            max_user_namespaces: sysctl("user/max_user_namespaces"),
            unprivileged_clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restriction: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            seccomp_filter: status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')),
            container: std::env::var_os("container").is_some()
                || ["/.dockerenv", "/run/.containerenv"].iter().any(|path| fs::exists(path).unwrap_or(false)),
        }
    }

    fn is(value: &Option<String>, wanted: &str) -> bool {
        value.as_deref() == Some(wanted)
    }
}

/// Flags that make a Docker container fit for a world.
const DOCKER: &str = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
    --security-opt systempaths=unconfined ...";

/// From a refusal and its surroundings to words. Pure.
pub(super) fn explain(refusal: &probe::Refusal, around: &Surroundings) -> Problem {
    use probe::Step;
    let found = format!("{}: {}", refusal.step.attempt(), refusal.message);
    let problem =
        |what: &str, cure: &str| Problem { what: what.to_owned(), found: found.clone(), cure: cure.to_owned() };
    match refusal.step {
        Step::UserNamespace if Surroundings::is(&around.max_user_namespaces, "0") || refusal.errno == libc::ENOSPC => {
            problem(
                "user namespaces (user.max_user_namespaces is used up or 0)",
                "sudo sysctl -w user.max_user_namespaces=15000",
            )
        }
        Step::UserNamespace if Surroundings::is(&around.unprivileged_clone, "0") && around.uid != 0 => problem(
            "user namespaces (kernel.unprivileged_userns_clone is 0)",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        Step::UserNamespace if around.container || around.seccomp_filter => {
            problem("user namespaces (a container's seccomp filter refuses them)", DOCKER)
        }
        Step::UserNamespace => problem(
            "user namespaces",
            "use a kernel with CONFIG_USER_NS and a security policy that allows unshare(CLONE_NEWUSER)",
        ),
        Step::Network if refusal.errno == libc::ENOSPC => problem(
            "network namespaces (user.max_net_namespaces is used up or 0)",
            "sudo sysctl -w user.max_net_namespaces=15000",
        ),
        Step::IdMap | Step::Mounts | Step::Network if Surroundings::is(&around.apparmor_restriction, "1") => problem(
            "capabilities in user namespaces (AppArmor takes them away)",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        Step::IdMap | Step::Mounts | Step::Network if around.container => {
            problem("capabilities in user namespaces (the container's security profile takes them away)", DOCKER)
        }
        Step::IdMap | Step::Mounts | Step::Network => problem(
            "capabilities in user namespaces",
            "allow them in the security policy of this machine (AppArmor, SELinux)",
        ),
        Step::Proc => problem("a fresh /proc (parts of this one are masked)", DOCKER),
        Step::Veth => problem("veth links", "sudo modprobe veth, or a kernel with CONFIG_VETH"),
        Step::Forwarding => {
            problem("routing between namespaces", "use a kernel with CONFIG_INET that lets IFLA_INET_CONF be set")
        }
        Step::Nftables => problem(
            "nftables with address translation",
            "sudo modprobe -a nf_tables nft_chain_nat nft_numgen nft_reject_ipv4, or a kernel that has them",
        ),
        Step::MountAttributes => problem("recursive read-only mounts", "use Linux 5.12 or newer"),
        Step::Probe => problem("a process for the probe", "free process ids or memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe::{Refusal, Step};

    fn cure(step: Step, errno: i32, around: Surroundings) -> String {
        explain(&Refusal { step, message: "refused".to_owned(), errno }, &around).cure
    }

    #[test]
    fn causes_are_told_apart() {
        let text = |value: &str| Some(value.to_owned());
        let docker = Surroundings { container: true, seccomp_filter: true, ..Default::default() };
        let ubuntu = Surroundings { uid: 1000, apparmor_restriction: text("1"), ..Default::default() };
        let none_left = Surroundings { max_user_namespaces: text("0"), ..Default::default() };
        let old_debian = Surroundings { uid: 1000, unprivileged_clone: text("0"), ..Default::default() };
        assert!(cure(Step::UserNamespace, libc::EPERM, docker.clone()).contains("seccomp=unconfined"));
        assert!(cure(Step::Proc, libc::EPERM, docker).contains("systempaths=unconfined"));
        assert!(cure(Step::IdMap, libc::EPERM, ubuntu.clone()).ends_with("apparmor_restrict_unprivileged_userns=0"));
        assert!(cure(Step::Mounts, libc::EACCES, ubuntu).ends_with("apparmor_restrict_unprivileged_userns=0"));
        assert!(cure(Step::UserNamespace, libc::ENOSPC, none_left).contains("max_user_namespaces=15000"));
        assert!(cure(Step::UserNamespace, libc::EPERM, old_debian).ends_with("unprivileged_userns_clone=1"));
    }
}
