//! What an ELF program says it needs: a loader, and libraries by name. Pure; [`super::libraries`] finds them.

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};

/// What a program or a library needs besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Path of the loader; none for a library and for a program that is linked statically.
    pub loader: Option<String>,
    /// Names of libraries, such as `libc.so.6`.
    pub libraries: Vec<String>,
    /// Folders to look into first; `$ORIGIN` is that of the file itself.
    pub folders: Vec<String>,
}

/// Reads them.
///
/// # Errors
/// A sentence, where the bytes are no ELF file of 64 bits or are damaged.
pub fn needs(bytes: &[u8]) -> Result<Needs, String> {
    if bytes.get(..4) != Some(b"\x7fELF".as_slice()) {
        return Err("it is no ELF program".to_owned());
    }
    let damaged = |error: object::read::Error| format!("its ELF headers are damaged: {error}");
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let segments = header.program_headers(endian, bytes).map_err(damaged)?;
    let at = |address: u64| {
        segments.iter().find_map(|segment| {
            segment.data_range(endian, bytes, address, 1).ok().flatten().map(|found| {
                let start = found.as_ptr().addr() - bytes.as_ptr().addr();
                &bytes[start..]
            })
        })
    };
    let mut needs = Needs::default();
    for segment in segments {
        if let Some(loader) = segment.interpreter(endian, bytes).map_err(damaged)? {
            needs.loader = Some(String::from_utf8_lossy(loader).into_owned());
        }
        let Some(dynamic) = segment.dynamic(endian, bytes).map_err(damaged)? else { continue };
        let entries: Vec<_> = dynamic.iter().map(|entry| (entry.d_tag(endian), entry.d_val(endian))).collect();
        let strings = entries.iter().find(|(tag, _)| *tag == elf::DT_STRTAB).and_then(|(_, address)| at(*address));
        let text = |offset: u64| {
            let strings = strings?.get(usize::try_from(offset).ok()?..)?;
            let end = strings.iter().position(|byte| *byte == 0)?;
            Some(String::from_utf8_lossy(&strings[..end]).into_owned())
        };
        for (tag, value) in entries {
            let named = || text(value).ok_or_else(|| "its table of strings is damaged".to_owned());
            if tag == elf::DT_NEEDED {
                needs.libraries.push(named()?);
            } else if tag == elf::DT_RUNPATH || tag == elf::DT_RPATH {
                needs.folders.extend(named()?.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned));
            }
        }
    }
    Ok(needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_a_loader_and_a_c_library() {
        let bytes = std::fs::read("/proc/self/exe").expect("itself");
        let needs = needs(&bytes).expect("read");
        let loader = needs.loader.expect("this target is linked dynamically");
        assert!(std::path::Path::new(&loader).is_file(), "{loader}");
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.so")), "{:?}", needs.libraries);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert_eq!(needs(b"#!/bin/sh\n"), Err("it is no ELF program".to_owned()));
        let error = needs(b"\x7fELF\x02\x01\x01").expect_err("refused");
        assert!(error.starts_with("its ELF headers are damaged"), "{error}");
    }

    /// Bytes that somebody cut or changed give a message and never a panic.
    #[test]
    fn damage_never_panics() {
        let whole = std::fs::read("/proc/self/exe").expect("itself");
        for length in [64, 65, 100, 400, 1000, 4096] {
            let _either = needs(&whole[..length]);
        }
        let mut changed = whole[..4096.min(whole.len())].to_vec();
        for position in (4..changed.len()).step_by(7) {
            let before = changed[position];
            changed[position] = 0xff;
            let _either = needs(&changed);
            changed[position] = before;
        }
    }
}
