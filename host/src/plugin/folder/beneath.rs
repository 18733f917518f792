//! Opens files of a folder and nothing outside of it, whatever links lie there, also while somebody exchanges them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why a file was not opened.
#[derive(Debug)]
pub enum NotOpen {
    /// A link on its way leads out of the folder.
    Outside,
    /// The system's own reason.
    System(io::Error),
}

impl From<io::Error> for NotOpen {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Opens for reading, without waiting for the other end of a FIFO. The kernel itself keeps the way inside of the folder,
/// where it can (Linux 5.6, `openat2`).
pub fn open(folder: &Path, path: &Path) -> Result<File, NotOpen> {
    #[cfg(target_os = "linux")]
    match by_kernel(folder, path) {
        Err(NotOpen::System(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        // Some containers forbid what they do not know.
        Err(NotOpen::System(error)) if error.kind() == io::ErrorKind::PermissionDenied => {}
        opened => return opened,
    }
    by_name(folder, path)
}

#[cfg(target_os = "linux")]
fn by_kernel(folder: &Path, path: &Path) -> Result<File, NotOpen> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;

    let name = path.file_name().ok_or(NotOpen::Outside)?;
    let home = File::open(folder)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&home, name, flags, Mode::empty(), within) {
        Ok(file) => Ok(file.into()),
        Err(Errno::XDEV) => Err(NotOpen::Outside),
        Err(error) => Err(NotOpen::System(error.into())),
    }
}

/// Resolves first and opens then: enough against accidents.
fn by_name(folder: &Path, path: &Path) -> Result<File, NotOpen> {
    let (real, home) = (fs::canonicalize(path)?, fs::canonicalize(folder)?);
    if !real.starts_with(&home) {
        return Err(NotOpen::Outside);
    }
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    Ok(fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(&real)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_within_are_followed_and_links_out_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(dir.path().join("real.wasm"), "x").unwrap();
        symlink("real.wasm", dir.path().join("within.wasm")).unwrap();
        symlink(outside.path(), dir.path().join("out.wasm")).unwrap();
        symlink("..", dir.path().join("up.wasm")).unwrap();
        for open in [open, by_name] {
            let open = |name: &str| open(dir.path(), &dir.path().join(name));
            assert!(open("real.wasm").is_ok() && open("within.wasm").is_ok());
            assert!(matches!(open("out.wasm"), Err(NotOpen::Outside)));
            assert!(matches!(open("up.wasm"), Err(NotOpen::Outside)));
            assert!(matches!(open("none.wasm"), Err(NotOpen::System(_))));
        }
    }
}
