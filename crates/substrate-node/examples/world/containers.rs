//! Scenarios of containers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use substrate_node::fabric::{Fabric, PodNetwork};
use substrate_node::runtime::{Container, ContainerSpec, ExecSession, ExecSpec, Mount, MountSource, StartError};
use substrate_node::supervision::{self, World};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scenarios::{FOLDER, Facts, cluster, two_clusters};

pub(crate) fn spec(id: &str, command: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: id.to_owned(),
        hostname: "web-0".to_owned(),
        files: BTreeMap::new(),
        mounts: Vec::new(),
        command: command.iter().map(ToString::to_string).collect(),
        environment: vec![("GREETING".to_owned(), "hello world".to_owned())],
        working_directory: None,
        capabilities: Vec::new(),
        resolv_conf: "nameserver 10.96.0.10\n".to_owned(),
        hosts: "127.0.0.1 localhost\n".to_owned(),
        read_only_root: false,
        log_file: PathBuf::from(FOLDER).join("logs").join(id),
    }
}

/// Runs a shell script in a container to its end. Returns exit code, signal and log lines without their times.
pub(crate) async fn script(pod: &PodNetwork, spec: ContainerSpec) -> Facts {
    let log = spec.log_file.clone();
    let container = Container::spawn(spec, pod.namespace()).await?;
    let status = container.wait().await;
    let text = std::fs::read_to_string(&log)?;
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest)).collect();
    let ran = status.finished_at.duration_since(status.started_at);
    Ok(json!({"code": status.code, "signal": status.signal, "log": lines, "ranMs": ran.as_millis() as u64}))
}

