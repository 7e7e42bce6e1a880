//! What the preflight says of machines that lack something. The lack is made in a namespace of the test's own.

use std::process::Command;

use requirements::{Capability, require};
use substrate_node::supervision::Problem;

use crate::world::program;

/// Problems of a machine that the shell script `lack` has prepared.
fn problems(lack: &str) -> Vec<Problem> {
    let program = program();
    let script = format!("{lack}\nexec {} preflight", program.display());
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-ec", &script])
        .output()
        .expect("unshare runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{lack}: {stderr}");
    serde_json::from_slice(&output.stdout).expect("problems are JSON")
}

#[test]
fn a_machine_that_runs_worlds_has_no_problems() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let output = Command::new(program()).arg("preflight").output().expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[]");
}

#[test]
fn refused_user_namespaces_are_named_with_the_sysctl() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let problems = problems("echo 0 > /proc/sys/user/max_user_namespaces");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].cure, "sudo sysctl -w user.max_user_namespaces=15000");
}

#[test]
fn a_masked_proc_is_named_with_the_flags() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let problems = problems("mount -t tmpfs none /proc/irq");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].cure.contains("--security-opt systempaths=unconfined"), "{problems:?}");
}

#[test]
fn refused_network_namespaces_are_named() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let problems = problems("echo 0 > /proc/sys/user/max_net_namespaces");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].cure, "sudo sysctl -w user.max_net_namespaces=15000");
}

#[test]
fn a_missing_nft_is_named_with_its_package() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let hidden = "for d in $(echo $PATH | tr : ' ') /usr/sbin /sbin /usr/local/sbin; do \
        if [ -e $d/nft ]; then mount --bind /dev/null $d/nft; fi; done";
    let problems = problems(hidden);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].cure.contains("nftables"), "{problems:?}");
}
