//! The operator's token: made at the first start, kept in `DATA/admin.token` for its owner alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use subtle::ConstantTimeEq;

const FILE: &str = "admin.token";
/// 256 random bits, in hexadecimal.
const RANDOM_BYTES: usize = 32;
/// A token that an operator wrote by hand must be at least so long, and is read no further than the other.
const MIN_CHARS: usize = 32;
const MAX_BYTES: u64 = 1_024;

/// The token. It prints as dots.
#[derive(Clone)]
pub struct AdminToken(Arc<str>);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Missing, or cannot be read or written.
    #[error("the admin token {} cannot be used: {error}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Others on this machine could read it.
    #[error("the admin token {} is open to others (mode {mode:03o}): run `chmod 600` on it, or delete it to get a new one", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a token.
    #[error("the admin token {} is not 32 to 1024 ASCII characters without spaces: delete it to get a new one", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
    },
}

impl AdminToken {
    /// Reads the token of a data folder.
    pub fn load(data: &Path) -> Result<Self, TokenError> {
        let path = data.join(FILE);
        match read(&path) {
            Ok((mode, _)) if mode & 0o077 != 0 => Err(TokenError::Open { file: path, mode }),
            Ok((_, text)) => Self::parse(&text).ok_or(TokenError::Malformed { file: path }),
            Err(error) => Err(TokenError::Io { file: path, error }),
        }
    }

    /// Reads the token, or makes one, and the data folder with it.
    pub fn load_or_create(data: &Path) -> Result<Self, TokenError> {
        match Self::load(data) {
            Err(TokenError::Io { error, file }) if error.kind() == ErrorKind::NotFound => {
                create(data, &file).map_err(|error| TokenError::Io { file, error })
            }
            other => other,
        }
    }

    /// Compares in constant time.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The token itself, to be sent to the listener.
    pub fn secret(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        let sound = token.len() >= MIN_CHARS && token.bytes().all(|byte| byte.is_ascii_graphic());
        sound.then(|| Self(token.into()))
    }
}

/// Permission bits and text. No link is followed, and what is no file is not waited for.
fn read(path: &Path) -> std::io::Result<(u32, String)> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok((metadata.mode() & 0o777, text))
}

fn create(data: &Path, path: &Path) -> std::io::Result<AdminToken> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Written whole before it has its name: a crash leaves no half token behind.
    let draft = path.with_extension("token.new");
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    Ok(AdminToken(token.into()))
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("AdminToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        assert!(
            AdminToken::load(&data)
                .unwrap_err()
                .to_string()
                .contains("a/b/admin.token cannot be used: No such")
        );
        let made = AdminToken::load_or_create(&data).unwrap();
        let again = AdminToken::load_or_create(&data).unwrap();
        assert!(again.is(made.secret()) && made.secret().len() == 64);
        assert!(!again.is("") && !again.is(&made.secret()[1..]));
        assert_eq!(format!("{made:?}"), "AdminToken(…)");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&data.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn what_is_not_safe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        AdminToken::load_or_create(folder.path()).unwrap();
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            let error = AdminToken::load_or_create(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("is open to others (mode {mode:03o}): run `chmod 600`")),
                "{error}"
            );
        }
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&file, "short\n").unwrap();
        assert!(
            AdminToken::load(folder.path()).unwrap_err().to_string().contains("delete it to get a new one")
        );
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert!(AdminToken::load_or_create(folder.path()).is_err());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(
            AdminToken::load_or_create(folder.path()).unwrap_err().to_string().ends_with("it is not a file")
        );
    }
}
