use super::MAX_LEVELS;

/// Why a text is no topic, no pattern or no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicError {
    /// The text is empty.
    Empty,
    /// The text has `bytes` bytes, and `most` are accepted.
    TooLong {
        /// How many bytes it has.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// The text has more than [`MAX_LEVELS`] levels.
    TooManyLevels {
        /// How many levels it has.
        levels: usize,
    },
    /// A character that is not accepted here: NUL anywhere; `+` and `#` in a topic; also `/` and a leading
    /// `$` in a name.
    Forbidden {
        /// Where it is, in bytes.
        at: usize,
    },
    /// `+` or `#` that is not a whole level, or `#` that is not the last one.
    Wildcard {
        /// Where the level begins, in bytes.
        at: usize,
    },
}

impl std::fmt::Display for TopicError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(out, "empty, at least 1 byte is needed"),
            Self::TooLong { bytes, most } => write!(out, "{bytes} bytes long, at most {most} are accepted"),
            Self::TooManyLevels { levels } => {
                write!(out, "{levels} levels, at most {MAX_LEVELS} are accepted")
            }
            Self::Forbidden { at } => write!(out, "a character at byte {at} that is not accepted there"),
            Self::Wildcard { at } => {
                write!(out, "a misplaced wildcard at byte {at}: `+` must be a whole level, `#` the last one")
            }
        }
    }
}

impl std::error::Error for TopicError {}
