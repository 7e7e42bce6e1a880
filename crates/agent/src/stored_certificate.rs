//! The workload certificate as files, so that a machine proves who it is by them after a reboot. Modes are tight, and a
//! pair that does not belong together, as after a crash between two writes, is not read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{KeyPair, PublicKeyData as _};

use crate::certificate::{self, Secrets};

const KEY: &str = "key.pem";
const CHAIN: &str = "cert-chain.pem";
/// Nobody but the owner reads the key.
const MODE: u32 = 0o600;

/// Why the files of a directory are not used.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// They cannot be read.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// They hold no certificate and key.
    #[error(transparent)]
    Form(#[from] certificate::CertificateError),
    /// Key and certificate are not of one pair.
    #[error("{KEY} is not the key of {CHAIN}")]
    Mismatch,
    /// The certificate is not valid now.
    #[error("the certificate is not valid now")]
    NotNow,
}

/// Writes the pair into `directory`, each file whole or not at all.
///
/// # Errors
/// The operating system's.
pub fn store(directory: &Path, secrets: &Secrets) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in [(KEY, &secrets.key_pem), (CHAIN, &secrets.chain_pem)] {
        let next = directory.join(format!(".{name}.next"));
        // A leftover of a crash may have another mode.
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, directory.join(name))?;
    }
    Ok(())
}

/// Reads the pair of `directory`, if it is one and is valid at `now`. `roots_pem` is whom the machine trusts.
///
/// # Errors
/// [`StoredError`].
pub fn load(directory: &Path, roots_pem: &str, now: SystemTime) -> Result<Secrets, StoredError> {
    let read = |file: &'static str| {
        fs::read_to_string(directory.join(file)).map_err(|source| StoredError::File { file, source })
    };
    let (key, chain) = (read(KEY)?, read(CHAIN)?);
    let public = KeyPair::from_pem(&key).map_err(certificate::CertificateError::from)?.der_bytes().to_vec();
    let leaf = certificate::parse_certificates(&chain)?.into_iter().next().ok_or(StoredError::Mismatch)?;
    let belongs = x509_parser::parse_x509_certificate(&leaf)
        .is_ok_and(|(_, parsed)| *parsed.public_key().subject_public_key.data == *public);
    if !belongs {
        return Err(StoredError::Mismatch);
    }
    let secrets = certificate::secrets(key, &[chain, roots_pem.to_owned()], roots_pem)?;
    if secrets.not_before <= now && now < secrets.not_after { Ok(secrets) } else { Err(StoredError::NotNow) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use rcgen::CertificateParams;

    use super::*;
    use crate::certificate::tests::root;

    fn secrets() -> (Secrets, String) {
        let root = root("one");
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::default().signed_by(&key, &root).unwrap().pem();
        (certificate::secrets(key.serialize_pem(), &[leaf, root.pem()], &root.pem()).unwrap(), root.pem())
    }

    #[test]
    fn what_was_stored_is_read_again_and_nobody_else_may() {
        let directory = tempfile::tempdir().unwrap();
        let (first, roots) = secrets();
        store(directory.path(), &first).unwrap();
        assert_eq!(load(directory.path(), &roots, SystemTime::now()).unwrap(), first);
        for name in [KEY, CHAIN] {
            let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let (second, roots) = secrets();
        store(directory.path(), &second).unwrap();
        assert_eq!(load(directory.path(), &roots, SystemTime::now()).unwrap(), second);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn what_is_no_valid_pair_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let load = |roots: &str, now| load(directory.path(), roots, now);
        assert!(matches!(load("", now), Err(StoredError::File { file: KEY, .. })));
        let (first, roots) = secrets();
        store(directory.path(), &first).unwrap();
        assert!(matches!(load(&roots, first.not_after + Duration::from_secs(1)), Err(StoredError::NotNow)));
        assert!(matches!(load(&roots, first.not_before - Duration::from_secs(1)), Err(StoredError::NotNow)));
        let (second, _) = secrets();
        fs::write(directory.path().join(KEY), &second.key_pem).unwrap();
        assert!(matches!(load(&roots, now), Err(StoredError::Mismatch)));
        fs::write(directory.path().join(CHAIN), "").unwrap();
        assert!(load(&roots, now).is_err());
    }
}
