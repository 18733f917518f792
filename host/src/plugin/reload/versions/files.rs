//! The folder of kept components and binding files, each under its digest, shared by all bindings.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::super::component;
use super::record::{Pair, hex};

/// `DATA/versions`.
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// Made if it is not there, for this user alone.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps all of it; it is on the disk when this returns.
    pub fn keep(&self, pair: &Pair, component: &[u8], text: &str, seal: Option<&str>) -> io::Result<()> {
        self.put(&wasm(pair), component)?;
        self.put(&toml(pair), text.as_bytes())?;
        match seal_name(pair).zip(seal) {
            Some((name, seal)) => self.put(&name, seal.as_bytes()),
            None => Ok(()),
        }
    }

    /// The component's signature, as it was; none if it had none.
    pub fn seal(&self, pair: &Pair) -> Result<Option<String>, (PathBuf, String)> {
        let Some((name, digest)) = seal_name(pair).zip(pair.seal) else { return Ok(None) };
        let bytes = self.read(&name, &digest)?;
        String::from_utf8(bytes).map(Some).map_err(|_| (self.folder.join(name), "not UTF-8".into()))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(name);
        if fs::read(&path).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        let draft = self.folder.join(format!("{name}.new"));
        let mut file =
            fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    /// The component, as it was.
    pub fn component(&self, pair: &Pair) -> Result<Vec<u8>, (PathBuf, String)> {
        self.read(&wasm(pair), &pair.digest)
    }

    /// The binding file, as it was.
    pub fn text(&self, pair: &Pair) -> Result<String, (PathBuf, String)> {
        let name = toml(pair);
        let bytes = self.read(&name, &pair.text)?;
        String::from_utf8(bytes).map_err(|_| (self.folder.join(name), "not UTF-8".into()))
    }

    fn read(&self, name: &str, digest: &[u8; 32]) -> Result<Vec<u8>, (PathBuf, String)> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) if component::digest(&bytes) == *digest => Ok(bytes),
            Ok(_) => Err((path, "it is not what was kept: its digest is another".into())),
            Err(error) => Err((path, error.to_string())),
        }
    }

    /// Deletes what nobody needs, drafts of a crash too.
    pub fn sweep<'p>(&self, needed: impl Iterator<Item = &'p Pair>) {
        let needed: BTreeSet<String> =
            needed.flat_map(|pair| [Some(wasm(pair)), Some(toml(pair)), seal_name(pair)]).flatten().collect();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|name| needed.contains(name))
                && let Err(error) = fs::remove_file(entry.path())
            {
                let path = entry.path();
                tracing::warn!(path = %path.display(), %error, "a kept version that nobody needs stays");
            }
        }
    }
}

fn wasm(pair: &Pair) -> String {
    format!("{}.wasm", hex::text(&pair.digest))
}

fn toml(pair: &Pair) -> String {
    format!("{}.toml", hex::text(&pair.text))
}

fn seal_name(pair: &Pair) -> Option<String> {
    Some(format!("{}.minisig", hex::text(pair.seal.as_ref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(component: &[u8], text: &str) -> Pair {
        let (digest, text) = (component::digest(component), component::digest(text.as_bytes()));
        let seal = Some(component::digest(b"signed"));
        Pair { digest, text, seal, stem: "x".into(), spec: None }
    }

    #[test]
    fn what_is_kept_is_read_back_and_what_was_changed_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(&home.path().join("versions")).unwrap();
        let (one, other) = (pair(b"one", "order = 1"), pair(b"other", "order = 1"));
        files.keep(&one, b"one", "order = 1", Some("signed")).unwrap();
        files.keep(&other, b"other", "order = 1", Some("signed")).unwrap();
        assert_eq!(files.seal(&one).unwrap().as_deref(), Some("signed"));
        assert_eq!(files.component(&one).unwrap(), b"one");
        assert_eq!(files.text(&other).unwrap(), "order = 1");
        fs::write(files.folder.join(wasm(&other)), "altered").unwrap();
        assert!(files.component(&other).unwrap_err().1.contains("digest"));
        files.keep(&other, b"other", "order = 1", None).unwrap();
        assert_eq!(files.component(&other).unwrap(), b"other", "keeping it again mends it");
        fs::write(files.folder.join("cut.wasm.new"), "").unwrap();
        files.sweep([&other].into_iter());
        assert!(files.component(&one).is_err() && files.text(&one).is_ok(), "the text is shared");
        assert_eq!(fs::read_dir(&files.folder).unwrap().count(), 3);
    }
}
