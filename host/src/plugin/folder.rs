//! What lies in the plugins folder: names, binding files and components, read once and hashed.
//!
//! The folder is the truth and events are hints: every reload reads it anew, but files whose size, time and
//! inode did not change.

mod beneath;
mod exposed;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use exposed::exposed;

use super::binding::valid_name;
use super::{LoadError, component};

/// A component's bytes and their digest.
#[derive(Clone)]
pub struct File {
    /// The bytes that were hashed and that will be compiled: there is no second open.
    pub bytes: Arc<[u8]>,
    /// SHA-256.
    pub digest: [u8; 32],
    /// What lay beside it to vouch for it.
    pub seal: Seal,
}

/// A component's detached signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// It needs none: the component is part of this program.
    Embedded,
    /// There is no `NAME.wasm.minisig`.
    None,
    /// Its text, not yet verified.
    Text(Arc<str>),
    /// There is one, and why it cannot be read.
    Unreadable(String),
}

/// One name in the folder.
#[derive(Clone, Default)]
pub struct Entry {
    /// `NAME.wasm`, or why it cannot be used.
    pub wasm: Option<Result<File, LoadError>>,
    /// `NAME.toml`, or why it cannot be read.
    pub toml: Option<Result<Arc<str>, LoadError>>,
    /// `NAME.wasm.minisig`, or why it cannot be read.
    signature: Option<Result<Arc<str>, LoadError>>,
}

/// What a file of the folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `NAME.wasm`.
    Component,
    /// `NAME.toml`.
    Binding,
    /// `NAME.wasm.minisig`.
    Signature,
}

/// Reads a folder, remembering what has not changed.
pub struct Folder {
    path: PathBuf,
    file_bytes: usize,
    seen: BTreeMap<PathBuf, (Stamp, Read_)>,
}

type Stamp = (u64, u64, i64, i64);

#[derive(Clone)]
enum Read_ {
    Wasm(Result<File, LoadError>),
    Text(Result<Arc<str>, LoadError>),
}

/// Longest binding file, in bytes.
const TOML_BYTES: usize = 1024 * 1024;
/// Longest signature, in bytes: four lines, of which minisign lets one be 8 KiB long.
const SIGNATURE_BYTES: usize = 16 * 1024;

impl Folder {
    /// A folder; `file_bytes` is the largest component accepted.
    pub fn new(path: &Path, file_bytes: usize) -> Self {
        Self { path: path.to_owned(), file_bytes, seen: BTreeMap::new() }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All names whose files `ready` lets through; the others are as they were at the last scan.
    pub fn scan(&mut self, ready: impl Fn(&Path) -> bool) -> Result<BTreeMap<String, Entry>, LoadError> {
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        let listed = fs::read_dir(&self.path).map_err(|error| read_error(&self.path, &error))?;
        let listed: Vec<_> = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
        // A component whose first binding file is still being written waits for it: it would see every topic. So it
        // does for its first signature.
        let is_written = |path: &Path| !ready(path) && !self.seen.contains_key(path);
        let unbound: HashSet<_> =
            listed.iter().filter(|path| is_written(path)).map(|path| component_of(path)).collect();
        for path in listed {
            let Some((name, part)) = plugin_file(&path) else {
                if let Some(name) = misnamed(&path) {
                    let wasm = Some(Err(LoadError::Name(name.clone())));
                    let entry = Entry { wasm, ..Entry::default() };
                    entries.insert(name, entry);
                }
                continue;
            };
            let known = self.seen.get(&path);
            let read = if ready(&path) && !unbound.contains(&path) {
                self.read(&path, part, known)
            } else {
                known.cloned()
            };
            let Some((stamp, read)) = read else { continue };
            let entry = entries.entry(name.to_owned()).or_default();
            match &read {
                Read_::Wasm(file) => entry.wasm = Some(file.clone()),
                Read_::Text(text) if part == Part::Binding => entry.toml = Some(text.clone()),
                Read_::Text(text) => entry.signature = Some(text.clone()),
            }
            seen.insert(path, (stamp, read));
        }
        self.seen = seen;
        entries.values_mut().for_each(Entry::attach);
        // A signature of nothing is nothing.
        entries.retain(|_, entry| entry.wasm.is_some() || entry.toml.is_some());
        Ok(entries)
    }

    fn read(&self, path: &Path, part: Part, known: Option<&(Stamp, Read_)>) -> Option<(Stamp, Read_)> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            // Gone between listing and reading: the next event says so again.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return Some(((0, 0, 0, 0), failed(part, read_error(path, &error)))),
        };
        let stamp = stamp(&metadata);
        if let Some((old, read)) = known
            && *old == stamp
            && !metadata.is_symlink()
        {
            return Some((stamp, read.clone()));
        }
        let limit = match part {
            Part::Component => self.file_bytes,
            Part::Binding => TOML_BYTES,
            Part::Signature => SIGNATURE_BYTES,
        };
        let read = match self.contents(path, limit) {
            Err(error) => failed(part, error),
            Ok(bytes) if part == Part::Component => Read_::Wasm(Ok(File {
                digest: component::digest(&bytes),
                bytes: bytes.into(),
                seal: Seal::None,
            })),
            Ok(bytes) => Read_::Text(
                String::from_utf8(bytes)
                    .map(Arc::from)
                    .map_err(|_| LoadError::Read { path: path.to_owned(), reason: "not UTF-8".into() }),
            ),
        };
        Some((stamp, read))
    }

    /// Only regular files inside the folder: no FIFO that would block, no way out through a link.
    fn contents(&self, path: &Path, limit: usize) -> Result<Vec<u8>, LoadError> {
        let refuse = |reason: &str| LoadError::Read { path: path.to_owned(), reason: reason.into() };
        let file = beneath::open(&self.path, path).map_err(|error| match error {
            beneath::NotOpen::Outside => {
                refuse("a link that leads out of the plugins folder is refused: copy the file into it")
            }
            beneath::NotOpen::System(error) => read_error(path, &error),
        })?;
        let metadata = file.metadata().map_err(|error| read_error(path, &error))?;
        if !metadata.is_file() {
            return Err(refuse("not a regular file"));
        }
        if metadata.len() > limit as u64 {
            return Err(LoadError::TooBig { found: metadata.len(), accepted: limit });
        }
        let mut bytes = Vec::new();
        let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| read_error(path, &error))?;
        if bytes.len() > limit {
            return Err(LoadError::TooBig { found: bytes.len() as u64, accepted: limit });
        }
        Ok(bytes)
    }
}

