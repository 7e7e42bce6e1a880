//! Takes out of a transcript what differs from run to run: ages, times, addresses, random names, kernel versions.
//! Columns lose their width with it, so that every gap becomes two spaces.

use std::net::Ipv4Addr;

/// The text without what is random.
pub(crate) fn redact(text: &str) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What was typed is not random.
    let lines = text.lines().map(|line| match line.starts_with("$ ") {
        true => line.to_owned(),
        false => redact_line(without_date(line), kernel.trim()),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Cuts a date such as `Sat, 21 Nov 2026 03:01:24 +0000` from the end of a line.
fn without_date(line: &str) -> &str {
    let date = line.ends_with(" +0000").then(|| line.rfind(", ")).flatten();
    // The comma stands behind the three letters of the weekday.
    date.map_or(line, |comma| line[..comma - 3].trim_end())
}

fn redact_line(line: &str, kernel: &str) -> String {
    if let Some(end) =
        ["resourceVersion: ", "Resource Version: "].iter().find_map(|key| Some(line.find(key)? + key.len()))
    {
        return format!("{}NUMBER", &line[..end]);
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    let mut words = Vec::new();
    let mut gap = 0;
    for word in line.trim_start_matches(' ').split(' ') {
        if word.is_empty() {
            gap += 1;
            continue;
        }
        if !words.is_empty() {
            words.push(if gap > 0 { "  ".to_owned() } else { " ".to_owned() });
        }
        gap = 0;
        words.push(if !kernel.is_empty() && word == kernel { "KERNEL".to_owned() } else { redact_word(word) });
    }
    format!("{}{}", " ".repeat(indent), words.concat()).trim_end().to_owned()
}

/// A word may be wrapped in punctuation, and hold several parts between commas, slashes and colons.
fn redact_word(word: &str) -> String {
    let is_edge = |c: char| matches!(c, '(' | ')' | '"' | '\'' | '[' | ']' | ';' | '.' | ':');
    let core = word.trim_matches(is_edge);
    if core.is_empty() {
        return word.to_owned();
    }
    if core.parse::<jiff::Timestamp>().is_ok() {
        return word.replace(core, "TIME");
    }
    let mut redacted = String::new();
    for part in word.split_inclusive([',', '/', ':', '(', ')', '"', '=']) {
        let end = part.trim_end_matches([',', '/', ':', '(', ')', '"', '=']).len();
        redacted.push_str(&redact_part(&part[..end]));
        redacted.push_str(&part[end..]);
    }
    redacted
}

fn redact_part(part: &str) -> String {
    if is_age(part) {
        return "AGE".to_owned();
    }
    if let Ok(address) = part.parse::<Ipv4Addr>() {
        return match address.octets() {
            [10, 244, ..] => "POD-IP".to_owned(),
            [10, 96, 0, 1 | 10] => part.to_owned(),
            [10, 96, ..] => "SERVICE-IP".to_owned(),
            _ => part.to_owned(),
        };
    }
    if let Some((uid, rest)) = part.split_at_checked(36)
        && uid.bytes().filter(|byte| *byte == b'-').count() == 4
        && uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    {
        return format!("UID{rest}");
    }
    if part.parse().is_ok_and(|port: u16| (30000..=32767).contains(&port)) {
        return "NODE-PORT".to_owned();
    }
    random_suffix(part)
}

/// `5s`, `2m10s`, `3h`.
fn is_age(part: &str) -> bool {
    let units = part.bytes().filter(|byte| matches!(byte, b's' | b'm' | b'h' | b'd')).count();
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    units > 0 && digits > 0 && units + digits == part.len() && part.as_bytes()[0].is_ascii_digit()
}

/// The alphabet of names that Kubernetes makes up has no vowels, so that words are told from it.
fn random_suffix(part: &str) -> String {
    let random = |word: &str, lengths: &[usize]| {
        lengths.contains(&word.len()) && word.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
    };
    let mut words: Vec<&str> = part.split('-').collect();
    if words.len() < 2 {
        return if random(part, &[8, 9, 10]) && part.bytes().any(|byte| byte.is_ascii_digit()) {
            "HASH".to_owned()
        } else {
            part.to_owned()
        };
    }
    let last = words.len() - 1;
    if random(words[last], &[5]) {
        words[last] = "RANDOM";
        if last > 1 && random(words[last - 1], &[8, 9, 10]) {
            words[last - 1] = "HASH";
        }
    } else if random(words[last], &[8, 9, 10]) {
        words[last] = "HASH";
    }
    words.join("-")
}

#[test]
fn what_is_random_goes_and_the_rest_stays() {
    let text = "talk-6586fc54dc-6d8g4   2/2   Running   1 (8s ago)   2m3s   10.244.0.19   cluster1-node";
    assert_eq!(redact(text), "talk-HASH-RANDOM  2/2  Running  1 (AGE ago)  AGE  POD-IP  cluster1-node");
    assert_eq!(redact("  replica set \"talk-6586fc54dc\" is ready."), "  replica set \"talk-HASH\" is ready.");
    assert_eq!(redact("service/kubernetes   10.96.0.1   443/TCP"), "service/kubernetes  10.96.0.1  443/TCP");
    assert_eq!(redact("  Started:   Sat, 21 Nov 2026 03:23:06 +0000"), "  Started:");
    assert_eq!(redact("talk LoadBalancer 80:31646/TCP"), "talk LoadBalancer 80:NODE-PORT/TCP");
    assert_eq!(redact("local://06742767-e1f8-41f0-b180-c2f12e002823-main-0"), "local://UID-main-0");
    assert_eq!(redact("  resourceVersion: \"64\""), "  resourceVersion: NUMBER");
    assert_eq!(redact("at: \"2026-11-21T03:01:24Z\""), "at: \"TIME\"");
}
