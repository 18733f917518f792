//! The syntax of JSON, seen in one pass that keeps nothing: where a value ends, and whether it is one.
//!
//! It accepts what `serde_json` accepts up to [`MAX_DEPTH`] levels, and so costs a fraction of it. What it does not
//! accept it does not explain: whoever owes an explanation has `serde_json` read the same text.

use super::MAX_DEPTH;

/// Where the white space ends that begins at `at`.
#[inline]
pub(crate) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// How many bytes there are before the first one that cannot stand for itself in a string: a quote, a backslash or a
/// control character.
#[inline]
pub(crate) fn plain_len(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let special = special_bits(*word);
        if special != 0 {
            return index * size_of::<u64>() + (special.trailing_zeros() / 8) as usize;
        }
    }
    text.len() - rest.len() + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// Whether a text is its own value as a JSON string.
#[inline]
pub(crate) fn is_plain(text: &str) -> bool {
    let (words, _) = text.as_bytes().as_chunks();
    match text.as_bytes().last_chunk() {
        // The last word may have bytes of the one before, which does no harm.
        Some(last) => words.iter().chain([last]).all(|word| special_bits(*word) == 0),
        None => !text.as_bytes().iter().any(is_special),
    }
}

fn is_special(byte: &u8) -> bool {
    (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')
}

/// The high bits of bytes that are special. The lowest bit is always right, those behind it need not be.
#[inline]
fn special_bits(word: [u8; 8]) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(word);
    // Subtracting sets the high bit of a byte that was too small; a borrow disturbs only bytes behind such a one.
    let control = word.wrapping_sub(EACH * 0x20);
    let quote = (word ^ (EACH * 0x22)).wrapping_sub(EACH);
    let backslash = (word ^ (EACH * 0x5c)).wrapping_sub(EACH);
    // None of the three has its own high bit set.
    (control | quote | backslash) & !word & HIGH
}

/// Where the value ends that begins right at `start`. None: there is no value, or it has more than [`MAX_DEPTH`]
/// levels. The text must be UTF-8.
pub(crate) fn value_end(text: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut open) = (start, Levels::default());
    // Whether a member's name is to come, and then its value.
    let mut name = false;
    loop {
        at = match text.get(at)? {
            b'"' => string_end(text, at)?,
            _ if name => return None,
            b'{' | b'[' => {
                let object = text.get(at) == Some(&b'{');
                open.push(object)?;
                at = skip_space(text, at + 1);
                if text.get(at)? != if object { &b'}' } else { &b']' } {
                    name = object;
                    continue;
                }
                at
            }
            b't' => word_end(text, at, b"true")?,
            b'f' => word_end(text, at, b"false")?,
            b'n' => word_end(text, at, b"null")?,
            _ => number_end(text, at)?,
        };
        if name {
            at = skip_space(text, at);
            at = (text.get(at)? == &b':').then(|| skip_space(text, at + 1))?;
            name = false;
            continue;
        }
        // Behind a value: what it stands in ends too, or another value follows.
        while open.depth > 0 {
            at = skip_space(text, at);
            match (text.get(at)?, open.is_object()) {
                (b'}', true) | (b']', false) => open.pop(),
                (b',', _) => break,
                _ => return None,
            }
            at += 1;
        }
        if open.depth == 0 {
            return Some(at);
        }
        at = skip_space(text, at + 1);
        name = open.is_object();
    }
}

/// What is open around a place: of each level one bit, which says whether it is an object.
#[derive(Default)]
struct Levels {
    objects: u128,
    depth: usize,
}

impl Levels {
    /// None: too deep. ([`MAX_DEPTH`] has to be less than the bits that there are.)
    fn push(&mut self, object: bool) -> Option<()> {
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Where the string ends that begins right at `at` and is its own value.
#[inline]
pub(crate) fn plain_string_end(text: &[u8], at: usize) -> Option<usize> {
    let inner = text.get(at..)?.strip_prefix(b"\"")?;
    let len = plain_len(inner);
    (inner.get(len)? == &b'"').then_some(at + len + 2)
}

#[inline]
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let inner = text.get(at..)?.strip_prefix(b"\"")?;
    let len = plain_len(inner);
    match inner.get(len)? {
        b'"' => Some(at + len + 2),
        b'\\' => escaped_end(text, at + len + 1),
        _ => None,
    }
}

/// Where a string ends whose first backslash is at `at`.
fn escaped_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += escape_len(text.get(at + 1..)?)?,
            _ => return None,
        }
        at += plain_len(text.get(at..)?);
    }
}

