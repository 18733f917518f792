//! Why a configuration is refused.

use std::path::PathBuf;

/// One problem of a configuration, said in one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is missing, or cannot be read, or is not UTF-8.
    #[error("cannot read the configuration {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}: {message}", file.display())]
    At {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was found and what is accepted.
        message: String,
    },
    /// Something that came from flags, environment or defaults is wrong.
    #[error("{0}")]
    Setting(String),
}
