use super::read::{fields, split_named};
use super::{
    MAX_CONTENT_TYPE, MAX_CORRELATION, MAX_DEDUP_ID, MAX_HEADERS, MAX_META, MAX_NAME, Malformed, tag,
};
use crate::topic::{self, Pattern};

/// Checks the metadata that a plugin returns, as the host does with each; a blob that fails counts as a trap.
///
/// The empty blob passes (it means "the publisher-owned fields of the input"). Checked are the format
/// byte, the framing, the total of [`MAX_META`] bytes, and of each publisher-owned tag that is known its
/// width, text, limits and whether it may repeat. Host-owned tags pass unseen, since they are ignored, and so
/// do unknown ones; only the tags 0x00 and 0xff, which are never used, are refused.
pub fn check_output(blob: &[u8]) -> Result<(), Malformed> {
    if blob.len() > MAX_META {
        return Err(Malformed { offset: MAX_META, reason: "longer than 16 KiB" });
    }
    let mut headers = 0;
    // One bit per tag that may stand only once, counted from 0x80.
    let mut seen = 0_u16;
    let mut all = fields(blob);
    loop {
        // The first offset is that of the format byte; the first field stands behind it.
        let offset = all.offset().max(1);
        let Some(field) = all.next() else { return Ok(()) };
        let (found, value) = field?;
        let fail = |reason| Malformed { offset, reason };
        check_value(found, value).map_err(fail)?;
        match found {
            tag::HEADER | tag::USER_PROPERTY => {
                headers += 1;
                if headers > MAX_HEADERS {
                    return Err(fail("more than 64 headers"));
                }
            }
            tag::CONTENT_TYPE..=tag::DEDUP_ID => {
                let bit = 1 << (found - tag::CONTENT_TYPE);
                if seen & bit != 0 {
                    return Err(fail("a second field of a tag that stands once"));
                }
                seen |= bit;
            }
            _ => {}
        }
    }
}

fn check_value(found: u8, value: &[u8]) -> Result<(), &'static str> {
    match found {
        0x00 | 0xff => Err("tags 0x00 and 0xff are never used"),
        tag::CONTENT_TYPE if value.len() > MAX_CONTENT_TYPE => Err("content type longer than 255 bytes"),
        tag::CONTENT_TYPE => plain_text(value).map(|_| ()),
        tag::HEADER => check_header(value),
        tag::REPLY_TO => topic::check(plain_text(value)?).map_err(|_| "reply-to is no topic"),
        tag::CORRELATION if value.len() > MAX_CORRELATION => Err("correlation longer than 1 KiB"),
        tag::USER_PROPERTY => split_named(value).map(|_| ()).ok_or("a user property is not name and text"),
        tag::RETAIN if !matches!(value, [0 | 1]) => Err("retain is one byte, 0 or 1"),
        tag::TEXT if !matches!(value, [0 | 1]) => Err("text is one byte, 0 or 1"),
        tag::EXPIRES_US if value.len() != 8 => Err("expires-us is 8 bytes"),
        tag::QOS if !matches!(value, [0..=2]) => Err("qos is one byte, 0 to 2"),
        tag::DEDUP_ID if value.is_empty() || value.len() > MAX_DEDUP_ID => Err("dedup-id is 1 to 64 bytes"),
        tag::JOIN | tag::LEAVE => {
            Pattern::check(plain_text(value)?).map_err(|_| "join and leave name a topic pattern")
        }
        _ => Ok(()),
    }
}

/// A header: a name of 1 to 64 bytes, made of the characters that HTTP allows, without upper case, and a
/// text.
fn check_header(value: &[u8]) -> Result<(), &'static str> {
    let (name, value) = split_named(value).ok_or("a header is not name and text")?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("a header's name is 1 to 64 bytes");
    }
    if !is_header_name(name) {
        return Err("a header's name is lower-case ASCII letters, digits and any of !#$%&'*+-.^_`|~");
    }
    if value.contains('\0') {
        return Err("NUL in a text");
    }
    Ok(())
}

/// Whether a name can be a header's: 1 to 64 bytes of `a-z 0-9 !#$%&'*+-.^_|~` and the backquote.
pub fn is_header_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name_byte)
}

/// HTTP's token characters (RFC 9110, section 5.6.2) without the upper case.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn plain_text(value: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "a text is not UTF-8")?;
    if text.contains('\0') { Err("NUL in a text") } else { Ok(text) }
}