/// Bytes of an escape, of which what stands behind the backslash is given.
fn escape_len(behind: &[u8]) -> Option<usize> {
    match behind {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'u', digits @ ..] => digits.first_chunk::<4>()?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

fn word_end(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(word).then_some(at + word.len())
}

fn number_end(text: &[u8], mut at: usize) -> Option<usize> {
    if text.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if text.get(at) == Some(&b'0') { at + 1 } else { digits_end(text, at)? };
    if text.get(at) == Some(&b'.') {
        at = digits_end(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        at = digits_end(text, at)?;
    }
    Some(at)
}

/// One digit or more.
fn digits_end(text: &[u8], first: usize) -> Option<usize> {
    let mut at = first;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    (at > first).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    /// Whether the whole text is one value, white space around it.
    fn is_value(text: &str) -> bool {
        let bytes = text.as_bytes();
        let end = value_end(bytes, skip_space(bytes, 0));
        end.is_some_and(|end| skip_space(bytes, end) == bytes.len())
    }

    fn is_value_to_serde(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    #[test]
    fn every_short_text_is_taken_as_serde_takes_it() {
        // One of each kind of byte that matters.
        let letters = b"[]{}\":,\\u-0.1eE+ ta\n";
        let mut text = String::new();
        let mut count = vec![0_usize];
        loop {
            text.clear();
            text.extend(count.iter().map(|at| char::from(letters[*at])));
            assert_eq!(is_value(&text), is_value_to_serde(&text), "{text:?}");
            let Some(place) = count.iter().position(|at| at + 1 < letters.len()) else {
                if count.len() == 4 {
                    return;
                }
                count = vec![0; count.len() + 1];
                continue;
            };
            count[place] += 1;
            count[..place].fill(0);
        }
    }

    #[test]
    fn words_and_numbers() {
        for good in
            ["true", "false", "null", "-0", "0.5", "-1.25e+10", "1E-3", "[tRue]", "[nul]", "truefalse"]
        {
            assert_eq!(is_value(good), is_value_to_serde(good), "{good}");
        }
        for bad in ["tru", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1", "1_0", "Infinity"] {
            assert!(!is_value(bad) && !is_value_to_serde(bad), "{bad}");
        }
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        assert_eq!(value_end(br#"x{"a":[1, "}"]} ,"#, 1), Some(15));
        assert_eq!(value_end(b"12,", 0), Some(2));
        assert_eq!(value_end(b" 1", 0), None);
        assert_eq!(value_end(b"1", 1), None);
        assert_eq!(value_end(b"1", 2), None);
    }

    #[test]
    fn strings_are_seen_at_every_length_and_place() {
        for length in 0..40 {
            for special in ["\"", "\\", "\u{1f}", "\0", "\n"] {
                for at in 0..=length {
                    let text = format!("{}{special}{}", "x".repeat(at), "\u{7f}".repeat(length - at));
                    assert_eq!(plain_len(text.as_bytes()), at);
                }
            }
            let plain = "é!#[]\u{7f}".repeat(length);
            assert_eq!(plain_len(plain.as_bytes()), plain.len());
        }
    }

    /// Texts that are JSON more often than not.
    fn jsonish() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
            "\"([a-z\"\\\\/ é\u{1}]|\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-fA-Fx]{4}){0,9}\"",
            "true|false|null|nul|[a-z]",
        ];
        let space = "[ \n\t\r]{0,2}";
        let name = "\"[a-c]{0,2}(\\\\u00e9|\\\\n)?\"";
        leaf.prop_recursive(6, 40, 4, move |inner| {
            let element = (space, inner.clone(), space).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
            let member = (space, name, space, inner, space)
                .prop_map(|(a, name, b, value, c)| format!("{a}{name}{b}:{value}{c}"));
            let list =
                proptest::collection::vec(element, 0..4).prop_map(|all| format!("[{}]", all.join(",")));
            let object =
                proptest::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(",")));
            prop_oneof![list, object]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_taken_as_serde_takes_it(text in "\\PC{0,40}") {
            prop_assert_eq!(is_value(&text), is_value_to_serde(&text));
        }

        #[test]
        fn what_looks_like_json_is_taken_as_serde_takes_it(
            text in jsonish(),
            hurt in any::<prop::sample::Index>(),
            with in "[\\[\\]{}\",:0-9eE.\\\\ u\n-]{0,2}",
        ) {
            prop_assert_eq!(is_value(&text), is_value_to_serde(&text), "{}", text);
            let mut at = hurt.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let (before, behind) = text.split_at(at);
            for hurt in [format!("{before}{with}{behind}"), format!("{before}{with}")] {
                prop_assert_eq!(is_value(&hurt), is_value_to_serde(&hurt), "{}", hurt);
            }
        }
    }
}
