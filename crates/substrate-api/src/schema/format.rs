//! The `format` keyword. Unknown formats accept everything, as in Kubernetes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use serde_json::Number;

/// Whether a text has the named format.
pub(super) fn text_fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => uuid::Uuid::parse_str(text).is_ok(),
        "uri" => text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) || text.starts_with('/'),
        "hostname" => text.len() <= 255 && text.trim_end_matches('.').split('.').all(is_label),
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
        "mac" => {
            text.split([':', '-']).count() == 6
                && text.split([':', '-']).all(|part| u8::from_str_radix(part, 16).is_ok())
        }
        "duration" => is_duration(text),
        _ => true,
    }
}

/// Whether a number has the named format.
pub(super) fn number_fits(format: &str, number: &Number) -> bool {
    let integer =
        number.as_i64().or_else(|| number.as_f64().filter(|value| value.fract() == 0.0).map(|value| value as i64));
    match format {
        "int32" => integer.is_some_and(|value| i32::try_from(value).is_ok()),
        "int64" => integer.is_some(),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Go's `time.ParseDuration`: signed sequence of decimal numbers with units.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"].into_iter().find(|unit| {
            tail.strip_prefix(unit)
                .is_some_and(|after| after.is_empty() || after.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
        });
        match (number.parse::<f64>(), unit) {
            (Ok(_), Some(unit)) => rest = &tail[unit.len()..],
            _ => return false,
        }
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_good_from_bad() {
        for (format, good, bad) in [
            ("date-time", "2026-01-02T03:04:05.6Z", "2026-01-02"),
            ("date", "2026-01-02", "02.01.2026"),
            ("byte", "aGk=", "a b"),
            ("ipv4", "10.0.0.1", "10.0.0.256"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/16", "10.0.0.0/33"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("uri", "https://x/y", "no scheme"),
            ("hostname", "a.example.com", "a_b"),
            ("email", "a@b", "ab"),
            ("mac", "00:11:22:33:44:55", "00:11"),
            ("duration", "1h30m", "1 hour"),
            ("duration", "-1.5s", ""),
        ] {
            assert!(text_fits(format, good), "{format} {good}");
            assert!(!text_fits(format, bad), "{format} {bad}");
        }
        assert!(text_fits("made-up", "anything"));
        assert!(number_fits("int32", &Number::from(2_147_483_647)));
        assert!(!number_fits("int32", &Number::from(2_147_483_648_i64)));
    }
}
