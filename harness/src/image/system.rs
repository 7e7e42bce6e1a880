//! Programs of this machine's system that go into images.

use camino::{Utf8Path, Utf8PathBuf};

/// Where system programs are that an ordinary user's `PATH` may lack.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Where a program of the system is.
#[must_use]
pub fn program(name: &str) -> Option<Utf8PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').filter(|folder| !folder.is_empty()).chain(FOLDERS);
    folders.map(|folder| Utf8Path::new(folder).join(name)).find(|path| path.is_file())
}
