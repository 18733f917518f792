//! The folder of compiled code: wasmtime's own cache, keyed by the component's content, the engine's settings and
//! wasmtime's version. Whoever can write into it decides what the router executes, so it must be private.

use std::borrow::Cow;
use std::fs::{self, DirBuilder};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::super::LoadError;

/// Where wasmtime keeps code, in one folder for each of its versions.
const MODULES: &str = "modules";
/// Files kept, whatever their size.
const FILES: usize = 4_096;

/// The cache's folder, checked and bounded.
pub struct CodeCache {
    folder: PathBuf,
    most_bytes: u64,
}

impl CodeCache {
    /// Makes the folder, or refuses one that others may write.
    pub fn open(folder: &Path, most_bytes: u64) -> Result<Self, LoadError> {
        let failed = |error: std::io::Error| LoadError::Engine(format!("{}: {error}", folder.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let folder = fs::canonicalize(folder).map_err(failed)?;
        let metadata = fs::metadata(&folder).map_err(failed)?;
        let us = rustix::process::geteuid().as_raw();
        if metadata.mode() & 0o022 != 0 || metadata.uid() != us {
            return Err(LoadError::Engine(format!(
                "{} holds code that the router executes, and others may write it (mode {:03o}, user {}): delete it, and it is made anew",
                folder.display(),
                metadata.mode() & 0o777,
                metadata.uid()
            )));
        }
        Ok(Self { folder, most_bytes })
    }

    /// The folder, as an absolute path without links.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the code of this component is there, so that loading it compiles nothing.
    pub fn has(&self, engine: &wasmtime::Engine, bytes: &[u8]) -> bool {
        let key = key(engine, bytes);
        let versions = fs::read_dir(self.folder.join(MODULES)).into_iter().flatten().flatten();
        versions.into_iter().any(|version| version.path().join(&key).is_file())
    }

    /// Deletes what was not used for longest, until what is left is within the limits. wasmtime would do so in the
    /// process that compiles, which has ended by then.
    pub fn trim(&self) {
        let mut files = self.files();
        files.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut bytes = 0_u64;
        for (nth, (_, size, path)) in files.into_iter().enumerate() {
            bytes = bytes.saturating_add(size);
            // The newest stays in any case: it is wanted now.
            if nth > 0 && (nth >= FILES || bytes > self.most_bytes) && fs::remove_file(&path).is_ok() {
                bytes = bytes.saturating_sub(size);
                let _ = fs::remove_file(stats(&path));
            }
        }
    }

    /// Every file: when it was last used, its size, its path. Those beside it say only when.
    fn files(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let versions = fs::read_dir(self.folder.join(MODULES)).into_iter().flatten().flatten();
        let files = versions.flat_map(|version| fs::read_dir(version.path()).into_iter().flatten().flatten());
        let mut all = Vec::new();
        for path in files.map(|file| file.path()) {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let lone_stats = path.extension().is_some() && path.with_extension("").exists();
            if !metadata.is_file() || lone_stats {
                continue;
            }
            let made = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let used = fs::metadata(stats(&path)).and_then(|found| found.modified()).unwrap_or(made);
            all.push((used.max(made), metadata.len(), path));
        }
        all
    }
}

/// wasmtime notes the uses of `KEY` in `KEY.stats`.
fn stats(path: &Path) -> PathBuf {
    path.with_extension("stats")
}

/// The name that wasmtime's cache gives to the code of a component: the hash of what it compiles for, of the binary,
/// and of two options that are not used here. If another version of wasmtime names it otherwise, nothing is found,
/// and the router says so instead of compiling by itself.
fn key(engine: &wasmtime::Engine, bytes: &[u8]) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    let (debug, intrinsics) = (None::<Cow<'_, [u8]>>, None::<&str>);
    (engine.precompile_compatibility_hash(), Cow::Borrowed(bytes), debug, intrinsics).hash(&mut hasher);
    URL_SAFE_NO_PAD.encode(hasher.0.finalize())
}

struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    /// Nobody asks for it: the whole digest is taken.
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_private_or_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("compiled");
        CodeCache::open(&folder, 1).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        let said = CodeCache::open(&folder, 1).map(drop).unwrap_err().to_string();
        assert!(said.contains("others may write it (mode 770"), "{said}");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let home = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&home.path().join("compiled"), 250).unwrap();
        let version = cache.folder().join(MODULES).join("wasmtime-1");
        fs::create_dir_all(&version).unwrap();
        let write = |name: &str, size: usize, second: u64| {
            let file = fs::File::create(version.join(name)).unwrap();
            file.set_len(size as u64).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
        };
        write("old", 100, 1);
        write("old-but-used", 100, 2);
        write("old-but-used.stats", 10, 9);
        write("young", 100, 8);
        write("left.wip-atomic-write-mod", 100, 3);
        cache.trim();
        let mut left: Vec<_> =
            fs::read_dir(&version).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["old-but-used", "old-but-used.stats", "young"]);
    }
}
