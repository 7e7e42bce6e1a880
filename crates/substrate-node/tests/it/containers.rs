//! What a container sees, may do, and says.

use requirements::{Capability, require};
use serde_json::Value;

use crate::world::{expect, run};

fn log(facts: &Value) -> Vec<&str> {
    facts["log"].as_array().expect("log lines").iter().filter_map(Value::as_str).collect()
}

#[track_caller]
fn contains(facts: &Value, lines: &[&str]) {
    let log = log(facts);
    for line in lines {
        assert!(log.contains(line), "no line {line:?} in {log:#?}");
    }
}

#[test]
fn a_container_has_a_private_root_and_no_capabilities() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("container");
    let look = &facts["look"];
    expect(look, "/code", 7);
    // The two streams are read side by side: only the lines of one have an order.
    let first: Vec<_> = log(look).into_iter().filter(|line| line.starts_with("stdout")).take(5).collect();
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let line = format!("stdout F web-0 /root {path}");
    assert_eq!(
        first,
        ["stdout F 1", "stdout F web-0", "stdout F hello world", line.as_str(), "stdout F nameserver 10.96.0.10"]
    );
    contains(
        look,
        &[
            "stderr F problem",
            "stdout F valuewrote",
            "stdout F refused",
            "stdout F read-only",
            "stdout F no-sysctl",
            "stdout F CapInh:\t0000000000000000",
            "stdout F CapPrm:\t0000000000000000",
            "stdout F CapEff:\t0000000000000000",
            "stdout F CapBnd:\t0000000000000000",
            "stdout F CapAmb:\t0000000000000000",
            "stdout F NoNewPrivs:\t1",
            "stdout F unterminated",
        ],
    );
    assert!(!log(look).contains(&"stdout F .host"), "the host's root is visible");
    expect(&facts, "/program/log/0", "stdout F /usr/local/bin/greet a b c");
    contains(&facts["strict"], &["stdout F refused", "stdout F wrote", "stdout F /scratch"]);
    expect(&facts, "/killed/code", 137);
}

#[test]
fn an_application_cannot_regain_capabilities() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("container");
    contains(
        &facts["regain"],
        &[
            "stdout F nft-refused",
            "stdout F nft-refused-in-own-user-namespace",
            "stdout F proc-refused",
            "stdout F remount-refused",
            "stdout F nsenter=1",
        ],
    );
    // The control: with the capability, the same program may.
    assert_eq!(log(&facts["keep"]), ["stdout F CapEff:\t0000000000001000", "stdout F table ip kept"]);
}

#[test]
fn commands_run_inside_with_and_without_a_terminal() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("exec");
    expect(&facts, "/looked/stdout", "1\nweb-0\nhello world\nCapBnd:\t0000000000000000\n");
    expect(&facts, "/looked/stderr", "err\n");
    expect(&facts, "/looked/code", 5);
    expect(&facts, "/echoed/stdout", "to and fro\ndone\n");
    let terminal = facts["terminal"]["stdout"].as_str().expect("a string");
    assert!(terminal.starts_with("/dev/pts/0\r\n"), "{terminal:?}");
    assert!(terminal.ends_with("got input\r\n24 80\r\n"), "{terminal:?}");
    expect(&facts, "/missing", "RunContainerError: exec: \"nonsense\": executable file not found in $PATH");
    expect(&facts, "/left", "0\n");
    // The program handles SIGTERM and ends with 3.
    expect(&facts, "/code", 3);
    expect(&facts, "/late", "RunContainerError: container main is not running");
}

#[test]
fn failures_to_start_name_their_cause_and_leave_nothing() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("failures");
    insta::assert_json_snapshot!(facts["cases"]);
    expect(&facts, "/processes", 1);
}

#[test]
fn mounts_stay_in_their_volume_and_in_the_container() {
    require!(Capability::UserNamespaces);
    require!(Capability::Nft);
    let facts = run("confinement");
    let left = "CreateContainerError: cannot set up mount of /run/volume/";
    for part in ["absolute", "relative"] {
        let refused = facts["parts"][part].as_str().unwrap_or_default();
        assert!(refused.starts_with(left) && refused.ends_with("(os error 18)"), "{part}: {facts:#}");
    }
    expect(&facts, "/parts/inner", Value::Null);
    // What a pod calls /.host is a folder of the container like any other.
    assert_eq!(log(&facts["targets"]), ["stdout F direct image linked", "stdout F inside"], "{facts:#}");
    for (target, why) in [("/proc/sys", "inside /proc"), ("/proc/self/root/x", "os error 40")] {
        let refused = facts["kernel"][target].as_str().unwrap_or_default();
        assert!(refused.contains(why), "{target}: {facts:#}");
    }
    assert_eq!(facts["made"], Value::Array(Vec::new()), "something was made outside of the container");
}
