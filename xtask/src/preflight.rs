//! Turns what the machine refused into a cause and a cure. The explaining is pure; the facts are read once.

use std::path::Path;

use crate::finding::Finding;
use crate::namespaces::{self, Obstacle};

/// What must be given to `docker run` for the embedded world.
const DOCKER_FLAGS: &str = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined \
                            --security-opt apparmor=unconfined";

/// Facts of the machine that tell causes apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    container: bool,
    apparmor_restricts: bool,
    clone_forbidden: bool,
    no_namespaces_allowed: bool,
    package_manager: Option<&'static str>,
}

impl Machine {
    /// Reads the facts.
    pub(crate) fn look() -> Self {
        let setting = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let managers = [
            ("/usr/bin/apt-get", "sudo apt-get install -y nftables"),
            ("/usr/bin/dnf", "sudo dnf install -y nftables"),
            ("/sbin/apk", "sudo apk add nftables"),
            ("/usr/bin/pacman", "sudo pacman -S nftables"),
            ("/usr/bin/zypper", "sudo zypper install nftables"),
        ];
        Self {
            container: Path::new("/.dockerenv").exists()
                || Path::new("/run/.containerenv").exists()
                || std::env::var_os("container").is_some(),
            apparmor_restricts: setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref()
                == Some("1"),
            clone_forbidden: setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0"),
            no_namespaces_allowed: setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0"),
            package_manager: managers.iter().find(|(path, _)| Path::new(path).exists()).map(|(_, command)| *command),
        }
    }

    fn docker_cure(&self) -> String {
        format!("start the container with these flags added:\ndocker run {DOCKER_FLAGS} …")
    }
}

/// What the embedded world would meet on this machine.
pub(crate) fn findings() -> Vec<Finding> {
    let machine = Machine::look();
    namespaces::look().iter().map(|obstacle| explain(obstacle, &machine)).collect()
}

/// What an obstacle means on a machine.
pub(crate) fn explain(obstacle: &Obstacle, machine: &Machine) -> Finding {
    let finding = |what: &str, cause: String, cure: String| Finding { what: what.to_owned(), cause, cure };
    match obstacle {
        Obstacle::Unshare { errno } | Obstacle::Map { errno } | Obstacle::Capabilities { errno } => {
            let (cause, cure) = refused(obstacle, errno, machine);
            finding("this machine refuses new namespaces, in which the embedded clusters live", cause, cure)
        }
        Obstacle::Proc { errno } => {
            let cause = format!(
                "mounting a fresh /proc fails with {errno}: parts of this process's own /proc are masked, as container \
                 runtimes do, and the kernel then shows no other"
            );
            let cure = if machine.container {
                machine.docker_cure()
            } else {
                "unmount what is mounted over files below /proc, or run outside this sandbox".to_owned()
            };
            finding("pods cannot have their own /proc", cause, cure)
        }
        Obstacle::NftMissing => {
            let cure = machine.package_manager.unwrap_or("install the package nftables");
            finding("there is no `nft` on PATH", "Services and sidecar capture are nftables rules".to_owned(), cure.to_owned())
        }
        Obstacle::NftFails { text } => finding(
            "`nft` cannot load rules into a new network namespace",
            if text.is_empty() { "it gives no reason".to_owned() } else { text.clone() },
            "load the kernel's modules on the host: sudo modprobe -a nf_tables nft_chain_nat nft_redir nft_masq nft_numgen"
                .to_owned(),
        ),
        Obstacle::Unknown { text } => finding(
            "the look at this machine's namespaces did not come to an end",
            text.clone(),
            "run it by hand: unshare --user --map-root-user --net --mount --pid --fork --mount-proc true".to_owned(),
        ),
    }
}

/// Cause and cure where namespaces, or power in them, are refused. The order goes from what is certain to what is likely.
fn refused(obstacle: &Obstacle, errno: &str, machine: &Machine) -> (String, String) {
    if machine.no_namespaces_allowed {
        let cause = "user.max_user_namespaces is 0".to_owned();
        return (cause, "sudo sysctl -w user.max_user_namespaces=15000".to_owned());
    }
    let unshared = !matches!(obstacle, Obstacle::Unshare { .. });
    if machine.apparmor_restricts && unshared {
        let cause = format!(
            "AppArmor lets ordinary users make user namespaces, but without capabilities in them ({errno}); \
             kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu from 23.10 on"
        );
        return (cause, "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".to_owned());
    }
    if machine.container {
        let cause = format!("the container's seccomp or AppArmor profile refuses ({errno}), as Docker's default does");
        return (cause, machine.docker_cure());
    }
    if machine.clone_forbidden {
        let cause = "kernel.unprivileged_userns_clone is 0".to_owned();
        return (cause, "sudo sysctl -w kernel.unprivileged_userns_clone=1".to_owned());
    }
    if errno == "ENOSPC" || errno == "EUSERS" {
        let cause = format!("the limit of user namespaces is reached ({errno})");
        return (cause, "sudo sysctl -w user.max_user_namespaces=15000".to_owned());
    }
    let step = match obstacle {
        Obstacle::Unshare { .. } => "making them",
        Obstacle::Map { .. } => "becoming root in them",
        _ => "mounting in them",
    };
    let cause = format!("{step} fails with {errno}");
    let cure = "ask who runs this machine to allow unprivileged user namespaces, or use `--provider kind`".to_owned();
    (cause, cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unshare() -> Obstacle {
        Obstacle::Unshare { errno: "EPERM".to_owned() }
    }

    fn capabilities() -> Obstacle {
        Obstacle::Capabilities { errno: "EPERM".to_owned() }
    }

    #[test]
    fn docker_gets_its_flags() {
        let machine = Machine { container: true, ..Machine::default() };
        for obstacle in [unshare(), Obstacle::Proc { errno: "EPERM".to_owned() }] {
            let cure = explain(&obstacle, &machine).cure;
            assert!(cure.contains("--security-opt seccomp=unconfined"), "{cure}");
            assert!(cure.contains("--security-opt systempaths=unconfined"), "{cure}");
        }
    }

    #[test]
    fn ubuntus_limit_is_told_from_a_refusal() {
        let machine = Machine { apparmor_restricts: true, ..Machine::default() };
        let finding = explain(&capabilities(), &machine);
        assert!(finding.cause.contains("without capabilities"), "{}", finding.cause);
        assert_eq!(finding.cure, "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
        let finding = explain(&unshare(), &machine);
        assert!(!finding.cure.contains("apparmor"), "a refused unshare has another cause: {}", finding.cure);
    }

    #[test]
    fn settings_of_the_kernel_are_named() {
        let machine = Machine { no_namespaces_allowed: true, container: true, ..Machine::default() };
        assert_eq!(explain(&unshare(), &machine).cure, "sudo sysctl -w user.max_user_namespaces=15000");
        let machine = Machine { clone_forbidden: true, ..Machine::default() };
        assert_eq!(explain(&unshare(), &machine).cure, "sudo sysctl -w kernel.unprivileged_userns_clone=1");
    }

    #[test]
    fn a_missing_nft_gets_this_systems_command() {
        let machine = Machine { package_manager: Some("sudo apt-get install -y nftables"), ..Machine::default() };
        assert_eq!(explain(&Obstacle::NftMissing, &machine).cure, "sudo apt-get install -y nftables");
    }
}
