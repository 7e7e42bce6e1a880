//! The duration type of Istio's API: a string as Go writes it (`1.5s`, `1h30m`, `250ms`).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A non-negative duration read from a string such as `30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IstioDuration(pub Duration);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration such as 30s, 1.5s or 250ms")]
pub struct NotADuration {
    text: String,
}

impl IstioDuration {
    /// The shortest duration that Istio's resource definitions accept.
    pub const MINIMUM: Duration = Duration::from_millis(1);

    /// Parses a sequence of decimal numbers with units (`h`, `m`, `s`, `ms`, `us`, `ns`).
    pub fn parse(text: &str) -> Result<Self, NotADuration> {
        let refuse = || NotADuration { text: text.to_owned() };
        if text == "0" {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(refuse());
        }
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(refuse)?;
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, next) = after.split_at(unit_end);
            let amount: f64 = number.parse().map_err(|_| refuse())?;
            let seconds = unit_seconds(unit).ok_or_else(refuse)?;
            let part = Duration::try_from_secs_f64(amount * seconds).map_err(|_| refuse())?;
            total = total.checked_add(part).ok_or_else(refuse)?;
            rest = next;
        }
        Ok(Self(total))
    }
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

impl fmt::Display for IstioDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}s", self.0.as_secs_f64())
    }
}

impl Serialize for IstioDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IstioDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for IstioDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "x-kubernetes-validations": [{
                "message": "must be a valid duration greater than 1ms",
                "rule": "duration(self) >= duration('1ms')",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, millis) in
            [("30s", 30_000), ("1.5s", 1_500), ("1h30m", 5_400_000), ("250ms", 250), ("0", 0), ("0s", 0)]
        {
            assert_eq!(IstioDuration::parse(text).unwrap().0, Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "30", "s", "-1s", "1x", "1.2.3s", "1s ", "99999999999999999999999h"] {
            assert!(IstioDuration::parse(text).is_err(), "{text}");
        }
    }
}
