//! Packed fields, format 1: how metadata crosses the plugin boundary in one allocation.
//!
//! ```text
//! blob   = empty | 0x01 field*
//! field  = tag:u8  length:u16 little-endian  value:length bytes
//! ```
//!
//! Tags below 0x80 are the host's: trusted when a plugin reads them, ignored when a plugin writes them. Tags
//! from 0x80 are the publisher's. Readers skip tags that they do not know. Numbers are unsigned,
//! little-endian and exactly as wide as their tag says; texts are UTF-8 without NUL; a flag is one byte, 0
//! or 1. `wit/README.md` has the registry of tags and the test vectors.
//!
//! A blob that the host wrote is well-formed, so a reader takes the first match and stops ([`first`]). A
//! blob that a plugin wrote is checked once, whole, by [`check_output`].

mod check;
mod read;
pub mod tag;
mod write;

pub use check::{check_output, is_header_name};
pub use read::{
    Fields, Named, fields, first, flag_of, named, publisher_fields, split_named, text, u64_of, value_of,
};
pub use write::{put, put_flag, put_named, put_text, put_u64};

/// The first byte of every blob that is not empty.
pub const FORMAT: u8 = 1;

/// Most bytes of a whole blob, the format byte included.
pub const MAX_META: usize = 16 * 1024;

/// Most headers of one message.
pub const MAX_HEADERS: usize = 64;

/// Most bytes of a header's or an attribute's name; lower-case ASCII.
pub const MAX_NAME: usize = 64;

/// Most bytes of a content type.
pub const MAX_CONTENT_TYPE: usize = 255;

/// Most bytes of a correlation.
pub const MAX_CORRELATION: usize = 1024;

/// Most bytes of a publisher's own message id.
pub const MAX_DEDUP_ID: usize = 64;

/// Where a blob stops making sense, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in bytes of the field, or of the byte, that is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "malformed packed fields at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for Malformed {}
