//! Witnesses: small files that a clean close leaves beside a database, to tell at the next start what must be in it.
//!
//! sled takes a damaged tail of its own log for the work of a crash, and cuts it off without a word. What stood last in
//! the database is therefore also written elsewhere.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::checksum::checksum;
use super::database::{Database, sync_dir};
use super::error::{Incidents, StoreError};
use super::keys;
use crate::message::now_us;

/// Writes numbers into the file `path`, on the disk when it returns.
pub(super) fn leave(path: &Path, numbers: [u64; 2]) -> Result<(), StoreError> {
    let draft = path.with_extension("draft");
    let mut bytes = keys::numbers(&numbers);
    bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
    let write = || {
        let mut file = File::create(&draft)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().map_err(|error| StoreError::io(path, &error))?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Reads the numbers and removes the file: from now on something may be written. None: there was no clean close, or the
/// file itself is damaged, which is then all that is.
pub(super) fn take(path: &Path) -> Result<Option<[u64; 2]>, StoreError> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    std::fs::remove_file(path).map_err(|error| StoreError::io(path, &error))?;
    sync_dir(path.parent().unwrap_or(path))?;
    let numbers = keys::parse_numbers(&bytes);
    let numbers = numbers.filter(|[one, other, sum]| checksum(&keys::numbers(&[*one, *other])) == *sum);
    if numbers.is_none() {
        tracing::warn!(path = %path.display(), "the mark of the last clean stop is damaged: it is not heeded");
    }
    Ok(numbers.map(|[one, other, _]| [one, other]))
}

/// Makes a number the last thing in a database, and leaves it as a witness beside it.
pub(super) fn seal(database: &Database) -> Result<(), StoreError> {
    let number = now_us();
    database.tree(keys::META, |tree| tree.insert(keys::CLOSED, keys::numbers(&[number])))?;
    database.sync()?;
    leave(&beside(database), [number, 0])
}

/// Reports when a database that was [sealed](seal) has lost its end since. One that was set aside is `known` to have.
pub(super) fn unseal(database: &Database, known: bool, incidents: &Incidents) -> Result<(), StoreError> {
    let Some([number, _]) = take(&beside(database))? else { return Ok(()) };
    let last = database.tree(keys::META, |tree| tree.get(keys::CLOSED))?;
    if !known && last.is_none_or(|last| keys::parse_numbers(&last) != Some([number])) {
        incidents.report(format!(
            "the database {} is damaged: it was closed cleanly, and what was written last is gone. API keys, plugins' \
             state and what else it keeps may be missing or old: compare it with a backup",
            database.dir().display()
        ));
    }
    Ok(())
}

fn beside(database: &Database) -> std::path::PathBuf {
    database.dir().with_extension("clean")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_heard_once_and_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clean");
        assert_eq!(take(&path).unwrap(), None);
        leave(&path, [300, 7]).unwrap();
        assert_eq!((take(&path).unwrap(), take(&path).unwrap()), (Some([300, 7]), None));
        for at in 0..24 {
            leave(&path, [300, 7]).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(take(&path).unwrap(), None);
        }
    }
}
