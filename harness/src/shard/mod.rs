//! Shards: a selection of scenarios divided among several runs, so that each takes about the same time. Pure.
//!
//! [`divide`] says which scenario is in which shard, [`durations`] how long each takes by what was recorded. A run says in
//! its events which shard it is, and of what selection, so that `meshproof report merge` notices what is missing.

pub mod divide;
pub mod durations;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One of several shards, written `2/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Which, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

/// A text names no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It does not have the form.
    #[error("write which of how many, such as 2/3")]
    NotAShard,
    /// Of nothing.
    #[error("0 shards hold no scenario: one that holds all is 1/1")]
    NoShards,
    /// They are counted from 1.
    #[error("there is no shard 0: the first is 1/{of}")]
    Zero {
        /// How many there are.
        of: u32,
    },
    /// There are fewer.
    #[error("there is no shard {number} of {of}: the last is {of}/{of}")]
    Beyond {
        /// Which was asked for.
        number: u32,
        /// How many there are.
        of: u32,
    },
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        // `u32` would read `+1`, too.
        let number =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten();
        let parts = text.split_once('/').and_then(|(which, of)| Some((number(which)?, number(of)?)));
        match parts.ok_or(ShardError::NotAShard)? {
            (_, 0) => Err(ShardError::NoShards),
            (0, of) => Err(ShardError::Zero { of }),
            (number, of) if number > of => Err(ShardError::Beyond { number, of }),
            (number, of) => Ok(Self { number, of }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

/// Which shard a run is, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShardFacts {
    /// Which.
    pub shard: Shard,
    /// Names of the scenarios of all shards together, in order.
    pub selection: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_those_there_are() {
        let said = |text: &str| text.parse::<Shard>().map_err(|error| error.to_string());
        assert_eq!(said("2/3").map(|shard| shard.to_string()).as_deref(), Ok("2/3"));
        assert_eq!(said("1/1"), Ok(Shard { number: 1, of: 1 }));
        assert_eq!(said("0/3"), Err("there is no shard 0: the first is 1/3".to_owned()));
        assert_eq!(said("4/3"), Err("there is no shard 4 of 3: the last is 3/3".to_owned()));
        assert_eq!(said("1/0"), Err("0 shards hold no scenario: one that holds all is 1/1".to_owned()));
        for strange in ["x", "", "/", "1/", "/3", "2", "1/3/5", "-1/3", "+1/3", "1 / 3", "1/99999999999"] {
            assert_eq!(said(strange), Err("write which of how many, such as 2/3".to_owned()), "{strange}");
        }
    }
}
