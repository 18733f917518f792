//! What names and other texts of accounts may be.

use weir_contract::topic::{self, MAX_NAME_BYTES};

use super::AccountsError;

/// Most bytes of a user's or a room's name, once it is written as one topic level.
const LEVEL_BYTES: usize = MAX_NAME_BYTES;

/// Any text that fits into one topic level when its special letters are percent-encoded.
pub(super) fn check_level(what: &'static str, text: &str) -> Result<(), AccountsError> {
    let bytes = topic::encode_level(text).len();
    if (1..=LEVEL_BYTES).contains(&bytes) && !text.contains('\0') {
        return Ok(());
    }
    let accepted =
        "accepted are 1 to 128 without NUL, where letters that a topic level cannot hold count three";
    Err(AccountsError::Text { what, bytes, accepted })
}

/// Any text up to a length.
pub(super) fn check_text(
    what: &'static str,
    text: &str,
    most: usize,
    accepted: &'static str,
) -> Result<(), AccountsError> {
    if text.len() <= most && !text.contains('\0') {
        return Ok(());
    }
    Err(AccountsError::Text { what, bytes: text.len(), accepted })
}
