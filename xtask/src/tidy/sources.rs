//! The shape of source files, and constructs that have one place.

use super::Problem;
use super::tree::{SourceFile, Tree};

/// Longest file, without its tests, in lines.
const LONGEST: usize = 450;

/// Files that are longer on purpose, and why. None at present.
const LONG_ON_PURPOSE: [(&str, &str); 0] = [];

/// Folders in which `unsafe` may stand.
const UNSAFE: [&str; 2] = ["crates/substrate-node/", "crates/agent/"];

/// Files that may let time pass by itself, and why. Everything else waits through `crates/eventually`. A sleep that is
/// raced against events is an alarm and needs no entry.
const TIMERS: [(&str, &str); 4] = [
    ("crates/agent/src/backoff.rs", "the pause between two attempts to connect"),
    ("crates/bookinfo/tests/it/programs.rs", "a server that is slow on purpose"),
    ("crates/eventually/src/lib.rs", "the one place to wait"),
    ("crates/kube-support/src/pause.rs", "the pause before another attempt, and alarms that their callers race"),
];

/// The counterpart of `crates/eventually` in a package that may not use it.
const OWN_TIMER: &str = "xtask/src/wait.rs";

/// Code that is not finished, or hides what it should say.
const STUBS: [(&str, &str); 5] = [
    ("todo!(", "is not finished"),
    ("unimplemented!(", "is not finished"),
    ("dbg!(", "is left over from a search"),
    ("#[ignore", "hides a test: use requirements::require!"),
    ("#[allow(", "use #[expect(…, reason = …)], which tells when it is no longer needed"),
];

/// Every file says what it is, and is not too long.
pub(super) fn shape(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.rust() {
        if !file.text.trim_start().starts_with("//!") {
            problems.push(Problem::new(&file.path, "does not begin with `//!`: say what it does and does not do"));
        }
        let lines = file.without_tests().lines().count();
        let on_purpose = LONG_ON_PURPOSE.iter().any(|(path, _)| *path == file.path);
        if lines > LONGEST && !on_purpose {
            problems.push(Problem::new(
                &file.path,
                format!("has {lines} lines without its tests, more than {LONGEST}: split it"),
            ));
        }
        if lines <= LONGEST && on_purpose {
            problems.push(Problem::new(&file.path, "is listed as long on purpose, and is not long"));
        }
    }
    problems
}

/// No unsafe code, bare sleep or stub stands outside its place.
pub(super) fn constructs(tree: &Tree) -> Vec<Problem> {
    let mut problems: Vec<_> = tree.rust().flat_map(constructs_of).collect();
    let sleeps = |path: &str| tree.file(path).is_some_and(|file| !sleeps(&file.code()).is_empty());
    let idle = TIMERS.iter().filter(|(path, _)| tree.file(path).is_some() && !sleeps(path));
    problems.extend(idle.map(|(path, _)| Problem::new(*path, "is listed as a timer, and has none")));
    problems
}

fn constructs_of(file: &SourceFile) -> Vec<Problem> {
    let may_be_unsafe = UNSAFE.iter().any(|folder| file.path.starts_with(folder));
    let may_sleep = file.path == OWN_TIMER || TIMERS.iter().any(|(path, _)| *path == file.path);
    let mut problems = Vec::new();
    let code = file.code();
    if !may_sleep {
        let text = "waits without a condition: use crates/eventually or a watch, or list it as a timer";
        // Under a clock that stands still, a sleep in a test moves the clock.
        let end =
            if file.text.contains("start_paused = true") { file.without_tests().lines().count() } else { usize::MAX };
        let lines = sleeps(&code).into_iter().filter(|line| *line <= end);
        problems.extend(lines.map(|line| Problem::new(format!("{}:{line}", file.path), text)));
    }
    for (number, (line, original)) in code.lines().zip(file.text.lines()).enumerate() {
        let mut complain = |text: &str| problems.push(Problem::new(format!("{}:{}", file.path, number + 1), text));
        if !may_be_unsafe && is_unsafe(line) {
            complain("unsafe code belongs into crates/substrate-node, or the agent's socket mark");
        }
        for (stub, why) in STUBS {
            // A program that a test starts can be had as a test that is no test.
            if line.contains(stub) && !original.contains("#[ignore = \"not a test: ") {
                complain(&format!("`{stub}…)` {why}"));
            }
        }
    }
    problems
}