impl Entry {
    /// Puts the signature to the component that it is for.
    fn attach(&mut self) {
        if let (Some(Ok(file)), Some(signature)) = (&mut self.wasm, self.signature.take()) {
            file.seal = match signature {
                Ok(text) => Seal::Text(text),
                Err(error) => Seal::Unreadable(error.to_string()),
            };
        }
    }
}

/// `NAME.wasm`, `NAME.toml` or `NAME.wasm.minisig` with a name that can be a plugin's; everything else is none of our business:
/// dot-files, editors' and copies' temporary files.
pub fn plugin_file(path: &Path) -> Option<(&str, Part)> {
    let stem = path.file_stem()?.to_str()?;
    let (name, part) = match path.extension()?.to_str()? {
        "wasm" => (stem, Part::Component),
        "toml" => (stem, Part::Binding),
        "minisig" => (stem.strip_suffix(".wasm")?, Part::Signature),
        _ => return None,
    };
    valid_name(name).then_some((name, part))
}

/// The component that a binding file or a signature belongs to.
fn component_of(path: &Path) -> PathBuf {
    let is_signature = path.extension().is_some_and(|ending| ending == "minisig");
    path.with_extension(if is_signature { "" } else { "wasm" })
}

/// What looks like a plugin and has a name that no plugin can have: reported, since cargo itself writes `_`, and
/// other systems `.WASM`.
fn misnamed(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_string_lossy();
    let ending = path.extension()?.to_str()?;
    if name.starts_with('.') || !["wasm", "toml"].iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        return None;
    }
    let is_lower = ending.bytes().all(|byte| byte.is_ascii_lowercase());
    Some(if is_lower { name.into_owned() } else { format!("{name}.{ending}") })
}

fn stamp(metadata: &Metadata) -> Stamp {
    (
        metadata.len(),
        metadata.ino(),
        metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
        metadata.ctime_nsec(),
    )
}

fn failed(part: Part, error: LoadError) -> Read_ {
    if part == Part::Component { Read_::Wasm(Err(error)) } else { Read_::Text(Err(error)) }
}