pub(crate) async fn container() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let folder = PathBuf::from(FOLDER);
    std::fs::create_dir_all(folder.join("volume"))?;
    std::fs::write(folder.join("volume/key"), "value")?;
    std::fs::write(folder.join("program"), "#!/bin/sh\necho \"$0 $*\"\n")?;
    std::fs::set_permissions(folder.join("program"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mount = |target: &str, read_only| Mount {
        source: MountSource::Bind(folder.join("volume")),
        target: target.into(),
        read_only,
    };
    let look = "echo $$; hostname; echo $GREETING; echo \"$HOSTNAME $HOME $PATH\"; cat /etc/resolv.conf; echo problem >&2; \
        ls /; ls /proc | grep -c '^[0-9]'; cat /vol/key; echo x > /vol/new && echo wrote; \
        echo x > /var/run/secrets/ro/new || echo refused; ls -l /dev/null; echo x > /usr/bin/x || echo read-only; \
        echo 1 > /proc/sys/kernel/core_uses_pid || echo no-sysctl; grep -E '^(Cap|NoNew)' /proc/self/status; \
        printf unterminated; exit 7";
    let mut looking = spec("look", &["sh", "-c", look]);
    looking.mounts = vec![mount("/vol", false), mount("/var/run/secrets/ro", true)];
    let regain = "nft flush ruleset || echo nft-refused; unshare -Urn true; echo own-ns=$?; \
        unshare -Ur nft add table ip x || echo nft-refused-in-own-user-namespace; \
        unshare -Urpm --fork mount -t proc proc /proc || echo proc-refused; mount -o remount,rw /usr || echo remount-refused; \
        nsenter -t 1 -n true; echo nsenter=$?";
    let regaining = spec("regain", &["sh", "-c", regain]);
    let mut keeping = spec(
        "keep",
        &[
            "sh",
            "-c",
            "grep CapEff /proc/self/status; nft add table ip kept && nft list tables; nft delete table ip kept",
        ],
    );
    keeping.capabilities = vec!["NET_ADMIN".to_owned()];
    let mut program = spec("program", &["greet", "a", "b c"]);
    program.files.insert("/usr/local/bin/greet".into(), folder.join("program"));
    let mut strict =
        spec("strict", &["sh", "-c", "echo x > /tmp/x || echo refused; echo x > /scratch/x && echo wrote; pwd"]);
    strict.read_only_root = true;
    strict.working_directory = Some("/scratch".into());
    strict.mounts =
        vec![Mount { source: MountSource::Tmpfs { size: Some(1 << 20) }, target: "/scratch".into(), read_only: false }];
    Ok(json!({
        "look": script(&pod, looking).await?,
        "regain": script(&pod, regaining).await?,
        "keep": script(&pod, keeping).await?,
        "program": script(&pod, program).await?,
        "strict": script(&pod, strict).await?,
        "killed": script(&pod, spec("killed", &["sh", "-c", "sleep 1000 & kill -9 $!; wait $!; exit $?"])).await?,
    }))
}

pub(crate) async fn collect(mut session: ExecSession, input: Option<&str>) -> Facts {
    if let (Some(mut stdin), Some(input)) = (session.stdin.take(), input) {
        stdin.write_all(input.as_bytes()).await?;
        stdin.shutdown().await?;
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    session.stdout.read_to_string(&mut stdout).await?;
    if let Some(mut stream) = session.stderr.take() {
        stream.read_to_string(&mut stderr).await?;
    }
    Ok(json!({"stdout": stdout, "stderr": stderr, "code": session.exit.await?}))
}

pub(crate) fn command(script: &str) -> ExecSpec {
    ExecSpec { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..Default::default() }
}

pub(crate) async fn exec() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let main =
        spec("main", &["sh", "-c", "echo $$ > /tmp/pid; trap 'exit 3' TERM; while :; do sleep 1000 & wait $!; done"]);
    let container = Container::spawn(main, pod.namespace()).await?;
    let look = "cat /tmp/pid; hostname; echo $GREETING; grep CapBnd /proc/self/status; echo err >&2; exit 5";
    let looked = collect(container.exec(command(look)).await?, None).await?;
    let stdin = ExecSpec { stdin: true, ..command("cat; echo done") };
    let echoed = collect(container.exec(stdin).await?, Some("to and fro\n")).await?;
    let terminal = ExecSpec {
        tty: true,
        terminal_size: Some((132, 43)),
        ..command(
            "tty; read line; echo got $line; for n in $(seq 500); do [ \"$(stty size)\" = '24 80' ] && break; done; stty size",
        )
    };
    let mut session = container.exec(ExecSpec { stdin: true, ..terminal }).await?;
    session.resize.as_ref().ok_or("no resize")?.send((80, 24)).await?;
    let mut stdin = session.stdin.take().ok_or("no stdin")?;
    // The terminal echoes input at once: the command's first line must have come before it.
    let mut first = String::new();
    while !first.ends_with('\n') {
        first.push(char::from(session.stdout.read_u8().await?));
    }
    stdin.write_all(b"input\n").await?;
    let mut terminal = collect(session, None).await?;
    terminal["stdout"] = json!(first + terminal["stdout"].as_str().unwrap_or_default());
    drop(stdin);
    let missing = container.exec(ExecSpec { command: vec!["nonsense".to_owned()], ..Default::default() }).await;
    let start = Instant::now();
    for _ in 0..20 {
        collect(container.exec(command("true")).await?, None).await?;
    }
    let twenty = start.elapsed();
    let mut dropped = container.exec(command("sleep 4321 & echo started; wait")).await?;
    dropped.stdout.read_u8().await?;
    drop(dropped);
    let left = "for i in $(seq 100); do ps ax | grep -q '[s]leep 4321' || break; sleep 0.05; done; \
        ps ax | grep -c '[s]leep 4321'";
    let left = collect(container.exec(command(left)).await?, None).await?;
    container.signal(15)?;
    let status = container.wait().await;
    let late = container.exec(command("true")).await;
    Ok(json!({"looked": looked, "echoed": echoed, "terminal": terminal, "missing": start_error(missing.map(drop)),
        "twentyMs": twenty.as_millis() as u64, "left": left["stdout"], "code": status.code, "late": start_error(late.map(drop))}))
}

pub(crate) fn start_error(outcome: Result<(), StartError>) -> Value {
    match outcome {
        Ok(()) => json!(null),
        Err(error) => json!(format!("{}: {error}", error.reason())),
    }
}

pub(crate) async fn failures() -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let pod = cluster(&fabric, "cluster1")?.create_pod_network("web-0").await?;
    let mut cases = BTreeMap::new();
    let missing_mount = Mount { source: MountSource::Bind("/no/such".into()), target: "/x".into(), read_only: true };
    for (name, change) in [
        ("notFound", spec("f", &["nonsense"])),
        ("noFile", spec("f", &["/no/such/program"])),
        ("notExecutable", spec("f", &["/etc/passwd"])),
        ("folder", spec("f", &["/usr"])),
        ("empty", spec("f", &[])),
        ("directory", ContainerSpec { working_directory: Some("/nowhere".into()), ..spec("f", &["true"]) }),
        ("capability", ContainerSpec { capabilities: vec!["FLY".into()], ..spec("f", &["true"]) }),
        ("mount", ContainerSpec { mounts: vec![missing_mount], ..spec("f", &["true"]) }),
        ("log", ContainerSpec { log_file: "/proc/nowhere/x.log".into(), ..spec("f", &["true"]) }),
    ] {
        let outcome = Container::spawn(change, pod.namespace()).await;
        cases.insert(name, start_error(outcome.map(drop)));
    }
    let children = std::fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    Ok(json!({"cases": cases, "processes": children.count()}))
}

/// Brings up pods, says so, and waits for the end of standard input.
pub(crate) async fn idle(world: World) -> Facts {
    let fabric = Fabric::create(&two_clusters()?).await?;
    let mut pods = Vec::new();
    for name in ["cluster1", "cluster2"] {
        let pod = cluster(&fabric, name)?.create_pod_network("web-0").await?;
        let mut sleeper = spec(name, &["sh", "-c", "sleep 86399 & exec sleep 86399"]);
        sleeper.log_file = "/dev/null".into();
        let container = Container::spawn(sleeper, pod.namespace()).await?;
        pods.push((pod, container));
    }
    println!("{}", serde_json::to_string(&world)?);
    supervision::lease_ended().await;
    Ok(json!("ended"))
}