fn is_unsafe(line: &str) -> bool {
    let words = line.split(|sign: char| !sign.is_alphanumeric() && sign != '_' && sign != '#');
    words.into_iter().any(|word| word == "unsafe")
}

/// Lines of calls that let time pass and do nothing else: of a thread, or awaited alone.
fn sleeps(code: &str) -> Vec<usize> {
    let calls =
        ["sleep(", "sleep_until("].into_iter().flat_map(|call| code.match_indices(call).map(move |(at, _)| (at, call)));
    let bare = calls.filter(|(at, call)| {
        let before = &code[..*at];
        // A function of this name that is declared, and one whose name only ends so, are none.
        let part_of_name = before.ends_with(|sign: char| sign.is_alphanumeric() || sign == '_');
        let declared = before.trim_end().ends_with("fn");
        let of_thread = before.ends_with("thread::");
        !part_of_name && !declared && (of_thread || awaited(&code[at + call.len()..]))
    });
    let mut lines: Vec<_> = bare.map(|(at, _)| code[..at].matches('\n').count() + 1).collect();
    lines.sort_unstable();
    lines
}

/// Whether the call whose arguments begin here is awaited.
fn awaited(arguments: &str) -> bool {
    let mut depth = 1;
    for (at, sign) in arguments.char_indices() {
        match sign {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return arguments[at + 1..].trim_start().starts_with(".await");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::tree::made::files;
    use super::*;

    fn of(path: &str, text: &str) -> Vec<Problem> {
        constructs(&files(&[(path, text)]))
    }

    #[test]
    fn a_file_without_words_about_itself_or_too_long_is_found() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(LONGEST));
        let tests = format!("//! Short.\n\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(LONGEST));
        let tree = files(&[("a.rs", "fn f() {}\n"), ("b.rs", &long), ("c.rs", &tests), ("d/tests/it/main.rs", &long)]);
        let places: Vec<_> = shape(&tree).into_iter().map(|problem| problem.place).collect();
        assert_eq!(places, ["a.rs", "b.rs"]);
    }

    #[test]
    fn unsafe_code_has_its_place() {
        let code = "//! unsafe\nfn f() {\n    unsafe { g() }\n}\n#![expect(unsafe_code)]\nlet s = \"unsafe\";\n";
        assert_eq!(of("crates/pilot/src/a.rs", code).len(), 1);
        assert_eq!(of("crates/pilot/src/a.rs", code)[0].place, "crates/pilot/src/a.rs:3");
        assert_eq!(of("crates/substrate-node/src/a.rs", code), []);
    }

    #[test]
    fn a_bare_sleep_is_found_also_in_tests_and_a_list_entry_without_one() {
        for call in [
            "tokio::time::sleep(f(d)).await;",
            "thread::sleep(d);",
            "sleep(d)\n.await;",
            "time::sleep_until(at).await;",
        ] {
            assert_eq!(of("harness/tests/it/main.rs", &format!("//! T.\nfn f() {{ {call} }}\n")).len(), 1, "{call}");
        }
        let alarm = "() = tokio::time::sleep_until(at) => return,";
        for call in ["fn sleep(d: Duration) {}", "oversleep(d);", "// sleep(d).await", alarm] {
            assert_eq!(of("harness/src/a.rs", call), [], "{call}");
        }
        assert_eq!(of("crates/eventually/src/lib.rs", "//! E.\ntokio::time::sleep(every).await;"), []);
        let paused = "//! P.\n\n#[cfg(test)]\nmod tests {\n#[tokio::test(start_paused = true)]\nasync fn t() { sleep(d).await }\n}\n";
        assert_eq!(of("harness/src/a.rs", paused), []);
        assert_eq!(of("harness/src/a.rs", &paused.replace("start_paused = true", "")).len(), 1);
        assert_eq!(of("crates/eventually/src/lib.rs", "//! E.\n")[0].text, "is listed as a timer, and has none");
    }

    #[test]
    fn stubs_and_silenced_tests_are_found() {
        for stub in
            ["todo!()", "unimplemented!(\"x\")", "dbg!(x)", "#[ignore]", "#[ignore = \"slow\"]", "#[allow(dead_code)]"]
        {
            assert_eq!(of("harness/src/a.rs", stub).len(), 1, "{stub}");
        }
        for fine in ["#[expect(dead_code, reason = \"x\")] // todo!()", "#[ignore = \"not a test: a server\"]"] {
            assert_eq!(of("harness/src/a.rs", fine), [], "{fine}");
        }
    }
}
