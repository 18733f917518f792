use super::FORMAT;

/// Appends one field, and before the first one the format byte. False, and nothing appended: the value is
/// longer than a field can be (65,535 bytes). The limit of the whole blob, [`super::MAX_META`], is the
/// caller's to keep.
pub fn put(blob: &mut Vec<u8>, tag: u8, value: &[u8]) -> bool {
    let Ok(len) = u16::try_from(value.len()) else { return false };
    start(blob, tag, len);
    blob.extend_from_slice(value);
    true
}

/// [`put`] for a text.
pub fn put_text(blob: &mut Vec<u8>, tag: u8, value: &str) -> bool {
    put(blob, tag, value.as_bytes())
}

/// [`put`] for a number of eight bytes.
pub fn put_u64(blob: &mut Vec<u8>, tag: u8, value: u64) -> bool {
    put(blob, tag, &value.to_le_bytes())
}

/// [`put`] for a flag.
pub fn put_flag(blob: &mut Vec<u8>, tag: u8, value: bool) -> bool {
    put(blob, tag, &[u8::from(value)])
}

/// [`put`] for a named text, a header or an attribute: the name's length in one byte, the name, the value.
pub fn put_named(blob: &mut Vec<u8>, tag: u8, name: &str, value: &str) -> bool {
    let Ok(name_len) = u8::try_from(name.len()) else { return false };
    let Ok(len) = u16::try_from(1 + name.len() + value.len()) else { return false };
    start(blob, tag, len);
    blob.push(name_len);
    blob.extend_from_slice(name.as_bytes());
    blob.extend_from_slice(value.as_bytes());
    true
}

fn start(blob: &mut Vec<u8>, tag: u8, len: u16) {
    if blob.is_empty() {
        blob.push(FORMAT);
    }
    blob.push(tag);
    blob.extend_from_slice(&len.to_le_bytes());
}
