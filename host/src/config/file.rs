//! Reading files that the operator names.

use std::io;
use std::path::Path;

/// Longest file: 1 MiB.
const FILE_BYTES: u64 = 1 << 20;

/// A regular file of at most [`FILE_BYTES`]: neither a FIFO, on which reading would wait for ever, nor a device
/// that never ends.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let refused = |why: String| Err(io::Error::other(why));
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return refused("not a regular file".into());
    }
    if metadata.len() > FILE_BYTES {
        return refused(format!("{} bytes: at most {FILE_BYTES} are accepted", metadata.len()));
    }
    std::fs::read_to_string(path)
}