fn read_error(path: &Path, error: &std::io::Error) -> LoadError {
    LoadError::Read { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plugin_files_count() {
        for (path, expected) in [
            ("x/a.wasm", Some(("a", Part::Component))),
            ("x/json-map.toml", Some(("json-map", Part::Binding))),
            ("x/a.wasm.minisig", Some(("a", Part::Signature))),
            ("x/a.minisig", None),
            ("x/a.toml.minisig", None),
            ("x/.a.wasm", None),
            ("x/a.wasm.part", None),
            ("x/a.wasm~", None),
            ("x/A.wasm", None),
            ("x/a.cwasm", None),
        ] {
            assert_eq!(plugin_file(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn links_out_fifos_and_big_files_are_refused_and_the_rest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link.wasm")).unwrap();
        fs::create_dir(dir.path().join("folder.wasm")).unwrap();
        fs::write(dir.path().join("big.wasm"), [0; 101]).unwrap();
        fs::write(dir.path().join("good.wasm"), [0; 100]).unwrap();
        fs::write(dir.path().join("my_filter.wasm"), [0; 100]).unwrap();
        fs::write(dir.path().join(".my_filter.wasm"), [0; 100]).unwrap();
        fs::write(dir.path().join("loud.WASM"), [0; 100]).unwrap();
        let fifo = dir.path().join("fifo.wasm");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let entries = Folder::new(dir.path(), 100).scan(|_| true).unwrap();
        let reason = |name: &str| match &entries[name].wasm {
            Some(Err(error)) => error.to_string(),
            _ => "read".into(),
        };
        assert!(reason("link").contains("leads out"), "{}", reason("link"));
        assert!(reason("folder").contains("not a regular file"), "{}", reason("folder"));
        assert!(reason("fifo").contains("not a regular file"), "{}", reason("fifo"));
        assert!(reason("big").contains("at most 100"), "{}", reason("big"));
        assert_eq!(reason("good"), "read");
        assert!(reason("my_filter").contains("rename the file"), "{}", reason("my_filter"));
        assert!(reason("loud.WASM").contains("rename the file"), "{}", reason("loud.WASM"));
        assert!(!entries.contains_key(".my_filter"));
    }

    #[test]
    fn a_signature_belongs_to_its_component_and_is_read_within_its_own_limit() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        write("a.wasm", b"x");
        write("a.wasm.minisig", b"signed");
        write("b.wasm", b"x");
        write("b.wasm.minisig", &[b'x'; SIGNATURE_BYTES + 1]);
        write("c.wasm", b"x");
        write("lone.wasm.minisig", b"signed");
        let mut folder = Folder::new(dir.path(), 100);
        let seal = |folder: &mut Folder, name: &str| {
            let entries = folder.scan(|_| true).unwrap();
            assert!(!entries.contains_key("lone"));
            entries[name].wasm.clone().unwrap().unwrap().seal
        };
        assert_eq!(seal(&mut folder, "a"), Seal::Text("signed".into()));
        assert!(matches!(seal(&mut folder, "b"), Seal::Unreadable(why) if why.contains("at most 16384")));
        assert_eq!(seal(&mut folder, "c"), Seal::None);
        write("a.wasm.minisig", b"signed again");
        assert_eq!(seal(&mut folder, "a"), Seal::Text("signed again".into()));
        fs::remove_file(dir.path().join("a.wasm.minisig")).unwrap();
        assert_eq!(seal(&mut folder, "a"), Seal::None);
    }

    #[test]
    fn a_component_waits_for_the_binding_that_is_being_written() {
        let dir = tempfile::tempdir().unwrap();
        let toml = dir.path().join("a.toml");
        fs::write(&toml, "topics = [").unwrap();
        fs::write(dir.path().join("a.wasm"), "x").unwrap();
        let mut folder = Folder::new(dir.path(), 100);
        assert!(folder.scan(|path| path != toml).unwrap().is_empty());
        let entry = &folder.scan(|_| true).unwrap()["a"];
        assert!(entry.wasm.is_some() && entry.toml.is_some());
        let signature = dir.path().join("b.wasm.minisig");
        fs::write(&signature, "signed").unwrap();
        fs::write(dir.path().join("b.wasm"), "x").unwrap();
        assert!(!folder.scan(|path| path != signature).unwrap().contains_key("b"));
        assert!(folder.scan(|_| true).unwrap().contains_key("b"));
    }

    #[test]
    fn a_file_that_is_not_ready_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        fs::write(&path, "one").unwrap();
        let mut folder = Folder::new(dir.path(), 100);
        let text = |entries: BTreeMap<String, Entry>| entries["a"].toml.clone().unwrap().unwrap();
        assert_eq!(&*text(folder.scan(|_| true).unwrap()), "one");
        fs::write(&path, "two!").unwrap();
        assert_eq!(&*text(folder.scan(|_| false).unwrap()), "one");
        assert_eq!(&*text(folder.scan(|_| true).unwrap()), "two!");
    }
}
