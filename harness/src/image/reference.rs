//! Names of images, taken apart. Pure.

use std::fmt;

/// A name such as `kindest/node:v1.35.8@sha256:07b2…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Registry and path.
    pub repository: String,
    /// Its tag.
    pub tag: Option<String>,
    /// The digest of its manifest, `sha256:…`.
    pub digest: Option<String>,
}

impl Reference {
    /// Takes a name apart. Whether there is such an image is another question.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (name, None),
        };
        // The port of a registry stands before a slash.
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (name, None),
        };
        Self { repository: repository.to_owned(), tag, digest }
    }

    /// Without the digest, as Docker calls an image that it did not pull.
    #[must_use]
    pub fn tagged(&self) -> String {
        let Self { repository, tag, .. } = self;
        format!("{repository}:{}", tag.as_deref().unwrap_or("latest"))
    }

    /// As Docker calls what it pulled: by the digest alone where there is one.
    #[must_use]
    pub fn pulled(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.repository),
            None => self.tagged(),
        }
    }

    /// The commands after which Docker has it under its tag. What is pulled by a digest gets no tag by itself.
    #[must_use]
    pub fn pull(&self) -> String {
        match &self.digest {
            Some(_) => format!("docker pull {self} && docker tag {} {}", self.pulled(), self.tagged()),
            None => format!("docker pull {self}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(formatter, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(formatter, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("kindest/node:v1.35.8@sha256:07", "kindest/node:v1.35.8", "kindest/node@sha256:07")]
    #[case("localhost:5001/echo", "localhost:5001/echo:latest", "localhost:5001/echo:latest")]
    #[case("localhost:5001/echo:dev", "localhost:5001/echo:dev", "localhost:5001/echo:dev")]
    #[case("echo@sha256:07", "echo:latest", "echo@sha256:07")]
    fn names_are_taken_apart(#[case] name: &str, #[case] tagged: &str, #[case] pulled: &str) {
        let reference = Reference::parse(name);
        assert_eq!([reference.tagged(), reference.pulled(), reference.to_string()], [tagged, pulled, name]);
    }
}
