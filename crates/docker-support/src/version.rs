//! Versions of the API: which there is, and which is spoken. Pure.

use std::fmt;
use std::str::FromStr;

use bollard::ClientVersion;

/// A version such as 1.41.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// Before the point.
    pub major: usize,
    /// After it.
    pub minor: usize,
}

/// That of Docker 20.10, the oldest that is tried.
pub(crate) const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };
/// The newest that the client library speaks.
pub(crate) const NEWEST: ApiVersion =
    ApiVersion { major: bollard::API_DEFAULT_VERSION.major_version, minor: bollard::API_DEFAULT_VERSION.minor_version };

impl ApiVersion {
    /// What is spoken with an engine of this version; `None` where it is too old.
    pub(crate) fn spoken(self) -> Option<ClientVersion> {
        let Self { major, minor } = self.min(NEWEST);
        (self >= OLDEST).then_some(ClientVersion { major_version: major, minor_version: minor })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        Ok(Self { major: major.parse().map_err(drop)?, minor: minor.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_of_both_is_spoken_and_none_with_what_is_too_old() {
        let spoken = |text: &str| {
            let version: ApiVersion = text.parse().unwrap();
            version.spoken().map(|spoken| (spoken.major_version, spoken.minor_version))
        };
        assert_eq!(spoken("1.41"), Some((1, 41)));
        assert_eq!(spoken("1.44"), Some((1, 44)));
        assert_eq!(spoken("1.999"), Some((NEWEST.major, NEWEST.minor)));
        assert_eq!(spoken("1.40"), None);
        assert!("x".parse::<ApiVersion>().is_err() && "1.x".parse::<ApiVersion>().is_err());
    }
}
