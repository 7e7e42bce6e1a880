//! Small wordings that several reports share.

use super::record::Record;

/// `meshproof 0.1.0, Envoy 1.40.0`.
pub(crate) fn versions(record: &Record) -> String {
    record.versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
}

/// A duration for people.
pub(crate) fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1000),
    }
}

/// At most so many characters, with a mark where some are left out.
pub(crate) fn clip(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}… ({} characters left out)", &text[..end], text[end..].chars().count()),
        None => text.to_owned(),
    }
}

/// A size for people.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// A word as a shell takes it for one.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people_and_shells() {
        assert_eq!([seconds(7), seconds(1500), seconds(61_000)], ["7 ms", "1.5 s", "1 min 1 s"]);
        assert_eq!(
            [bytes(12), bytes(2048), bytes(3 << 20), bytes(5 << 28)],
            ["12 B", "2.0 KiB", "3.0 MiB", "1.25 GiB"]
        );
        assert_eq!(clip("äöü", 2), "äö… (1 characters left out)");
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!([quoted("a/b.yaml"), quoted("it's"), quoted("")], ["a/b.yaml", r"'it'\''s'", "''"]);
    }
}
